"""Whether a device multiplies bfloat16 itself.

One with AVX2 alone took 23 and 60 times as long as in float32 (eval/RESULTS.md#without-bfloat16).
"""

from __future__ import annotations

import torch

CPU = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
"""Whether this CPU does."""


def multiplied() -> bool:
    """Whether the device that a model trains on does: the GPU if there is one."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return CPU
