"""Lines of a domain's files, and problems with their file and line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from asr_llm import text_files
from asr_llm.errors import DomainError
from asr_llm.text_files import TextFileError

T = TypeVar("T")

MOST_LINES = 2_000_000
"""Maximum lines of a text or manifest."""


@dataclass(frozen=True)
class Problem:
    """A problem in a domain folder: where, how severe, what, and how to fix it."""

    file: str
    line: int | None
    severity: Literal["error", "warning"]
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence and its line; ``number`` counts from 1."""

    text: str
    file: Path
    number: int


def read_lines(path: Path, problems: list[Problem], most: int = MOST_LINES) -> list[Line]:
    """The lines of a text that are neither blank nor comments (``# `` at the start)."""
    lines = all_lines(path, problems, most)
    return [Line(text, path, number) for number, text in text_files.numbered(lines)]


def all_lines(path: Path, problems: list[Problem], most: int = MOST_LINES) -> list[str]:
    """Every line of a text as is; [] with a problem if it cannot be read."""
    try:
        return text_files.read_lines(path, most_lines=most)
    except TextFileError as error:
        problems.append(Problem(str(path), error.line, "error", error.found, error.fix))
        return []


def strictly(read: Callable[[list[Problem]], list[T]]) -> list[T]:
    """Run a reader and raise its first problem.

    Raises:
        DomainError: with file and line.
    """
    problems: list[Problem] = []
    result = read(problems)
    for problem in problems:
        if problem.severity == "error":
            raise DomainError(str(problem))
    return result
