"""sclite's alternatives in a reference: ``{ grey / gray / @ }``, where ``@`` is the empty word.

As in sclite, each hypothesis is compared with the alternatives nearest to it, so the reference and
its length may differ between systems. Terms are located in the first alternative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Union

from asr_llm.corpus.text.normalizers import Normalizer
from asr_llm.evaluation.alignment import Costs
from asr_llm.evaluation.normalized import normalize

Part = Union[str, "Choice"]
Choice = list[list["Part"]]  # type: ignore[misc]
"""Alternatives, each a list of words and nested choices."""

_Taken = tuple["_Taken", int] | None  # type: ignore[misc]
"""The alternatives chosen so far, latest first."""
_Row = list[tuple[int, _Taken]]
"""For each number of hypothesis words: the lowest cost and the choices made for it."""

_WEIGHT = 1_000_000  # of an error relative to a hit, so that hits only break ties


def parse(text: str) -> list[Part]:
    """Parse a reference into words and choices.

    Raises:
        ValueError: a brace is not closed, or does not stand alone.
    """
    open_choices: list[Choice] = []
    current: list[Part] = []
    outer: list[list[Part]] = []
    for word in text.split():
        if word == "{":
            outer.append(current)
            current = []
            open_choices.append([current])
        elif open_choices and word == "/":
            current = []
            open_choices[-1].append(current)
        elif open_choices and word == "}":
            outer[-1].append(open_choices.pop())
            current = outer.pop()
        elif word != "}" and ("{" in word or "}" in word):
            raise ValueError(f"{word!r}, a brace without spaces around it")
        elif not (open_choices and word == "@"):
            current.append(word)
    if open_choices:
        raise ValueError("a '{' that is not closed")
    return current


def first(parts: Sequence[Part]) -> str:
    """Return the text with the first of all alternatives."""
    return " ".join(_words(parts, iter(lambda: 0, 1)))


def nearest(
    parts: Sequence[Part], hypothesis: str, normalizer: Normalizer = "none", costs: Costs = "unit"
) -> str:
    """Return the unnormalised reference text that aligns with ``hypothesis`` at the lowest cost.

    Ties go to the text with the most hits, then to earlier alternatives.
    """
    heard = normalize(hypothesis, normalizer).split()
    lone, pair = (3, 4) if costs == "sclite" else (1, 1)
    search = _Search(heard, lone * _WEIGHT, pair * _WEIGHT, normalizer)
    row: _Row = [(lone * _WEIGHT * j, None) for j in range(len(heard) + 1)]
    taken, path = search.through(parts, row)[-1][1], []
    while taken is not None:
        taken, choice = taken
        path.append(choice)
    return " ".join(_words(parts, reversed(path)))


def _words(parts: Sequence[Part], choices: Iterator[int]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part[next(choices)], choices)


class _Search:
    def __init__(self, heard: list[str], lone: int, pair: int, normalizer: Normalizer) -> None:
        self.heard, self.lone, self.pair, self.normalizer = heard, lone, pair, normalizer

    def through(self, parts: Sequence[Part], row: _Row) -> _Row:
        """Advance a row of the alignment table through the parts."""
        run: list[str] = []
        for part in parts:
            if isinstance(part, str):
                run.append(part)
                continue
            row, run = self._said(run, row), []
            row = self._chosen(part, row)
        return self._said(run, row)

    def _chosen(self, choice: Choice, row: _Row) -> _Row:
        ends = [
            self.through(alternative, [(cost, (taken, number)) for cost, taken in row])
            for number, alternative in enumerate(choice)
        ]
        return [min(cells, key=lambda cell: cell[0]) for cells in zip(*ends)]

    def _said(self, run: list[str], row: _Row) -> _Row:
        for word in normalize(" ".join(run), self.normalizer).split():
            here: _Row = [(row[0][0] + self.lone, row[0][1])]
            for j, heard in enumerate(self.heard, start=1):
                step = -1 if heard == word else self.pair
                cells = (
                    (row[j - 1][0] + step, row[j - 1][1]),
                    (here[j - 1][0] + self.lone, here[j - 1][1]),
                    (row[j][0] + self.lone, row[j][1]),
                )
                here.append(min(cells, key=lambda cell: cell[0]))
            row = here
        return row
