"""Atomic writes, empty output folders, printable paths."""

from __future__ import annotations

import os
from pathlib import Path

from asr_llm.errors import RunError


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    os.replace(part, path)


def new_folder(path: str | Path) -> Path:
    """Check that ``path`` is a new or empty folder to write to; it is not created yet.

    Raises:
        RunError: it is a file or a non-empty folder.
    """
    place = Path(path)
    if place.is_file():
        raise RunError(f"{place} is a file; expected a new or empty folder: choose another -o")
    if place.exists() and any(place.iterdir()):
        raise RunError(f"{place} is not empty; expected a new or empty folder: choose another -o")
    return place


def printable(path: str | Path) -> str:
    """A path as printable text, even if the file name is not valid Unicode."""
    return str(path).encode("utf-8", "backslashreplace").decode()
