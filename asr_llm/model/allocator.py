"""Let the C library keep freed memory."""

from __future__ import annotations

import ctypes


def keep_memory() -> None:
    """Let glibc keep freed memory for the next batch.

    Batch sizes vary. By default glibc returns large blocks to the system and requests them again in
    every layer, and each page is zeroed again.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # not glibc
    mmap_threshold, trim_threshold = -3, -1  # names of malloc.h
    mallopt(mmap_threshold, 32 * 2**20)  # the most it takes
    mallopt(trim_threshold, 2**31 - 1)
