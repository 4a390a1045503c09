"""Significance of differences between systems: paired bootstrap over blocks.

Errors of one speaker (or voice, or recording) are correlated, so whole blocks are resampled (Liu
and Peng, arXiv 1912.09508).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from asr_llm.errors import ScoreError


@dataclass(frozen=True)
class Difference:
    """A difference of two pooled error rates (fractions; negative: the second system is better).

    ``low`` and ``high`` bound its 95% percentile interval; ``p`` is two-sided. All are ``None`` if
    undefined: fewer than two blocks have anything to count.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None


def rate_interval(
    *, errors: Sequence[float], sizes: Sequence[float], resamples: int = 1000, seed: int = 0
) -> tuple[float | None, float | None]:
    """95% percentile interval of a pooled rate over blocks; see ``paired_bootstrap``."""
    drawn = paired_bootstrap(
        base=[0] * len(errors), adapted=errors, sizes=sizes, resamples=resamples, seed=seed
    )
    return drawn.low, drawn.high


def mcnemar(*, base: Sequence[bool], adapted: Sequence[bool]) -> dict[str, int | float | None]:
    """McNemar's exact test on paired verdicts (mentions found or not).

    Returns:
        ``base_only`` and ``adapted_only``, how many only one of the two found, and the two-sided
        ``p`` of that split; None if they always agree.

    Raises:
        ScoreError: the two lists differ in length.
    """
    if len(base) != len(adapted):
        raise ScoreError(f"McNemar's test of {len(base)} and {len(adapted)} verdicts: not paired")
    from scipy.stats import binomtest

    one = sum(b and not a for b, a in zip(base, adapted))
    other = sum(a and not b for b, a in zip(base, adapted))
    p = float(binomtest(one, one + other).pvalue) if one + other else None
    return {"base_only": one, "adapted_only": other, "p": p}


def paired_bootstrap(
    *,
    base: Sequence[float],
    adapted: Sequence[float],
    sizes: Sequence[float],
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Difference of pooled error rates, ``adapted`` minus ``base``, with its interval.

    Args:
        base: errors of the first system per block.
        adapted: errors of the second system on the same blocks, in the same order.
        sizes: denominator of each block (words, mentions).
        resamples: number of draws of all blocks, with replacement.
        seed: of the draws.

    ``p`` is twice the smaller share of draws in which the difference is ≥ 0 or ≤ 0, counting the
    sample itself (so never 0), and at most 1. It is below 0.05 where the interval excludes 0, give
    or take a draw. If few blocks differ, many draws have none of them: the interval then ends at
    exactly 0, and p is large.

    Raises:
        ScoreError: the three lists differ in length.
    """
    if not len(base) == len(adapted) == len(sizes):
        raise ScoreError(
            f"bootstrap over {len(base)}, {len(adapted)} and {len(sizes)} blocks: "
            "both systems need the same blocks"
        )
    gain = np.asarray(adapted, dtype=float) - np.asarray(base, dtype=float)
    size = np.asarray(sizes, dtype=float)
    if size.sum() == 0:
        return Difference(None, None, None, None)
    difference = float(gain.sum() / size.sum())
    if np.count_nonzero(size) < 2:
        return Difference(difference, None, None, None)

    gains, sums = _drawn(np.stack([gain, size]), resamples, seed)
    # A draw of only empty blocks has no rate.
    draws = gains[sums > 0] / sums[sums > 0]
    low, high = np.percentile(draws, [2.5, 97.5])
    extreme = 1 + min(int((draws >= 0).sum()), int((draws <= 0).sum()))
    p = min(1.0, 2 * extreme / (1 + len(draws)))
    return Difference(difference, float(low), float(high), p)


def pooled_draws(
    *,
    errors: Sequence[Sequence[float]],
    sizes: Sequence[Sequence[float]],
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Pooled error rates of several systems on the same draws of blocks.

    The draws are those of ``paired_bootstrap``. Draws without anything to count are dropped.

    Args:
        errors: (systems, blocks).
        sizes: (systems, blocks); the denominators.

    Returns:
        (draws, systems).
    """
    wrong, size = np.asarray(errors, dtype=float), np.asarray(sizes, dtype=float)
    systems = len(wrong)
    drawn = _drawn(np.concatenate([wrong, size]), resamples, seed)
    counted = (drawn[systems:] > 0).all(axis=0)
    return (drawn[:systems, counted] / drawn[systems:, counted]).T


_AT_ONCE = 2_000_000  # draw counts held in memory: 16 MB


def _drawn(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums over blocks drawn with replacement; (rows, blocks) → (rows, resamples)."""
    blocks = values.shape[1]
    if blocks * resamples <= _AT_ONCE:
        return values @ _times_drawn(blocks, resamples, seed)
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(blocks, size=blocks) for _ in range(resamples))
    return np.stack([values[:, indices].sum(axis=1) for indices in drawn], axis=1)


@lru_cache(maxsize=4)
def _times_drawn(blocks: int, resamples: int, seed: int) -> np.ndarray:
    """Number of times each block is in each draw; (blocks, resamples)."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(blocks, size=blocks) for _ in range(resamples))
    return np.stack([np.bincount(d, minlength=blocks) for d in drawn], axis=1).astype(float)


def told_apart(draws: np.ndarray) -> np.ndarray:
    """Which systems are significantly better than which (two-sided p < 0.05 per pair).

    Args:
        draws: (draws, systems), pooled error rates.

    Returns:
        (systems, systems), bool: is the system of the row better than that of the column?
    """
    systems = range(draws.shape[1])
    not_better = [(draws[:, [i]] >= draws).sum(axis=0) for i in systems]
    p = 2 * (1 + np.array(not_better)) / (1 + len(draws))
    return np.asarray(p < 0.05)
