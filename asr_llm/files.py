"""Atomic writes, empty output folders, printable paths."""

from __future__ import annotations

import os
from pathlib import Path

from asr_llm.errors import RunError


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    os.replace(part, path)


def new_folder(path: str | Path) -> Path:
    """``path``, where a new or empty folder may take what is written; it is not made yet.

    Raises:
        RunError: a file is there, or a folder that holds something.
    """
    place = Path(path)
    if place.is_file():
        raise RunError(f"{place} is a file; expected a new or empty folder: choose another -o")
    if place.exists() and any(place.iterdir()):
        raise RunError(f"{place} is not empty; expected a new or empty folder: choose another -o")
    return place


def printable(path: str | Path) -> str:
    """A path as text, whatever bytes a file's name is made of."""
    return str(path).encode("utf-8", "backslashreplace").decode()
