"""Freed memory: kept by the C library for the next batch, returned between phases."""

from __future__ import annotations

import ctypes
import gc
from typing import Any


def keep_memory() -> None:
    """Let glibc keep freed memory for the next batch.

    Batch sizes vary. By default glibc returns large blocks to the system and requests them again in
    every layer, and each page is zeroed again.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return
    mmap_threshold, trim_threshold = -3, -1  # names of malloc.h
    mallopt(mmap_threshold, 32 * 2**20)  # the most it takes
    mallopt(trim_threshold, 2**31 - 1)


def release_memory() -> None:
    """Return what an earlier phase left: the batches of the next one have other sizes.

    Without this the process of a run that aligns, transcribes and trains was at 7.6 GB, 2.9 of
    them in use.
    """
    gc.collect()
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
