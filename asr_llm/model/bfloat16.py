"""Whether a device multiplies bfloat16, and whether that is faster than float32.

A CPU with AVX2 alone took 23 and 60 times as long as in float32, one with AVX-512's instructions
but without its matrix unit twice as long (eval/RESULTS.md#without-bfloat16).
"""

from __future__ import annotations

import time
from functools import cache

import torch

CPU = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
"""Whether this CPU multiplies it."""


def faster() -> bool:
    """Whether the device that a model trains on, the GPU if there is one, gains by it."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return CPU and _cpu_gains()


@cache
def _cpu_gains() -> bool:
    return _seconds(torch.bfloat16) < 0.8 * _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """The shortest of a few products of a training step's size."""
    positions, weight = torch.ones(512, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
    took = []
    for _ in range(7):
        begun = time.perf_counter()
        torch.nn.functional.linear(positions, weight)
        took.append(time.perf_counter() - begun)
    return min(took)
