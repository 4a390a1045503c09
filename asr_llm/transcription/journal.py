"""Journal of a long file's decoded chunks, so that an interrupted run loses nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from asr_llm.corpus.recordings.audio import Source
from asr_llm.decoding.results import Guard
from asr_llm.errors import RunError
from asr_llm.transcription.transcript import DecodedChunk, Word

Times = tuple[int, int]
"""First sample of a chunk, and the one after its last."""


class Stretch(Protocol):
    """A chunk, as far as it is looked up: samples ``start`` to ``end``."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


class Recall:
    """The chunks of one audio that were decoded before."""

    def __init__(self, known: dict[Times, DecodedChunk]) -> None:
        self.known = known

    def find(self, chunk: Stretch) -> DecodedChunk | None:
        """Return the earlier result of a chunk."""
        return self.known.get((chunk.start, chunk.end))

    def add(self, chunk: Stretch, heard: DecodedChunk) -> None:
        """Take note of a result; what is only recalled need not be stored."""


class Journal(Recall):
    """The decoded chunks of one audio, one JSON line each.

    Args:
        path: of the journal; an existing one is continued if it has the same ``made_by``.
        made_by: what determines the texts: the audio and all settings, as JSON.

    Raises:
        RunError: it cannot be written.
    """

    def __init__(self, path: Path, made_by: dict[str, Any]) -> None:
        super().__init__({})
        self.path, self.made_by = path, made_by
        lines = _whole_lines(path)
        self.begun = bool(lines) and lines[0] == made_by
        if self.begun:
            # A corrupt line is ignored: its chunk is decoded again.
            for row in lines[1:]:
                with contextlib.suppress(KeyError, TypeError):
                    self.known[row["start"], row["end"]] = _heard(row)

    def add(self, chunk: Stretch, heard: DecodedChunk) -> None:
        """Store the result of a chunk."""
        if not self.begun:
            self._write("w", self.made_by)
            self.begun = True
        self._write("a", {"start": chunk.start, "end": chunk.end} | asdict(heard))

    def _write(self, mode: str, row: dict[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error.strerror}); check the folder and its "
                "free space, or choose another with -o"
            ) from error


class Journals:
    """A folder with a journal for each unfinished audio."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, json.loads(json.dumps(settings))

    def __call__(self, audio: Path | Source) -> Journal:
        """The journal of an audio file, or of one of its channels."""
        source = Source.of(audio)
        made_by: dict[str, Any] = {
            "audio": str(source.path.resolve()),
            "settings": self.settings,
        }
        if source.channel is not None:
            made_by["channel"] = source.channel
        with contextlib.suppress(OSError):  # reported when it is read
            found = source.path.stat()
            made_by |= {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
        return Journal(self._path(source), made_by)

    def remove(self, audio: Path | Source) -> None:
        """Delete the journal of an audio whose transcript is written."""
        self._path(Source.of(audio)).unlink(missing_ok=True)

    def _path(self, source: Source) -> Path:
        channel = "" if source.channel is None else f".{source.channel}"
        return self.folder / f".{source.path.stem}{channel}.journal"


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a journal; a line cut short by an interruption is dropped."""
    rows = []
    if path.is_file():
        data = path.read_bytes()
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        if not data.endswith(b"\n"):
            path.write_bytes(data[: data.rfind(b"\n") + 1])
    return rows


def _heard(row: dict[str, Any]) -> DecodedChunk:
    return DecodedChunk(
        row["text"],
        tuple(Guard(**guard) for guard in row["guards"]),
        tuple(Word(**word) for word in row["words"]),
        row["confidence"],
    )
