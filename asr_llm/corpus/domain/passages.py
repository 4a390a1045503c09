"""A folder of text of any size: passages that are read when their turn comes.

One pass over the files notes where passages begin and end, sixteen bytes each; the text stays
on disk.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from asr_llm.errors import DomainError

_SENTENCE_END = re.compile(rb"[.!?](?:[\"')\]]|\xe2\x80[\x99\x9d])*(?=\s|$)")
_WORD = re.compile(rb"\S+")


class Passages:
    """The passages of all ``.txt`` files in a folder and below, in the order of their paths.

    A passage is whole sentences, as many as fit into ``longest`` bytes, or a piece of one that is
    longer. Paragraphs, which blank lines part, are joined. White space counts as a single space.

    Args:
        folder: where the files are, in UTF-8.
        longest: bytes.

    Raises:
        DomainError: there is no text, or a file is not UTF-8; names file and line.
    """

    def __init__(self, folder: Path, longest: int) -> None:
        self.files = sorted(path for path in folder.rglob("*.txt") if path.is_file())
        self._file, self._start, self._size = array("I"), array("Q"), array("I")
        for number, path in enumerate(self.files):
            for start, end in _bounds(path, longest):
                self._file.append(number)
                self._start.append(start)
                self._size.append(end - start)
        if not self._file:
            raise DomainError(
                f"{folder}: no text in {len(self.files)} .txt files; expected files of text, "
                "here or in folders below"
            )

    def __len__(self) -> int:
        return len(self._file)

    def size(self, i: int) -> int:
        """Bytes of the i-th passage, white space of the file included."""
        return self._size[i]

    def __getitem__(self, i: int) -> str:
        """The i-th passage.

        Raises:
            DomainError: the file is gone, or is not what it was.
        """
        path = self.files[self._file[i]]
        try:
            with path.open("rb") as file:
                file.seek(self._start[i])
                text = file.read(self._size[i]).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DomainError(
                f"{path} cannot be read any more as it was when this run began ({error}); "
                "restore it, and continue with --resume"
            ) from error
        return " ".join(text.removeprefix("\ufeff").split())


class _Piece(NamedTuple):
    """A piece of a file that is never cut: first byte, last, and whether a sentence ends there."""

    start: int
    end: int
    whole: bool


def _bounds(path: Path, longest: int) -> Iterator[tuple[int, int]]:
    """First byte and last, exclusive, of each passage of a file, read line by line."""
    pending: list[_Piece] = []
    for piece in _pieces(path, longest):
        while pending and piece.end - pending[0].start > longest:
            ends = [i for i, one in enumerate(pending, start=1) if one.whole]
            count = ends[-1] if ends else len(pending)
            yield pending[0].start, pending[count - 1].end
            pending = pending[count:]
        pending.append(piece)
    if pending:
        yield pending[0].start, pending[-1].end


def _pieces(path: Path, longest: int) -> Iterator[_Piece]:
    """What stands between ends of sentences and of lines; words, where that is too long."""
    offset = 0
    held: _Piece | None = None  # the last of its line: a blank line may follow
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DomainError(
                    f"{path}:{number}: not UTF-8 text ({error.reason}); expected UTF-8: convert it"
                ) from error
            if held is not None:
                yield held if line.strip() else held._replace(whole=True)
                held = None
            for start, end, whole in _of_line(line, longest):
                if held is not None:
                    yield held
                held = _Piece(offset + start, offset + end, whole)
            offset += len(line)
    if held is not None:
        yield held


def _of_line(line: bytes, longest: int) -> Iterator[_Piece]:
    end = len(line.rstrip())
    sentences = {match.end() for match in _SENTENCE_END.finditer(line, 0, end)}
    for before, place in pairwise([0, *sorted(sentences | {end})]):
        start = place - len(line[before:place].lstrip())
        if place - start <= longest:
            if start < place:
                yield _Piece(start, place, place in sentences)
        else:
            for word in _WORD.finditer(line, start, place):
                last = word.end() == place
                yield _Piece(word.start(), word.end(), last and place in sentences)
