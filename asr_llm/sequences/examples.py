"""Examples of a source, built only when needed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from asr_llm.sequences.answers import Judged
from asr_llm.sequences.spans import SpanSequence


@dataclass(frozen=True)
class Item:
    """A deferred example: ``cost`` in decoder positions, ``make(rng)`` builds it."""

    cost: float
    make: Callable[[np.random.Generator], SpanSequence | None]


@dataclass(frozen=True)
class Examples:
    """Examples of one kind: ``count`` of them, ``item(i)`` the i-th, and their share of the mix.

    ``left_out`` names the recordings that could not be used for want of word times. ``judged``
    says how many answers of a teacher were fit to be learned. ``shards``: where the examples are
    read shard by shard, the sizes of the shards that they lie in, one after the other.
    """

    count: int
    weight: float
    item: Callable[[int], Item]
    left_out: frozenset[str] = frozenset()
    judged: Judged | None = None
    shards: tuple[int, ...] = ()


def python_rng(rng: np.random.Generator) -> random.Random:
    """Python's generator, seeded by one draw from NumPy's."""
    return random.Random(int(rng.integers(2**63)))
