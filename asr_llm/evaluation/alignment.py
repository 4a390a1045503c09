"""Minimum-cost word alignment with deterministic ties.

An insertion or deletion costs g, so two of them cost 2 g; a pair costs 0 or s. The cheapest path is
therefore the one that *saves* most: 2 g for a pair of equal words, 2 g - s for a pair of unequal
ones. ``saved[i, j]``, the most that the first i reference and the first j hypothesis words can
save, is the maximum of ``saved[i - 1, j - 1]`` plus either, ``saved[i, j - 1]`` and
``saved[i - 1, j]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein

Costs = Literal["unit", "sclite", "jiwer"]

Step = tuple[int | None, int | None]
"""Indices of a reference word and a hypothesis word; None for an insertion or deletion."""

_CELLS = 4_000_000
"""Up to this many cells, one byte each, the whole backtrace table is kept."""


def cheapest(said: Sequence[str], heard: Sequence[str], costs: Costs = "unit") -> list[Step]:
    """Align two word lists at minimum cost.

    ``unit``: every error costs one; of equally cheap alignments, one with the most hits, and so the
    fewest substitutions. ``sclite``: a substitution costs 4, an insertion or deletion 3, as in
    NIST's sclite. ``jiwer``: every error costs one and jiwer breaks ties, so that the split into
    substitutions, deletions and insertions is jiwer's. With ``unit`` and ``sclite``, remaining ties
    are broken as in the script published with B-WER (arXiv 2104.02194): backwards, a pair before an
    insertion before a deletion.

    Time grows with words x errors; memory too, up to 4 MB, and with its square root beyond that.
    """
    if said == heard:
        return [(i, i) for i in range(len(said))]
    if costs == "jiwer":
        return _of_jiwer(said, heard)
    numbers: dict[str, int] = {}
    one, other = (
        np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
        for words in (said, heard)
    )
    # One more error must outweigh all the hits that it could gain.
    weight = min(len(said), len(heard)) + 1
    equal, unequal = (2 * weight + 1, weight) if costs == "unit" else (3, 1)
    low, high = _band(said, heard, costs)
    rows = max(1, len(said))
    if rows * (high - low + 1) > _CELLS:
        rows = math.isqrt(rows)
    from asr_llm.evaluation.alignment_kernel import Band, cheapest_path  # numba: 0.7 s

    path = cheapest_path(Band(one, other, equal, unequal, low, high), rows)
    return [(None if r < 0 else r, None if h < 0 else h) for r, h in path.tolist()]


def _band(said: Sequence[str], heard: Sequence[str], costs: Costs) -> tuple[int, int]:
    """Range of j - i that contains every cheapest path.

    At unit costs a path with E errors has at most E insertions and deletions; at sclite's costs it
    costs at most 4 E, and has at most 4 E / 3 of them.
    """
    errors = Levenshtein.distance(said, heard)
    alone = errors if costs == "unit" else 4 * errors // 3
    longer = len(heard) - len(said)
    return -((alone - longer) // 2), (alone + longer) // 2


def _of_jiwer(said: Sequence[str], heard: Sequence[str]) -> list[Step]:
    import jiwer

    chunks = jiwer.process_words(
        [" ".join(said)],
        [" ".join(heard)],
        reference_transform=lambda _: [[*said]],  # already split into words
        hypothesis_transform=lambda _: [[*heard]],
    ).alignments[0]
    steps: list[Step] = []
    for chunk in chunks:
        ours = range(chunk.ref_start_idx, chunk.ref_end_idx)
        theirs = range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        steps += zip_longest(ours, theirs)  # equally long, or one is empty
    return steps
