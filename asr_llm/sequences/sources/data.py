"""Resolves a source's ``data``: a domain folder, a text file or a manifest of recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.domain.files import read_text, strictly
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.domain.passages import Passages
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.recordings.pieces import text_pieces
from asr_llm.corpus.recordings.shar import is_shar
from asr_llm.corpus.speech.synthesis import held_out_voices, select_voices, training_voices
from asr_llm.errors import DomainError, RecipeError
from asr_llm.sequences.answers import Teach

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut

_WANTED = {
    "domain": "a domain folder on the command line ('asr-llm adapt DOMAIN')",
    "replay": "a base model that brings replay text, or 'replay: FOLDER' in the recipe "
    "(without general speech, training on text makes the model ignore the audio)",
}


@dataclass(frozen=True)
class Folders:
    """What ``domain`` and ``replay`` mean in a run, and which split of a folder is read.

    ``hear`` gives each cut its first pass, where the model reads one; ``teach`` answers written
    messages as the LLM does before training.
    """

    domain: Domain | None = None
    replay: Domain | None = None
    split: str = "train"
    hear: Callable[[Sequence[Cut]], list[Cut]] | None = None
    teach: Teach | None = None

    def find(self, name: str) -> Data:
        """Find the data by name.

        Raises:
            RecipeError: there is none.
        """
        folder = {"domain": self.domain, "replay": self.replay}.get(name)
        path = Path(name)
        if folder is None and name in _WANTED:
            raise RecipeError(
                f"a source has data: {name}, but there is none; expected {_WANTED[name]}"
            )
        if folder is None and path.is_dir() and (path / "domain.yaml").is_file():
            folder = Domain.load(path)
        if folder is None and not path.exists():
            raise RecipeError(
                f"a source has data: {name}, but nothing is there; paths count from the current "
                f"folder, {Path.cwd()}"
            )
        return Data(name, folder, self.split, self.hear, self.teach)


@dataclass(frozen=True)
class Data:
    """Existing data: a split of a domain folder or, if ``folder`` is None, a file."""

    name: str
    folder: Domain | None
    split: str
    hear: Callable[[Sequence[Cut]], list[Cut]] | None = None
    teach: Teach | None = None

    @property
    def path(self) -> Path:
        """The folder, or the file."""
        return self.folder.path if self.folder else Path(self.name)

    @property
    def has_text(self) -> bool:
        """Whether there is text; a file is text."""
        return self.folder is None or self.folder.has_text(self.split)

    @property
    def has_recordings(self) -> bool:
        """Whether a domain folder has recordings of this split."""
        return self.folder is not None and self.folder.manifest(self.split) is not None

    def sentences(self, task: str) -> list[str]:
        """The text, with long lines split.

        Raises:
            DomainError: there is none.
        """
        if self.is_shar:
            raise DomainError(
                f"{self.path}: a Shar folder of recordings; expected text for the {task!r} source"
            )
        lines = self.folder.text(self.split) if self.folder else read_lines(self.path)
        if not lines:
            raise DomainError(f"no text for the {task!r} source {self.name}; add sentences")
        return [piece for line in lines for piece in text_pieces(line)]

    def passages(self, task: str, longest: int) -> Passages | list[str]:
        """The passages of a folder of text files, read when their turn comes; else ``sentences``.

        Args:
            longest: bytes of a passage.

        Raises:
            DomainError: there is no text, or it is not UTF-8.
        """
        return Passages(self.path, longest) if self._is_corpus else self.sentences(task)

    @property
    def is_shar(self) -> bool:
        """Whether it is a Shar folder."""
        return self.folder is None and is_shar(self.path)

    @property
    def _is_corpus(self) -> bool:
        return self.folder is None and self.path.is_dir() and not self.is_shar

    def spoken(self, line: str) -> str | None:
        """The spoken form of a sentence, by the domain's terms."""
        return self.folder.spoken(line) if self.folder else None

    def recordings(self) -> CutSet | None:
        """Recordings with transcripts, of the folder or the manifest; None if there are none.

        Those of a Shar folder are not read at once.
        """
        if self.folder is not None:
            return self.folder.recordings(self.split)
        path = self.path
        listed = path.suffix in (".json", ".jsonl", ".gz") or path.name == "trans.txt"
        return read_manifest(path) if listed else None

    def voices(self, patterns: Sequence[str] | None) -> tuple[str, ...]:
        """The voices selected by patterns; default: the domain's own.

        A folder of text files is spoken by all that are installed for training.

        Raises:
            DomainError: all were excluded.
        """
        if not patterns and self.folder is not None:
            patterns = self.folder.voices(self.split)
        elif not patterns and self._is_corpus:
            patterns = training_voices([*held_out_voices("dev"), *held_out_voices("test")])
        voices = select_voices(list(patterns or ()) or ["en-us"])
        if not voices:
            raise DomainError(
                f"no voices left for the source {self.name} after those taken away with '!'; "
                "expected at least one"
            )
        return voices


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without comments."""
    return [line.text for line in strictly(lambda problems: read_text(path, problems))]
