"""Atomic writes, writable and empty output folders, Git LFS pointers, printable paths."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
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
        RunError: it is a file or a non-empty folder, or cannot be written.
    """
    place = Path(path)
    check_no_file(place)
    if place.exists() and any(place.iterdir()):
        raise RunError(f"{place} is not empty; expected a new or empty folder: choose another -o")
    check_writable(place)
    return place


def check_writable(folder: Path, option: str = "-o") -> None:
    """Check that files can be created in a folder, before any work is done for them.

    The folder need not exist; what is created to find out is removed.

    Raises:
        RunError: they cannot.
    """
    check_no_file(folder, option)
    created = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what = "cannot be created" if created else "cannot be written"
        # A system folder such as /proc answers that it does not exist, which tells nobody anything.
        reason = "" if error.errno == errno.ENOENT else f" ({error.strerror})"
        raise RunError(f"{folder} {what}{reason}; choose another place with {option}") from error
    finally:
        for above in created:
            with suppress(OSError):
                above.rmdir()


def check_no_file(folder: Path, option: str = "-o") -> None:
    """Check that neither a folder's path nor a part of it is a file.

    Raises:
        RunError: it is.
    """
    there = next((part for part in (folder, *folder.parents) if part.exists()), None)
    if there is None or there.is_dir():
        return
    if there == folder:
        raise RunError(f"{folder} is a file; expected a folder: choose another with {option}")
    raise RunError(
        f"{folder} cannot be created: {there} is a file; choose another place with {option}"
    )


def check_file(path: Path, option: str) -> None:
    """Check that an HTML page can be written, before any work is done for it.

    Raises:
        RunError: it cannot, or its name is that of another kind of file, which would be lost.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder; expected a file for {option}, such as report.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise RunError(f"{path}: expected a name for {option} that ends in .html")
    check_writable(path.parent, option)


def is_lfs_pointer(path: Path) -> bool:
    """Whether an existing file only points to content that Git LFS has not fetched."""
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER


def printable(path: str | Path) -> str:
    """A path as printable text, even if the file name is not valid Unicode."""
    return str(path).encode("utf-8", "backslashreplace").decode()
