"""Term lists: ``drug.tsv``, ``drug.csv`` or ``drug.txt``, or a folder of them.

One term per line, with an optional spoken form in a second column. The label of a list is its file
name: ``drug.tsv``, or ``drug.tsv.txt``, which Windows shows as ``drug.tsv``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_llm.corpus.text.lines import Problem, read_lines
from asr_llm.errors import number_of
from asr_llm.text_files import cells, is_open

LIST_SUFFIXES = (".tsv", ".csv", ".txt")
"""Names of the files of a folder that are lists of terms."""

_TABLES = {".tsv", ".csv"}

MOST_TERMS = 200_000
"""Maximum length of a list: a longer one would be a dictionary that boosts everything."""

_LONGEST_TERM = 20  # words; what is longer is a sentence

_TOLD = 20  # problems reported per list; the rest are counted
_TERM_HEADERS = {"term", "terms", "phrase", "word"}
_SPOKEN_HEADERS = {"spoken", "spoken form", "spoken_form", "pronunciation"}


@dataclass(frozen=True, slots=True)
class TermRow:
    """A line of a list: the term as written, and its spoken form if given."""

    text: str
    spoken: str | None
    line: int


def term_files(folder: Path) -> list[Path]:
    """The lists of a folder, sorted by name, without hidden files.

    A plain ``.txt``, which may be notes, counts only if there are no other lists.
    """
    visible = _visible(folder)
    lists = [path for path in visible if _TABLES.intersection(_suffixes(path))]
    return lists or [path for path in visible if path.suffix.lower() in LIST_SUFFIXES]


def other_files(folder: Path) -> list[Path]:
    """Other files in a folder of lists, which are not read."""
    lists = term_files(folder)
    return [path for path in _visible(folder) if path not in lists]


def label_of(path: Path) -> str:
    """The label of a list: its name without suffixes, in upper case."""
    return _stem(path).upper()


def has_capitals(path: Path) -> bool:
    """Whether the name has capitals, which matters on case-sensitive file systems."""
    return _stem(path) != _stem(path).lower()


def read_term_rows(path: Path, problems: list[Problem]) -> list[TermRow]:
    """Read the terms of a list; the first 20 problems are appended to ``problems``."""
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
        message = f"{len(more):,} more lines that are not terms"
        problems.append(Problem(str(path), more[0].line, "error", message, "fix them"))
    return rows


def _wrong(line: str, columns: Sequence[str], delimiter: str) -> tuple[str, str] | None:
    """What is wrong with a line, and how to fix it."""
    expected = "expected term [TAB spoken form]" if delimiter == "\t" else "expected term, spoken"
    if is_open(line, delimiter):
        return "found a quote that is not closed on its line", "close it, or remove it"
    if len(columns) > 2:
        return f"found {number_of(len(columns), 'column')}; {expected}", "fix this line"
    if columns and not columns[0]:
        return f"found no term; {expected}", "fix this line"
    if columns and not any(map(str.isalnum, columns[0])):
        return "found a term without a letter or digit, which nobody can say", "spell it out"
    if columns and (words := len(columns[0].split())) > _LONGEST_TERM:
        found = f"found {words} words; expected a term, of at most {_LONGEST_TERM}"
        return found, "leave sentences to text.txt"
    return None


def _trimmed(columns: Iterable[str]) -> list[str]:
    """Collapse white space; drop the empty trailing columns of spreadsheets."""
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
    """TAB, or in a ``.csv`` a comma, or a semicolon in locales with decimal commas."""
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
