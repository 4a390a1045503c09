"""8-bit weights in linear layers on a CPU, by PyTorch's dynamic quantisation.

Token by token, an LLM is as fast as its weights can be read from memory; 8 bits are a quarter of
float32 (eval/RESULTS.md#speed-of-small). LoRA matrices stay in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import nn

from asr_llm.errors import CheckpointError

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

_NARROW = 64
"""Smaller layers, such as LoRA's, gain nothing."""

_LEFT_OUT = {"down_proj"}
"""Layers with some inputs a thousand times larger than the rest, which 8 bits would round to zero:
if these are quantised, `small` skips words (eval/RESULTS.md#speed-of-small)."""


def wanted(model: SpanSALM, compute_type: str) -> bool:
    """Whether this type requests 8 bits.

    Raises:
        CheckpointError: it does, and the model is not on a CPU.
    """
    on_cpu = model.device.type == "cpu"
    if compute_type == "int8" and not on_cpu:
        raise CheckpointError(
            f"int8 is for a CPU, but the model is on {model.device.type}; expected compute type "
            "auto or float32 there"
        )
    return compute_type == "int8" or (
        compute_type == "auto" and on_cpu and bool(model.cfg.get("cpu_int8", False))
    )


def quantise(module: nn.Module, but: Collection[str] = ()) -> None:
    """Quantise the weights of linear layers in a module on a CPU to 8 bits, in place.

    Activations are rounded too, so texts may differ from those of float32.

    Args:
        but: names of submodules, at any depth, to skip.
    """
    for name, child in list(module.named_children()):
        if name in _LEFT_OUT or name in but:
            continue
        if type(child) is not nn.Linear:
            quantise(child, but)
        elif min(child.weight.shape) >= _NARROW:
            setattr(module, name, _in_8_bits(child))


def _in_8_bits(linear: nn.Linear) -> nn.Module:
    from torch.ao.nn.quantized.dynamic import Linear
    from torch.ao.quantization import per_channel_dynamic_qconfig

    linear.qconfig = per_channel_dynamic_qconfig  # type: ignore[assignment]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.ao announces its successor
        made: nn.Module = Linear.from_float(linear)
    del linear.qconfig
    return made
