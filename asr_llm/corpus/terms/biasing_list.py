"""Biasing lists: words to boost, from a file, the command line or an adapter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_llm.corpus.domain.patterns import pattern_problem
from asr_llm.corpus.terms.files import LIST_SUFFIXES, read_term_rows, term_files
from asr_llm.corpus.text.lines import Problem, read_lines
from asr_llm.errors import BiasingError
from asr_llm.text_files import EXPECTED

STRENGTH = 2.5
"""Nats that a token gains if it is the only continuation of the listed phrase; tuned on dev sets,
see eval/RESULTS.md#biasing."""

_NO_LISTS = (".json", ".yaml", ".yml")  # text, but not with a phrase on each line


@dataclass(frozen=True)
class BiasingList:
    """Phrases to boost where they are likely to have been said.

    Args:
        phrases: as they should be written; other cases of them are boosted too. Without phrases it
            only sets a ``strength``.
        strength: nats that a token gains if the phrase is its only continuation; 0 disables the
            list. None: ``STRENGTH``, or for an adapter's list the adapter's value.

    Raises:
        BiasingError: a phrase has neither letter nor digit, or the strength is invalid.
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
        """The strength, with None resolved."""
        return STRENGTH if self.strength is None else self.strength


def make_list(
    path: str | Path | None, words: Sequence[str] = (), strength: float | None = None
) -> BiasingList | None:
    """The requested list: the phrases of a file, and ``words``; None for nothing.

    Args:
        path: a text file, see ``read_phrases``.
        strength: without any phrase, it applies to the adapters' lists.

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
    """The non-empty lists among the requested one and those of adapters.

    Each keeps its own strength, because a long list tolerates less than a short one. A requested
    strength applies to all.
    """
    lists = list(brought) if asked is None else [asked, *brought]
    strength = None if asked is None else asked.strength
    return tuple(
        BiasingList(each.phrases, each.nats if strength is None else strength)
        for each in lists
        if each.phrases
    )


def check_strength(asked: BiasingList | None, brought: Iterable[BiasingList]) -> None:
    """Reject a strength other than None if there is no list to apply it to.

    Raises:
        BiasingError: there are no phrases, neither requested nor from adapters.
    """
    if asked is not None and asked.strength != 0 and not joined(asked, brought):
        raise BiasingError(
            "--biasing-strength requires --biasing-list, --bias or an adapter with a list"
        )


def read_phrases(path: str | Path) -> list[str]:
    """Read phrases from anything that ``score --entities`` takes, except statistical pipelines.

    A list has one per line; anything after a TAB, such as the spoken form in a domain's
    ``terms/<label>.tsv``, is ignored, and so are blank lines and comments (``# ``). A folder may
    contain lists, a domain, or a spaCy pipeline with a ruler; of patterns (``.jsonl``) the phrases
    are taken, not the token patterns.

    Raises:
        BiasingError: it is missing, not text, without phrases, or has a line without one.
        DomainError: the domain folder is malformed.
    """
    place = Path(path)
    if place.suffix.lower() in _NO_LISTS:
        raise BiasingError(f"{place}: found {place.suffix}; {EXPECTED} with a phrase on each line")
    problems: list[Problem] = []
    found = _in_folder(place, problems) if place.is_dir() else _in_file(place, problems)
    for problem in problems:
        if problem.severity == "error":
            what = str(problem).removesuffix(f"; {EXPECTED}")
            raise BiasingError(f"{what}; {EXPECTED} with a phrase on each line")
    if not found:
        raise BiasingError(f"{place}: no phrases in it; expected a phrase on each line")
    return found


def _in_folder(folder: Path, problems: list[Problem]) -> list[str]:
    if (folder / "domain.yaml").is_file():
        from asr_llm.corpus.domain.folder import Domain  # pydantic, voices: most of a second

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
