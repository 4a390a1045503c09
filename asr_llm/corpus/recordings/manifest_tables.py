"""Lists of recordings as CSV, such as AudioFolder's, row by row as NeMo's JSON has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr_llm.corpus.text.lines import Problem, all_lines
from asr_llm.errors import number_of
from asr_llm.text_files import RowError, comma_rows

_AUDIO = ("file_name", "audio_filepath", "audio", "file", "path")
_TEXT = ("text", "transcription", "sentence", "transcript")
_NUMBERS = ("offset", "duration")
_OTHERS = ("speaker", "lang", "language", "first_pass")


class MalformedError(Exception):
    """What is wrong with a line, and what was expected."""


class Columns:
    """The columns of a table by the names in its header.

    Raises:
        MalformedError: no column of audio, or none of text.
    """

    def __init__(self, header: list[str]) -> None:
        self.names = [name.strip().lower() for name in header]
        for key, known in (("audio", _AUDIO), ("text", _TEXT)):
            if not any(name in self.names for name in known):
                expected = f"{', '.join(known)} in the first line"
                raise MalformedError(f"found no column of {key}; expected one of {expected}")

    def item(self, row: list[str]) -> dict[str, Any]:
        """A row as a line of NeMo's manifest; a cell that is empty is left out.

        Raises:
            MalformedError: it has more or fewer cells than the header.
        """
        if len(row) != len(self.names):
            expected = f"{len(self.names)}, as in the first line"
            raise MalformedError(f"found {number_of(len(row), 'column')}; expected {expected}")
        cells = {name: cell for name, cell in zip(self.names, row) if cell.strip()}
        item: dict[str, Any] = {name: cells[name] for name in _OTHERS if name in cells}
        item |= {name: _number(cells[name]) for name in _NUMBERS if name in cells}
        for key, known in (("audio_filepath", _AUDIO), ("text", _TEXT)):
            item[key] = cells.get(next(name for name in known if name in self.names))
        return item


def rows(path: Path, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with the lines they begin in; a fault that ends it is a problem."""
    try:
        yield from comma_rows("\n".join(all_lines(path, problems)))
    except RowError as error:
        problems.append(
            Problem(str(path), error.line, "error", f"found {error}", "close the quotes of cells")
        )


def _number(cell: str) -> float | str:
    """A cell as a number; what is none is left, to be named."""
    try:
        return float(cell)
    except ValueError:
        return cell
