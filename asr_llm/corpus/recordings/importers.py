"""Reads recordings with transcripts, in common layouts, into a Lhotse CutSet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.audio import audio_info
from asr_llm.corpus.recordings.manifests import LAYOUTS, Entry, find_manifest, read_entries, stretch
from asr_llm.corpus.text.lines import strictly
from asr_llm.errors import AudioError, DomainError

if TYPE_CHECKING:
    from lhotse import CutSet, Recording
    from lhotse.cut import Cut

__all__ = ["cut_of", "find_manifest", "read_manifest", "require_manifest"]

_NAMED = 3  # files named in a message; the rest are counted


def require_manifest(folder: str | Path) -> Path:
    """The manifest of a folder of recordings.

    Raises:
        DomainError: there is none, or several.
    """
    manifest = find_manifest(folder)
    if manifest is None:
        names = ", ".join(LAYOUTS)
        raise DomainError(f"{folder}: found no list of recordings; expected one of: {names}")
    return manifest


def read_manifest(path: str | Path) -> CutSet:
    """Cuts with unique ids, absolute audio paths and one supervision each, text verbatim.

    Reads NeMo's JSON lines (with ``offset`` and ``duration``), Lhotse cuts,
    AudioFolder's JSON lines or CSV, and ``trans.txt``. Paths in the file are relative to
    it. An id is the name of the audio file, numbered where a name repeats.

    Raises:
        DomainError: malformed (file and line named), or audio files are missing
            (the first few named, all counted).
        AudioError: a recording cannot be decoded.
    """
    from lhotse import CutSet

    path = Path(path)
    entries = strictly(lambda problems: read_entries(path, problems))
    if not entries:
        raise DomainError(f"{path}: lists no recordings; expected one a line")
    missing = [entry for entry in entries if not entry.audio.is_file()]
    if missing:
        names = ", ".join(f"{entry.audio} (line {entry.line})" for entry in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DomainError(
            f"{path}: {len(missing)} of {len(entries)} recordings are missing: {names}{more}; "
            "paths are relative to this file"
        )
    return CutSet.from_cuts(list(_cuts(path, entries)))


def cut_of(entry: Entry, manifest: Path) -> Cut:
    """The cut of a single entry, named after its audio file and its line.

    Raises:
        DomainError: it is not within its recording, or not a cut; names the line.
        AudioError: the recording cannot be decoded.
    """
    where = f"{manifest}:{entry.line}"
    if entry.lhotse_cut is not None:
        return _lhotse_cut(entry, where)
    return _file_cut(entry, f"{'_'.join(entry.audio.stem.split())}-{entry.line}", {}, where)


def _cuts(path: Path, entries: list[Entry]) -> Iterator[Cut]:
    recordings: dict[Path, Recording] = {}
    ids = _unique_ids(entries)
    lhotse_ids = Counter(entry.lhotse_cut["id"] for entry in entries if entry.lhotse_cut)
    for entry, cut_id in zip(entries, ids, strict=True):
        where = f"{path}:{entry.line}"
        if entry.lhotse_cut is not None:
            if lhotse_ids[entry.lhotse_cut["id"]] > 1:
                raise DomainError(f"{where}: cut id {entry.lhotse_cut['id']!r} is given twice")
            yield _lhotse_cut(entry, where)
        else:
            yield _file_cut(entry, cut_id, recordings, where)


def _unique_ids(entries: list[Entry]) -> list[str]:
    """The stem of each audio file, without white space; -2, -3 … where it repeats."""
    used: set[str] = set()
    ids = []
    for entry in entries:
        stem = "_".join(entry.audio.stem.split())
        cut_id, number = stem, 1
        while cut_id in used:
            number += 1
            cut_id = f"{stem}-{number}"
        used.add(cut_id)
        ids.append(cut_id)
    return ids


def _file_cut(entry: Entry, cut_id: str, recordings: dict[Path, Recording], where: str) -> Cut:
    from lhotse import SupervisionSegment

    recording = recordings.get(entry.audio)
    if recording is None:
        recording = recordings[entry.audio] = _recording(entry.audio, cut_id, where)
    try:
        start, end = stretch(entry, recording.duration)
    except DomainError as error:
        raise DomainError(f"{where}: {error}") from None
    cut = recording.to_cut()
    if start > 0 or end < recording.duration:
        cut = cut.truncate(offset=start, duration=end - start)
    cut = cut.with_id(cut_id)
    cut.supervisions = [
        SupervisionSegment(
            id=cut_id,
            recording_id=recording.id,
            start=0.0,
            duration=cut.duration,
            channel=cut.channel,
            text=entry.text,
            speaker=entry.speaker,
            language=entry.language,
            custom=None if entry.first_pass is None else {"first_pass": entry.first_pass},
        )
    ]
    return cut


def _recording(audio: Path, recording_id: str, where: str) -> Recording:
    from lhotse import Recording
    from lhotse.audio import AudioSource

    try:
        info = audio_info(audio)
    except AudioError as error:
        raise AudioError(f"{where}: {error}") from None
    channels = list(range(info.num_channels))
    return Recording(
        id=recording_id,
        sources=[AudioSource(type="file", channels=channels, source=str(audio))],
        sampling_rate=info.sampling_rate,
        num_samples=info.num_samples,
        duration=info.duration,
        channel_ids=channels,
    )


def _lhotse_cut(entry: Entry, where: str) -> Cut:
    from lhotse import SupervisionSegment
    from lhotse.serialization import deserialize_item

    try:
        cut = deserialize_item(entry.lhotse_cut)
    except Exception as error:  # malformed dicts make lhotse raise anything
        raise DomainError(f"{where}: not a Lhotse cut ({error!r}); save the cuts again") from error
    if not cut.supervisions:
        cut.supervisions = [
            SupervisionSegment(cut.id, cut.recording_id, 0.0, cut.duration, cut.channel, text="")
        ]
    return cut
