"""The order in which examples are drawn, which is another in each epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np


class ShardOrder(Sequence[int]):
    """A random order of examples in shards, in which those that follow each other share a few.

    The shards are shuffled and taken ``group`` at a time; the examples of a group are shuffled. So
    a reader needs the lists of one group only, and the order itself that of one.

    Args:
        sizes: examples in each shard.
        key: what the order is a function of.
    """

    def __init__(self, sizes: Sequence[int], key: tuple[int, ...], group: int) -> None:
        self.key = key
        self._firsts = np.concatenate([[0], np.cumsum(sizes)])
        shards = np.random.default_rng(key).permutation(len(sizes))
        self._groups = [shards[i : i + group] for i in range(0, len(shards), group)]
        self._ends = list(accumulate(int(sum(sizes[s] for s in one)) for one in self._groups))
        self._drawn: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, offset: int) -> int:  # type: ignore[override]
        """The example at a place of the order."""
        number = bisect_right(self._ends, offset)
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, self._of(number)
        return int(self._drawn[1][offset - (self._ends[number - 1] if number else 0)])

    def _of(self, number: int) -> np.ndarray:
        firsts, lasts = self._firsts[:-1], self._firsts[1:]
        examples = [np.arange(firsts[s], lasts[s]) for s in self._groups[number]]
        rng = np.random.default_rng((*self.key, number))
        return rng.permutation(np.concatenate(examples))
