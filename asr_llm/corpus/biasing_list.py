"""Biasing lists: the words that must be heard, from a file, the command line or an adapter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_llm.corpus.lines import Problem, read_lines
from asr_llm.corpus.patterns import pattern_problem
from asr_llm.corpus.term_files import LIST_SUFFIXES, read_term_rows, term_files
from asr_llm.errors import BiasingError

STRENGTH = 2.5
"""Nats that a token gains where the listed phrase can go on with no other: chosen on dev sets,
see eval/RESULTS.md#biasing."""


@dataclass(frozen=True)
class BiasingList:
    """Phrases to be preferred where they are likely to have been said.

    Args:
        phrases: as they should be written; other cases of them are preferred too. None at all is
            only a wish for a ``strength``.
        strength: nats that a token gains where the phrase can go on with no other; 0 changes
            nothing. None: ``STRENGTH``, or for lists that an adapter brings what it says.

    Raises:
        BiasingError: a phrase has neither letter nor digit, or the strength is no such number.
    """

    phrases: tuple[str, ...]
    strength: float | None = None

    def __post_init__(self) -> None:
        if self.strength is not None and not (math.isfinite(self.strength) and self.strength >= 0):
            raise BiasingError(
                f"found the biasing strength {self.strength:g}; expected a number from 0 (no "
                f"biasing) up, such as {STRENGTH:g}"
            )
        for phrase in self.phrases:
            _check(phrase, "biasing list")

    @property
    def nats(self) -> float:
        """The strength, or what stands for None."""
        return STRENGTH if self.strength is None else self.strength


def make_list(
    path: str | Path | None, words: Sequence[str] = (), strength: float | None = None
) -> BiasingList | None:
    """The list that was asked for: the phrases of a file, and ``words``; None for nothing.

    Args:
        path: a text file, see ``read_phrases``.
        strength: if given without any phrase, that of lists which adapters bring.

    Raises:
        BiasingError: see ``read_phrases``, ``BiasingList``.
    """
    if path is None and not words and strength is None:
        return None
    for word in words:
        _check(word, "--bias")
    phrases = [*(read_phrases(path) if path is not None else ()), *map(_trim, words)]
    return BiasingList(tuple(dict.fromkeys(phrases)), strength)


def joined(asked: BiasingList | None, brought: Iterable[BiasingList]) -> tuple[BiasingList, ...]:
    """The lists with phrases among what was asked for and what adapters bring.

    Each has its own strength: what a short list bears, a long one beside it may not. A strength
    that was asked for is that of all.
    """
    lists = list(brought) if asked is None else [asked, *brought]
    strength = None if asked is None else asked.strength
    return tuple(
        BiasingList(each.phrases, each.nats if strength is None else strength)
        for each in lists
        if each.phrases
    )


def check_strength(asked: BiasingList | None, brought: Iterable[BiasingList]) -> None:
    """Refuse a strength, other than none, without a list that could have it.

    Raises:
        BiasingError: there are no phrases, neither asked for nor brought.
    """
    if asked is not None and asked.strength != 0 and not joined(asked, brought):
        raise BiasingError(
            "--biasing-strength requires --biasing-list, --bias or an adapter with a list"
        )


def read_phrases(path: str | Path) -> list[str]:
    """The phrases of whatever ``score --entities`` takes, but for a pipeline that only learned.

    A list has one on each line; what follows a TAB, such as the spoken form in a domain's
    ``terms/<label>.tsv``, is left out, and so are blank lines and those of ``# ``. A folder may
    hold lists, a domain, or a spaCy pipeline with a ruler; of patterns (``.jsonl``) the phrases
    are taken, not the token patterns.

    Raises:
        BiasingError: it is missing, no text, without phrases, or a line has none.
        DomainError: the domain folder is malformed.
    """
    place = Path(path)
    problems: list[Problem] = []
    found = _in_folder(place, problems) if place.is_dir() else _in_file(place, problems)
    for problem in problems:
        if problem.severity == "error":
            raise BiasingError(f"{problem}; expected a text file with a phrase on each line")
    if not found:
        raise BiasingError(f"{place}: no phrases in it; expected a phrase on each line")
    return found


def _in_folder(folder: Path, problems: list[Problem]) -> list[str]:
    if (folder / "domain.yaml").is_file():
        from asr_llm.corpus.domain import Domain  # pydantic, voices: most of a second

        return _of_patterns(Domain.load(folder).patterns())
    if (folder / "config.cfg").is_file():  # of spaCy
        rulers = sorted(folder.glob("*_ruler/patterns*"))
        return [phrase for ruler in rulers for phrase in _in_patterns(ruler, problems)]
    lists = term_files(folder)
    if not lists:
        kinds = ", ".join(LIST_SUFFIXES)
        raise BiasingError(
            f"{folder}: no files in it that are lists ({kinds}); expected a phrase on each line"
        )
    return [phrase for file in lists for phrase in _in_file(file, problems)]


def _in_file(file: Path, problems: list[Problem]) -> list[str]:
    if file.suffix == ".jsonl":
        return _in_patterns(file, problems)
    return [row.text for row in read_term_rows(file, problems)]


def _in_patterns(file: Path, problems: list[Problem]) -> list[str]:
    patterns = []
    for line in read_lines(file, problems):
        try:
            pattern = json.loads(line.text)
        except (ValueError, RecursionError):
            problems.append(Problem(str(file), line.number, "error", "not JSON"))
        else:
            if wrong := pattern_problem(pattern):
                problems.append(Problem(str(file), line.number, "error", wrong))
            patterns.append(pattern)
    return [] if problems else _of_patterns(patterns)


def _of_patterns(patterns: Iterable[Mapping[str, Any]]) -> list[str]:
    bodies = (pattern["pattern"] for pattern in patterns)
    return [_trim(body) for body in bodies if isinstance(body, str)]


def _trim(phrase: str) -> str:
    return " ".join(phrase.split())


def _check(phrase: str, place: str) -> None:
    if not any(map(str.isalnum, phrase)):
        raise BiasingError(
            f"{place}: found {phrase!r}, which has no letter or digit; expected a word or a phrase"
        )
