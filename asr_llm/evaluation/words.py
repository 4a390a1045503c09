"""Word and character errors, and the word alignment behind them.

Nothing here normalises: texts are compared as passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

from asr_llm.errors import ScoreError
from asr_llm.evaluation.alignment import Costs, cheapest

__all__ = [
    "AlignedPair",
    "Costs",
    "Op",
    "WordErrors",
    "align",
    "char_errors",
    "errors_of",
    "word_errors",
]

Op = Literal["hit", "substitution", "deletion", "insertion"]


@dataclass(frozen=True)
class WordErrors:
    """Counts of one alignment, or the sum of many. Rates are computed from counts, never averaged.

    For character errors the units are characters, including ``words``.
    """

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def words(self) -> int:
        """Words in the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word; may exceed 1.

        Without reference words: 0.0 if nothing was inserted, else infinity.
        """
        if self.words == 0:
            return math.inf if self.errors else 0.0
        return self.errors / self.words

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


class AlignedPair(NamedTuple):
    """One step of an alignment: word indices, ``None`` on the side without a word."""

    reference: int | None
    hypothesis: int | None
    op: Op


def word_errors(*, reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Errors in white-space words, pooled over utterances in the same order.

    Raises:
        ScoreError: the two lists differ in length.
    """
    _check_paired(reference, hypothesis)
    pairs = zip(reference, hypothesis)
    each = (
        errors_of(align(reference_words=one.split(), hypothesis_words=other.split()))
        for one, other in pairs
    )
    return sum(each, start=WordErrors())


def char_errors(*, reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Errors in characters, pooled. Runs of white space count as one space.

    Raises:
        ScoreError: the two lists differ in length.
    """
    _check_paired(reference, hypothesis)
    counts: Counter[str] = Counter()
    for one, other in zip(reference, hypothesis):
        said, heard = " ".join(one.split()), " ".join(other.split())
        for step in Levenshtein.opcodes(said, heard):
            size = max(step.src_end - step.src_start, step.dest_end - step.dest_start)
            counts[step.tag] += size
    return WordErrors(counts["equal"], counts["replace"], counts["delete"], counts["insert"])


def align(
    *, reference_words: Sequence[str], hypothesis_words: Sequence[str], costs: Costs = "unit"
) -> list[AlignedPair]:
    """Align two word lists at minimum cost; see ``alignment.cheapest``.

    Every word of either side occurs once, in order. The total number of errors at "unit" costs
    equals jiwer's; the split into substitutions, deletions and insertions may differ, because ties
    go to the alignment with the most hits.
    """
    return [*_aligned(tuple(reference_words), tuple(hypothesis_words), costs)]


@lru_cache(maxsize=4)  # words and terms of an utterance usually need the same alignment
def _aligned(said: tuple[str, ...], heard: tuple[str, ...], costs: Costs) -> list[AlignedPair]:
    return [AlignedPair(r, h, _op(r, h, said, heard)) for r, h in cheapest(said, heard, costs)]


def _op(r: int | None, h: int | None, said: Sequence[str], heard: Sequence[str]) -> Op:
    if r is None:
        return "insertion"
    if h is None:
        return "deletion"
    return "hit" if said[r] == heard[h] else "substitution"


def errors_of(pairs: Iterable[AlignedPair]) -> WordErrors:
    """Count the errors of an alignment."""
    counts = Counter(pair.op for pair in pairs)
    return WordErrors(
        counts["hit"], counts["substitution"], counts["deletion"], counts["insertion"]
    )


def _check_paired(reference: Sequence[object], hypothesis: Sequence[object]) -> None:
    if len(reference) != len(hypothesis):
        raise ScoreError(
            f"{len(reference)} references but {len(hypothesis)} hypotheses: "
            "give one hypothesis for each reference, empty where nothing was heard"
        )
