"""Resolves the user's inputs (files, folders, patterns, stdin) to a list of audio files."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.audio import Source, audio_info
from asr_llm.corpus.recordings.audio_kinds import SUFFIXES
from asr_llm.errors import AudioError, RunError, ScoreError
from asr_llm.files import printable

if TYPE_CHECKING:
    from lhotse.cut import Cut

STDIN = Path("-")
"""The argument for audio on stdin."""

SPOOLED = "stdin"
"""Name of that audio in messages and output files."""

_PREFIX = "asr-llm-stdin-"

_OTHERS = """
txt md rst log json jsonl csv tsv xlsx xls ods yaml yml xml html htm srt vtt ass ssa lrc ctm trn stm
rttm lab textgrid eaf pdf doc docx odt rtf png jpg jpeg gif webp svg ini db sha256 md5
"""
NO_AUDIO = frozenset(f".{name}" for name in _OTHERS.split())
"""Files often found next to recordings that are known not to be audio."""


@dataclass(frozen=True)
class Found:
    """What was found: ``audio``, and what else is in the searched folders.

    ``unread`` says why files of unknown type could not be read as audio; ``other`` has files known
    to be something else; ``folders`` has subfolders that were not searched.
    """

    audio: list[Path] = field(default_factory=list)
    unread: dict[Path, str] = field(default_factory=dict)
    other: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def errors(self) -> Iterator[tuple[Path, str]]:
        """The unread files, one message for all that have the same reason: with the first."""
        alike: dict[str, list[Path]] = {}
        for path, message in self.unread.items():
            alike.setdefault(message.removeprefix(f"{path}: "), []).append(path)
        for reason, (first, *others) in alike.items():
            likewise = f" (likewise {_some(others)})" if others else ""
            yield first, f"{printable(first)}: {reason}{likewise}"

    def notes(self) -> Iterator[str]:
        """Messages on what was skipped without being an error."""
        if self.other:
            yield f"skipped: not audio: {_some(self.other)}"
        if self.folders:
            yield f"not looked into: {_some(self.folders)}; add --recursive"


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if paths[3:] else ""
    return ", ".join(map(printable, paths[:3])) + more


def expand(given: Sequence[str | Path], *, recursive: bool = False) -> Found:
    """Expand files, folders and patterns to audio files, in the given order, else sorted; each
    once.

    In a folder, a file is recognised as audio by its suffix (``audio_kinds.SUFFIXES``), or, with an
    unknown suffix, by its content. Hidden files are skipped, such as the ``._talk.wav`` of macOS.

    A pattern (``*``, ``?``, ``[``; ``**`` for any folders) is one only if there is no file of that
    name. Missing files are kept, so that they are reported with the unreadable ones, and so is
    ``STDIN``.

    Args:
        recursive: search subfolders too.

    Raises:
        AudioError: a folder has no audio, or a pattern matches nothing.
    """
    found = Found()
    audio = found.audio
    for path in map(Path, given):
        if path == STDIN:
            audio.append(path)
        elif path.is_dir():
            _look_through(path, recursive, found)
        elif glob.has_magic(str(path)) and not os.path.lexists(path):
            matches = sorted(filter(Path.is_file, map(Path, glob.glob(str(path), recursive=True))))
            if not matches:
                also = [p for p in map(str, given) if not glob.has_magic(p) and _is_missing(p)]
                more = f", and nothing is at {', '.join(also)}" if also else ""
                raise AudioError(f"{path}: no file matches this pattern{more}; check the path")
            audio += matches
        else:
            audio.append(path)
    first = {path: i for i, path in reversed(list(enumerate(audio)))}
    once = [path for i, path in enumerate(audio) if path == STDIN or first[path] == i]
    return replace(found, audio=once)


def _is_missing(path: str) -> bool:
    return Path(path) != STDIN and not os.path.lexists(path)


@contextmanager
def spooled(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Copy stdin or a named pipe to a temporary file; other paths are unchanged.

    Raises:
        AudioError: stdin is given twice.
    """
    if paths.count(STDIN) > 1:
        raise AudioError("- is given twice; stdin can be read once")
    if not any(map(_is_stream, paths)):
        yield list(paths)
        return
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        places = [Path(folder) / str(i) for i in range(len(paths))]
        yield [
            _copy(path, place) if _is_stream(path) else path for path, place in zip(paths, places)
        ]


def name_of(path: Path) -> Path:
    """The user's name of a path from ``spooled``."""
    return Path(path.name) if path.parent.parent.name.startswith(_PREFIX) else path


def _is_stream(path: Path) -> bool:
    """Whether it can be read only once."""
    return path == STDIN or path.is_fifo()


def _copy(stream: Path, place: Path) -> Path:
    place.mkdir()
    copy = place / (SPOOLED if stream == STDIN else stream.name)
    with copy.open("wb") as file:
        if stream == STDIN:
            shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            with stream.open("rb") as source:
                shutil.copyfileobj(source, file)
    return copy


def sources(path: Path, channels: str) -> list[Source]:
    """What to transcribe of a file: the mix, each channel, or one of them.

    Args:
        channels: ``mix``, ``separate``, or a number from 1, as ``check_channels`` allows.
    """
    if channels == "mix":
        return [Source(path)]
    if channels != "separate":
        return [Source(path, int(channels))]
    try:
        number = audio_info(path).num_channels
    except AudioError:
        number = 1  # the error is reported when it is read
    return [Source(path, i + 1) for i in range(number)] if number > 1 else [Source(path)]


def check_channels(channels: str) -> None:
    """Reject invalid values of ``channels``.

    Raises:
        RunError: it is invalid.
    """
    is_number = channels.isascii() and channels.isdigit() and 0 < int(channels[:6]) < 100_000
    if channels not in ("mix", "separate") and not is_number:
        raise RunError(
            f"--channels {channels}: expected mix, separate, or the number of a channel from 1"
        )


def _look_through(folder: Path, recursive: bool, found: Found) -> None:
    before = len(found.audio), len(found.unread)
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.is_dir():
            if not recursive:
                found.folders.append(path)
        elif path.suffix.lower() in SUFFIXES:
            found.audio.append(path)
        elif path.suffix.lower() in NO_AUDIO:
            found.other.append(path)
        elif (reason := _unreadable(path)) is not None:
            found.unread[path] = reason
        else:
            found.audio.append(path)
    if (len(found.audio), len(found.unread)) == before:
        hint = "" if recursive else ", or --recursive to look into its folders"
        raise AudioError(
            f"{folder}: no audio in this folder; expected files (wav, flac, mp3, ogg, m4a, webm or "
            f"the like){hint}"
        )


def _unreadable(path: Path) -> str | None:
    """Why a file is not readable audio; None if it is."""
    if not (path.is_file() or path.is_symlink()):
        return (
            f"{path}: is not a regular file; expected audio"  # reading a pipe or socket would block
        )
    try:
        audio_info(path)
    except AudioError as error:
        return str(error)
    return None


def distinct(cuts: Iterable[Cut]) -> list[Cut]:
    """The cuts, which have ids of their own.

    Raises:
        ScoreError: two have the same id.
    """
    found = list(cuts)
    for name, times in Counter(cut.id for cut in found).items():
        if times > 1:
            raise ScoreError(
                f"{times} cuts have the id {name!r}; expected an id of its own for each"
            )
    return found
