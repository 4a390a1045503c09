"""Word alignment by the costs of NIST's sclite: a substitution 4, an insertion or deletion 3.

A word without a partner costs 3, two of them 6; a pair costs 0 or 4. So each pair of equal words
saves 6 and each of unequal words 2, and the cheapest alignment is the one that saves most: 3 and 1
for short. ``saved[i, j]``, the most that the first i reference words and the first j hypothesis
words can save, is the greatest of ``saved[i - 1, j]``, ``saved[i, j - 1]`` and
``saved[i - 1, j - 1]`` + 3 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Step = tuple[int | None, int | None]
"""Indices of a reference word and of a hypothesis word; None where there is no partner."""

# Up to so many cells kaldialign is quicker; it keeps them all, at 4 bytes each.
_CELLS = 1_000_000


def sclite_steps(reference_words: Sequence[str], hypothesis_words: Sequence[str]) -> list[Step]:
    """The cheapest alignment. Memory grows with n √n for n words on either side.

    Where several are equally cheap, the words without a partner come last: read from the end, an
    insertion is taken before a deletion, and a deletion before a pair.
    """
    # A gap is None in neither list: words are numbered, so that any word may occur.
    numbers = {w: i for i, w in enumerate(dict.fromkeys([*reference_words, *hypothesis_words]))}
    said = [numbers[word] for word in reference_words]
    heard = [numbers[word] for word in hypothesis_words]
    return _short(said, heard) if len(said) * len(heard) <= _CELLS else _long(said, heard)


def _short(said: list[int], heard: list[int]) -> list[Step]:
    import kaldialign

    steps: list[Step] = []
    i = j = 0
    for one, other in kaldialign.align(said, heard, -1, sclite_mode=True):
        steps.append((None if one == -1 else i, None if other == -1 else j))
        i, j = i + (one != -1), j + (other != -1)
    return steps


def _long(said: list[int], heard: list[int]) -> list[Step]:
    """By checkpoints: every √n-th row is kept, and those between are made anew on the way back."""
    words = np.array(heard, dtype=np.int64)
    stride = max(1, math.isqrt(len(said)))
    row = np.zeros(len(heard) + 1, dtype=np.int32)
    kept = []
    for i, word in enumerate(said):
        if i % stride == 0:
            kept.append(row)
        row = _next_row(row, words, word)

    steps: list[Step] = []
    i, j = len(said), len(heard)
    for number in reversed(range(len(kept))):
        first = number * stride
        # Nothing to the right of where the way back has come to is needed any more.
        rows = [kept.pop()[: j + 1]]
        for word in said[first:i]:
            rows.append(_next_row(rows[-1], words[:j], word))
        while i > first:
            here, above = rows[i - first], rows[i - first - 1]
            if j and here[j] == here[j - 1]:
                j -= 1
                steps.append((None, j))
            elif here[j] == above[j]:
                i -= 1
                steps.append((i, None))
            else:
                i, j = i - 1, j - 1
                steps.append((i, j))
    steps += [(None, left) for left in reversed(range(j))]
    return steps[::-1]


def _next_row(above: NDArray[np.int32], words: NDArray[np.int64], word: int) -> NDArray[np.int32]:
    """``saved`` one reference word further: (J + 1,) from (J + 1,) and the J hypothesis words."""
    row = above.copy()
    np.maximum(above[1:], above[:-1] + np.where(words == word, 3, 1), out=row[1:])
    return np.maximum.accumulate(row)
