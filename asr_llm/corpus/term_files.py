"""Lists of terms: ``drug.tsv``, ``drug.csv`` or ``drug.txt``, or a folder of them.

A term stands on each line, its spoken form in a second column where spelling misleads. The label
of a list is its name: ``drug.tsv``, and ``drug.tsv.txt`` that Windows shows as ``drug.tsv``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_llm.corpus.lines import Problem, read_lines
from asr_llm.text_files import cells, is_open

LIST_SUFFIXES = (".tsv", ".csv", ".txt")
"""Names of the files of a folder that are lists of terms."""

_TABLES = {".tsv", ".csv"}

MOST_TERMS = 200_000
"""No list is longer: it would be a dictionary, of which every word is preferred to every other."""

_TOLD = 20  # problems of one list; the rest are counted
_TERM_HEADERS = {"term", "terms", "phrase", "word"}
_SPOKEN_HEADERS = {"spoken", "spoken form", "spoken_form", "pronunciation"}


@dataclass(frozen=True, slots=True)
class TermRow:
    """A line of a list: the term as it is written, and as it is spoken where that is given."""

    text: str
    spoken: str | None
    line: int


def term_files(folder: Path) -> list[Path]:
    """The lists of a folder, in order of their names; hidden files are none.

    A plain ``.txt``, which may be notes, is one where there are no other lists.
    """
    visible = _visible(folder)
    lists = [path for path in visible if _TABLES.intersection(_suffixes(path))]
    return lists or [path for path in visible if path.suffix.lower() in LIST_SUFFIXES]


def other_files(folder: Path) -> list[Path]:
    """What else lies in a folder of lists, and is not read."""
    lists = term_files(folder)
    return [path for path in _visible(folder) if path not in lists]


def label_of(path: Path) -> str:
    """The label of a list: its name, without suffixes, in capitals."""
    return _stem(path).upper()


def has_capitals(path: Path) -> bool:
    """Whether the name of a list, without suffixes, has capitals: another file elsewhere."""
    return _stem(path) != _stem(path).lower()


def read_term_rows(path: Path, problems: list[Problem]) -> list[TermRow]:
    """The terms of a list; what is malformed is appended to ``problems``, the first 20 of it."""
    lines = read_lines(path, problems, MOST_TERMS)
    delimiter = _delimiter(path, [line.text for line in lines[:20]])
    found: list[Problem] = []
    rows = []
    for i, line in enumerate(lines):
        columns = _trimmed(cells(line.text, delimiter))
        if i == 0 and _is_header(columns, path):
            continue
        if wrong := _wrong(line.text, columns, delimiter):
            found.append(Problem(str(path), line.number, "error", *wrong))
        elif columns:
            rows.append(TermRow(columns[0], columns[1] if len(columns) > 1 else None, line.number))
    problems += found[:_TOLD]
    if more := found[_TOLD:]:
        message = f"{len(more):,} more lines that are no terms"
        problems.append(Problem(str(path), more[0].line, "error", message, "mend them"))
    return rows


def _wrong(line: str, columns: Sequence[str], delimiter: str) -> tuple[str, str] | None:
    """What is wrong with a line, and how to mend it."""
    expected = "expected term [TAB spoken form]" if delimiter == "\t" else "expected term, spoken"
    if is_open(line, delimiter):
        return "found a quote that is not closed on its line", "close it, or take it away"
    if len(columns) > 2:
        return f"found {len(columns)} columns; {expected}", "mend this line"
    if columns and not columns[0]:
        return f"found no term; {expected}", "mend this line"
    if columns and not any(map(str.isalnum, columns[0])):
        return "found a term without a letter or digit, which nobody can say", "spell it out"
    return None


def _trimmed(columns: Iterable[str]) -> list[str]:
    """White space unified; the empty columns that spreadsheets leave at the end taken away."""
    trimmed = [" ".join(column.split()) for column in columns]
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed


def _is_header(columns: Sequence[str], path: Path) -> bool:
    names = [name.lower() for name in columns]
    if len(names) == 2:
        return names[0] in _TERM_HEADERS and names[1] in _SPOKEN_HEADERS
    return names in (["term"], ["terms"]) and _is_csv(path)


def _delimiter(path: Path, sample: Sequence[str]) -> str:
    """TAB, or in a ``.csv`` a comma: or the semicolon of countries whose decimals have commas."""
    if not _is_csv(path):
        return "\t"
    return max(",;\t", key=lambda mark: sum(len(cells(line, mark)) == 2 for line in sample))


def _is_csv(path: Path) -> bool:
    return ".csv" in _suffixes(path)


def _suffixes(path: Path) -> list[str]:
    """The suffixes at the end of a name that are those of lists: of drug.tsv.txt both."""
    found = list[str]()
    while (suffix := path.suffix.lower()) in LIST_SUFFIXES:
        found.append(suffix)
        path = path.with_suffix("")
    return found


def _stem(path: Path) -> str:
    for _ in _suffixes(path):
        path = path.with_suffix("")
    return path.name


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    hidden = (".", "~$")  # of editors and of spreadsheets that are open
    return sorted(path for path in folder.iterdir() if not path.name.startswith(hidden))
