"""Batches of similar length that fit in memory, sorted one pool at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_POOLED = 2  # batches of audio held in memory and sorted by length before decoding

# Per second of audio and beam, for a SALM of Canary-Qwen's size.
_BYTES_PER_SECOND = 10e6

T = TypeVar("T")


def fitting_seconds(num_beams: int) -> float:
    """Seconds of audio per batch that should fit in half of the free memory.

    A CPU gains nothing beyond two minutes with beams, or eight without.
    """
    import torch

    if torch.cuda.is_available():
        free, most = torch.cuda.mem_get_info()[0], 2400.0
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most = 480.0 if num_beams == 1 else 120.0
    return min(max(free / 2 / (_BYTES_PER_SECOND * num_beams), 20.0), most)


def pools(
    items: Iterable[T], length: Callable[[T], float], batch_seconds: float
) -> Iterator[list[T]]:
    """Group items, as they are produced, into pools long enough to sort into ``batches``."""
    pool: list[T] = []
    seconds = 0.0
    for item in items:
        pool.append(item)
        seconds += length(item)
        if seconds >= _POOLED * batch_seconds:
            yield pool
            pool, seconds = [], 0.0
    if pool:
        yield pool


def batches(items: Iterable[T], length: Callable[[T], float], seconds: float) -> Iterator[list[T]]:
    """Group items of similar length, at most ``seconds`` with padding, or one longer item."""
    batch: list[T] = []
    for item in sorted(items, key=length):
        if batch and (len(batch) + 1) * length(item) > seconds:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
