"""What the user asks to have transcribed, as a list of files: folders, patterns, stdin."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asr_llm.errors import AudioError

STDIN = Path("-")
"""Stands for audio that comes in on stdin."""

SPOOLED = "stdin"
"""What that audio is called, in messages and in the names of outputs."""

_PREFIX = "asr-llm-stdin-"

SUFFIXES = {
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".aif", ".aiff", ".au", ".caf", ".sph", ".w64"),
}
"""Names of the files that are taken from a folder; any file may be named by itself."""


def expand(given: Sequence[str | Path], *, recursive: bool = False) -> list[Path]:
    """Audio files, from files, folders and patterns, in the order given, else sorted; each once.

    A pattern (``*``, ``?``, ``[``; ``**`` for any folders) is one only if there is no file of
    that name. A name with nothing there is kept, so that it is told with those that cannot be
    read, and so is ``STDIN``.

    Args:
        recursive: look for audio in folders inside of folders too.

    Raises:
        AudioError: no audio is in a folder, or nothing is like a pattern.
    """
    found: list[Path] = []
    for path in map(Path, given):
        if path == STDIN:
            found.append(path)
        elif path.is_dir():
            found += _in_folder(path, recursive)
        elif glob.has_magic(str(path)) and not os.path.lexists(path):
            matches = sorted(filter(Path.is_file, map(Path, glob.glob(str(path), recursive=True))))
            if not matches:
                also = [p for p in map(str, given) if not glob.has_magic(p) and _is_missing(p)]
                more = f", and nothing is at {', '.join(also)}" if also else ""
                raise AudioError(f"{path}: no file is like this pattern{more}; check the path")
            found += matches
        else:
            found.append(path)
    first = {path: i for i, path in reversed(list(enumerate(found)))}
    return [path for i, path in enumerate(found) if path == STDIN or first[path] == i]


def _is_missing(path: str) -> bool:
    return Path(path) != STDIN and not os.path.lexists(path)


@contextmanager
def spooled(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The paths, with a temporary file for what comes in on stdin.

    Raises:
        AudioError: stdin is asked for twice.
    """
    if paths.count(STDIN) > 1:
        raise AudioError("- is given twice; stdin can be read once")
    if STDIN not in paths:
        yield list(paths)
        return
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        copy = Path(folder) / SPOOLED
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [copy if path == STDIN else path for path in paths]


def name_of(path: Path) -> Path:
    """What to call a path that ``spooled`` gave."""
    is_spooled = path.name == SPOOLED and path.parent.name.startswith(_PREFIX)
    return Path(SPOOLED) if is_spooled else path


def _in_folder(folder: Path, recursive: bool) -> list[Path]:
    inside = folder.rglob("*") if recursive else folder.iterdir()
    found = sorted(path for path in inside if _is_audio(path.relative_to(folder), path))
    if not found:
        hint = "" if recursive else ", or --recursive to look into its folders"
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise AudioError(f"{folder}: no audio in this folder; expected files ({kinds}){hint}")
    return found


def _is_audio(inside: Path, path: Path) -> bool:
    """By its name; hidden files are none, such as the ``._talk.wav`` that some systems leave."""
    hidden = any(part.startswith(".") for part in inside.parts)
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()
