"""Biasing lists: the words that must be heard, from a file, the command line or an adapter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_llm.corpus.domain_files import Problem, read_lines
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
            "a biasing strength is of no use without words: give --biasing-list or --bias too, or "
            "an adapter that brings a list"
        )


def read_phrases(path: str | Path) -> list[str]:
    """The phrases of a file, or of all ``.tsv`` files of a folder (such as ``terms/``).

    One stands on each line; what follows a TAB, such as the spoken form in a domain's
    ``terms/<label>.tsv``, is left out, and so are blank lines and those of ``#``.

    Raises:
        BiasingError: it is missing, no UTF-8 text, without phrases, or a line has none.
    """
    place = Path(path)
    files = sorted(place.glob("*.tsv")) if place.is_dir() else [place]
    problems: list[Problem] = []
    phrases = []
    for file in files:
        for line in read_lines(file, problems):
            _check(line.text.split("\t")[0], f"{file}:{line.number}")
            phrases.append(_trim(line.text.split("\t")[0]))
    if problems:
        raise BiasingError(f"{problems[0]}; expected a text file with a phrase on each line")
    if not phrases:
        found = "no phrases in it" if files else "no .tsv files in it"
        raise BiasingError(f"{place}: {found}; expected a phrase on each line")
    return phrases


def _trim(phrase: str) -> str:
    return " ".join(phrase.split())


def _check(phrase: str, place: str) -> None:
    if not any(map(str.isalnum, phrase)):
        raise BiasingError(
            f"{place}: found {phrase!r}, which has no letter or digit; expected a word or a phrase"
        )
