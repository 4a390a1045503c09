"""Test sets: a domain's, a manifest's, and the one that measures forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.manifests import find_manifest
from asr_llm.errors import DomainError
from asr_llm.text_files import is_pipe

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_llm.evaluation.scores import Blocks


@dataclass(frozen=True)
class HeldOut:
    """Test utterances, and the entity patterns to find in their references."""

    cuts: CutSet
    patterns: list[dict[str, Any]]

    @property
    def references(self) -> dict[str, str]:
        """Reference texts by utterance id."""
        return {cut.id: cut.supervisions[0].text or "" for cut in self.cuts}

    @property
    def speakers(self) -> dict[str, str]:
        """Speakers, because errors of one voice are correlated."""
        return {cut.id: cut.supervisions[0].speaker or cut.id for cut in self.cuts}

    @property
    def blocks(self) -> Blocks | None:
        """What intervals resample: speakers if all are known, else recordings; None: utterances."""
        from asr_llm.evaluation.scores import Blocks

        speakers = {cut.id: cut.supervisions[0].speaker for cut in self.cuts}
        if found := Blocks.known({"speaker": speakers}):
            return found
        recordings = {cut.id: cut.recording_id for cut in self.cuts}
        shared = len(set(recordings.values())) < len(recordings)
        return Blocks.known({"recording": recordings}) if shared else None


def is_recordings(path: str | Path) -> bool:
    """Whether a folder has a manifest of its own, as an AudioFolder has: then it is no domain."""
    return Path(path).is_dir() and find_manifest(path) is not None


def manifest_set(path: str | Path) -> HeldOut:
    """The recordings of a manifest, or of a folder with one, as a held-out set without entities.

    Raises:
        DomainError: it is missing or malformed, or recordings are missing.
    """
    from asr_llm.corpus.recordings.importers import read_manifest

    if is_recordings(path):
        path = find_manifest(path) or path
    if not Path(path).is_file() and not is_pipe(Path(path)):
        raise DomainError(
            f"{path}: not found; expected a domain folder or a manifest of recordings "
            "(manifest.jsonl, cuts.jsonl.gz, trans.txt)"
        )
    if not str(path).endswith((".json", ".jsonl", ".gz", ".txt", ".csv")) and not is_pipe(
        Path(path)
    ):
        raise DomainError(
            f"{path} is neither a domain folder nor a manifest; expected a folder with "
            "domain.yaml, or manifest.jsonl, cuts.jsonl.gz or trans.txt"
        )
    found = HeldOut(read_manifest(path), [])
    if not any(text.strip() for text in found.references.values()):
        raise DomainError(
            f"{path}: none of its recordings has a transcript to measure with; expected 'text' in "
            "each row (without transcripts: asr-llm transcribe)"
        )
    return found


def general_set(general: str | Path | None, base: Path) -> Domain | HeldOut | None:
    """The test set that measures forgetting: the requested one, or the checkpoint's.

    Raises:
        DomainError: the requested one is missing or malformed, or has no test set.
    """
    if general is not None:
        return requested_set(general)
    replay = base / "replay"
    return Domain.load(replay) if replay.is_dir() else None


def requested_set(general: str | Path) -> Domain | HeldOut:
    """The test set that ``--general`` names; raises as ``general_set``."""
    is_domain = Path(general).is_dir() and not is_recordings(general)
    try:
        found = Domain.load(general) if is_domain else manifest_set(general)
        if isinstance(found, Domain) and not has_test_set(found):
            raise DomainError(f"{general}: no test set; expected test/text.txt or recordings")
    except DomainError as error:
        raise DomainError(f"--general {error}") from error
    return found


def held_out_sets(main: Domain | HeldOut, general: Domain | HeldOut | None) -> dict[str, HeldOut]:
    """The non-empty sets "domain" and "general", synthesised if they have no recordings.

    Raises:
        AsrLlmError: a file is malformed, or there are no voices.
    """
    from asr_llm.corpus.speech.spoken import spoken_set

    sets = {}
    for name, source in (("domain", main), ("general", general)):
        if isinstance(source, Domain):
            if not has_test_set(source):
                continue
            patterns = source.patterns() if name == "domain" else []
            source = HeldOut(spoken_set(source, "test"), patterns)
        if source is not None:
            sets[name] = source
    return sets


def has_test_set(domain: Domain) -> bool:
    """Whether a domain folder has sentences or recordings to measure on."""
    return domain.has_text("test") or domain.recordings("test") is not None
