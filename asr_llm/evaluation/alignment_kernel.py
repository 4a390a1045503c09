"""The compiled part of ``alignment``, kept separate because importing numba takes 0.7 s."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_PAIR, _INSERTION, _DELETION = 0, 1, 2
_OUTSIDE = -(2**62)


def _compiled(function: Any) -> Any:
    """Compile at the first call (takes seconds) and cache the result if the folder is writable."""
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # no writable cache folder
        return njit(function)


class Band(NamedTuple):
    """The table of ``saved`` between two diagonals: ``low`` <= j - i <= ``high``.

    Args:
        said: (I,) ids of the reference words; ``heard`` (J,) of the hypothesis words.
        equal: saving of a pair of equal words; ``unequal`` of any other pair.
    """

    said: NDArray[np.int64]
    heard: NDArray[np.int64]
    equal: int
    unequal: int
    low: int
    high: int


@_compiled
def _advance(row: NDArray[np.int64], i: int, band: Band, steps: NDArray[np.uint8]) -> None:
    """Compute row i of ``saved`` from row i - 1, in place; cell j of row i is at j - i - low."""
    word, heard, low = band.said[i - 1], band.heard, band.low
    first, last = max(0, i + low), min(len(heard), i + band.high)
    for j in range(first, last + 1):
        k = j - i - low
        best, step = _OUTSIDE, _DELETION
        if j > 0:
            best = row[k] + (band.equal if heard[j - 1] == word else band.unequal)
            step = _PAIR
        if j > first and row[k - 1] > best:
            best, step = row[k - 1], _INSERTION
        if k + 1 < len(row) and row[k + 1] > best:
            best, step = row[k + 1], _DELETION
        row[k], steps[k] = best, step


@_compiled
def cheapest_path(band: Band, stride: int) -> NDArray[np.int64]:
    """Find the path that saves most in a band.

    Args:
        stride: number of rows whose steps are kept at once; earlier ones are recomputed during
            backtracing from every ``stride``-th row.

    Returns:
        (steps, 2): word indices of each step, -1 for none.
    """
    heard, low, high = band.heard, band.low, band.high
    size, width = len(band.said), high - low + 1
    blocks = max(1, (size + stride - 1) // stride)
    kept = np.empty((blocks, width), dtype=np.int64)
    steps = np.empty((stride + 1, width), dtype=np.uint8)
    row = np.full(width, _OUTSIDE, dtype=np.int64)
    row[-low : min(len(heard), high) - low + 1] = 0
    kept[0] = row
    for i in range(1, (blocks - 1) * stride + 1):
        _advance(row, i, band, steps[0])
        if i % stride == 0:
            kept[i // stride] = row

    path = np.empty((size + len(heard), 2), dtype=np.int64)
    at = len(path)
    i, j = size, len(heard)
    for block in range(blocks - 1, -1, -1):
        first = block * stride
        row = kept[block]
        for k in range(first + 1, i + 1):
            _advance(row, k, band, steps[k - first])
        while i > first or (block == 0 and j > 0):
            step = _INSERTION if i == 0 else steps[i - first, j - i - low]
            at -= 1
            path[at, 0] = -1 if step == _INSERTION else i - 1
            path[at, 1] = -1 if step == _DELETION else j - 1
            i -= step != _INSERTION
            j -= step != _DELETION
    return path[at:]
