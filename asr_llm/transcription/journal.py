"""What is decoded of a long file, kept at once: a run that is stopped loses nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asr_llm.errors import RunError
from asr_llm.transcription.chunks import Chunk
from asr_llm.transcription.transcript import Guard, Heard, Word


class Journal:
    """The chunks of one audio that are decoded, a JSON line each.

    Args:
        path: of the journal; what is in it is taken up if it was begun with the same ``made_by``.
        made_by: what determines the texts: the audio and all settings, as JSON has them.

    Raises:
        RunError: it cannot be written.
    """

    def __init__(self, path: Path, made_by: dict[str, Any]) -> None:
        self.path = path
        self.known: dict[tuple[int, int], Heard] = {}
        lines = _whole_lines(path)
        if lines and lines[0] == made_by:
            for row in lines[1:]:
                self.known[row["start"], row["end"]] = _heard(row)
        else:
            self._write("w", made_by)

    def find(self, chunk: Chunk) -> Heard | None:
        """What was decoded of a chunk before."""
        return self.known.get((chunk.start, chunk.end))

    def add(self, chunk: Chunk, heard: Heard) -> None:
        """Keep what was decoded of a chunk."""
        self._write("a", {"start": chunk.start, "end": chunk.end} | asdict(heard))

    def remove(self) -> None:
        """The transcript is written: the journal is no longer needed."""
        self.path.unlink(missing_ok=True)

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


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a journal; one that was being written when the run was stopped is left out."""
    rows = []
    if path.is_file():
        data = path.read_bytes()
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            rows.append(json.loads(line))
        if not data.endswith(b"\n"):
            path.write_bytes(data[: data.rfind(b"\n") + 1])
    return rows


def _heard(row: dict[str, Any]) -> Heard:
    return Heard(
        row["text"],
        tuple(Guard(**guard) for guard in row["guards"]),
        tuple(Word(**word) for word in row["words"]),
        row["confidence"],
    )
