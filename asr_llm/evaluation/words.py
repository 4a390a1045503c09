"""Word and character errors, and the word alignment they come from (jiwer, unit costs).

Nothing here normalises: what is passed in is what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import jiwer

from asr_llm.errors import ScoreError

Op = Literal["hit", "substitution", "deletion", "insertion"]

# jiwer's names for the four operations, and ours.
_OPS: dict[str, Op] = {
    "equal": "hit",
    "substitute": "substitution",
    "delete": "deletion",
    "insert": "insertion",
}


@dataclass(frozen=True)
class WordErrors:
    """Counts of one alignment, or of many added together. Rates are derived, never averaged.

    For character errors the units are characters, also under ``words``.
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

        Without a reference word: 0.0 when nothing was inserted, infinity otherwise.
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
    """One step of an alignment: word indices, ``None`` on the side that has no word."""

    reference: int | None
    hypothesis: int | None
    op: Op


def word_errors(*, reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Errors in white-space words, pooled over utterances of the same order.

    Raises:
        ScoreError: the two lists differ in length.
    """
    return _errors([t.split() for t in reference], [t.split() for t in hypothesis])


def char_errors(*, reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Errors in characters, pooled. A stretch of white space counts as one space.

    Raises:
        ScoreError: the two lists differ in length.
    """
    return _errors(
        [list(" ".join(t.split())) for t in reference],
        [list(" ".join(t.split())) for t in hypothesis],
    )


def align(*, reference_words: Sequence[str], hypothesis_words: Sequence[str]) -> list[AlignedPair]:
    """Align two word lists with the fewest errors, every error costing one.

    Every word of either side occurs once, in order. Where several alignments are equally cheap
    the choice is jiwer's, and always the same.
    """
    output = _process([list(reference_words)], [list(hypothesis_words)])
    return [
        AlignedPair(r, h, _OPS[chunk.type])
        for chunk in output.alignments[0]
        for r, h in zip_longest(
            range(chunk.ref_start_idx, chunk.ref_end_idx),
            range(chunk.hyp_start_idx, chunk.hyp_end_idx),
        )
    ]


def _errors(reference: list[list[str]], hypothesis: list[list[str]]) -> WordErrors:
    if len(reference) != len(hypothesis):
        raise ScoreError(
            f"{len(reference)} references but {len(hypothesis)} hypotheses: "
            "give one hypothesis for each reference, empty where nothing was heard"
        )
    output = _process(reference, hypothesis)
    return WordErrors(output.hits, output.substitutions, output.deletions, output.insertions)


def _process(reference: list[list[str]], hypothesis: list[list[str]]) -> jiwer.WordOutput:
    # The lists are units already; jiwer's transforms would split and strip them again.
    process: Any = jiwer.process_words  # typed for unsplit strings
    output: jiwer.WordOutput = process(
        reference, hypothesis, reference_transform=_as_is, hypothesis_transform=_as_is
    )
    return output


def _as_is(units: list[list[str]]) -> list[list[str]]:
    return units
