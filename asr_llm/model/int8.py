"""8-bit weights in linear layers on a CPU, by PyTorch's quantised kernels.

Token by token, an LLM is as fast as its weights can be read from memory; 8 bits are a quarter of
float32 (eval/RESULTS.md#speed-of-small). LoRA matrices stay in float32.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from asr_llm.errors import CheckpointError
from asr_llm.model import bfloat16

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

_NARROW = 64
"""Smaller layers, such as LoRA's, gain nothing."""

_LEVELS = 127 if torch.cpu._is_vnni_supported() else 63
"""Steps on each side of 0 that inputs are rounded to. Without VNNI, two 8-bit products are added in
16 bits, which more steps would overflow. With 63, rounding errs about twice as much."""

_ROWS = 16
"""A float32 product of a multiple of so many rows gives a row the same in any number of them: no
thread gets a few rows left over, which PyTorch would add in another order. Measured with 1 to 4
threads on AVX-512, where 4 rows are enough."""

_TINY = 1e-30

_LEFT_OUT = {"down_proj"}
"""Layers with some inputs a thousand times larger than the rest, which 8 bits would round to zero:
if these are quantised, `small` skips words (eval/RESULTS.md#speed-of-small)."""

_LEFT_OUT_TYPE = torch.bfloat16 if bfloat16.CPU else torch.float32
"""bfloat16 takes half of float32's time where a CPU multiplies it, at the same error rate."""


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


def used(module: nn.Module) -> bool:
    """Whether any layer of a module has weights in 8 bits."""
    return any(isinstance(own, RowwiseLinear) for own in module.modules())


def quantise(module: nn.Module) -> None:
    """Quantise the weights of linear layers in a module on a CPU to 8 bits, in place.

    Activations are rounded too, so texts may differ from those of float32. What a position gives
    does not depend on its batch, neither in these layers nor in those left in float32.
    """
    _replace(module, everything=True)


def _replace(module: nn.Module, everything: bool) -> None:
    for name, child in list(module.named_children()):
        quantised = everything and name not in _LEFT_OUT  # PEFT wraps layers: what is inside, too
        if type(child) is not nn.Linear:
            _replace(child, quantised)
        elif min(child.weight.shape) < _NARROW:
            setattr(module, name, SteadyLinear(child, torch.float32))
        elif quantised:
            setattr(module, name, _in_8_bits(child))
        else:
            setattr(module, name, SteadyLinear(child, _LEFT_OUT_TYPE))


def _in_8_bits(linear: nn.Linear) -> RowwiseLinear:
    from torch.ao.nn.quantized.dynamic import Linear
    from torch.ao.quantization import per_channel_dynamic_qconfig

    linear.qconfig = per_channel_dynamic_qconfig  # type: ignore[assignment]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.ao announces its successor
        made = Linear.from_float(linear)
    del linear.qconfig
    return RowwiseLinear(made.weight(), linear.bias)


class RowwiseLinear(nn.Module):
    """A linear layer with weights in 8 bits that rounds each position's input by its own range.

    PyTorch's rounds all inputs by one range, so that quiet positions would lose what they hold
    beside loud ones.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.packed = torch.ops.quantized.linear_prepack(weight, None)
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        largest = inputs.abs().amax(-1, keepdim=True).clamp_min(_TINY)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            inputs / largest, 1 / _LEVELS, _LEVELS, self.packed
        )
        scaled = product * largest
        return scaled if self.bias is None else scaled + self.bias


class SteadyLinear(nn.Linear):
    """A linear layer in floating point whose output for a position is the same in any batch.

    Rounding to 8 bits in the layers after it would amplify differences in the last digits
    (``model.clipwise``).
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(
            linear.in_features, linear.out_features, linear.bias is not None, device="meta"
        )
        self.weight = nn.Parameter(linear.weight.detach().to(dtype), linear.weight.requires_grad)
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().to(dtype), linear.bias.requires_grad)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        rows = input.flatten(0, -2).to(self.weight.dtype)
        found = super().forward(nn.functional.pad(rows, (0, 0, 0, -len(rows) % _ROWS)))
        return found[: len(rows)].view(*input.shape[:-1], -1).to(input.dtype)
