"""Atomic writes, empty output folders, Git LFS pointers, printable paths."""

from __future__ import annotations

import os
from pathlib import Path

from asr_llm.errors import RunError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def write_text(path: Path, text: str) -> None:
    """Write a file atomically."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    os.replace(part, path)


def new_folder(path: str | Path) -> Path:
    """Check that ``path`` is a new or empty folder to write to; it is not created yet.

    Raises:
        RunError: it is a file or a non-empty folder, or cannot be created below a file.
    """
    place = Path(path)
    if place.is_file():
        raise RunError(f"{place} is a file; expected a new or empty folder: choose another -o")
    if place.exists() and any(place.iterdir()):
        raise RunError(f"{place} is not empty; expected a new or empty folder: choose another -o")
    if above := file_above(place):
        raise RunError(
            f"{place} cannot be created: {above} is a file; choose another folder with -o"
        )
    return place


def file_above(path: Path) -> Path | None:
    """The file that a folder cannot be created below; None if there is none."""
    there = next((above for above in path.parents if above.exists()), None)
    return there if there is not None and not there.is_dir() else None


def is_lfs_pointer(path: Path) -> bool:
    """Whether an existing file only points to content that Git LFS has not fetched."""
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER


def printable(path: str | Path) -> str:
    """A path as printable text, even if the file name is not valid Unicode."""
    return str(path).encode("utf-8", "backslashreplace").decode()
