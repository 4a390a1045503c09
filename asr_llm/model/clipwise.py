"""Attention clip by clip on a CPU: the texts of each audio by themselves, without padding.

A padded batch wastes work, and its shape changes the last digits of each sum. In 8 bits that is not
harmless: rounding amplifies such digits until other words are written (``model.int8``). Here every
clip is computed in its own shape, and all else in an LLM is computed position by position. So the
text of a clip does not depend on its batch, to the last bit.

Legend: R rows, those of one clip beside each other, L new positions, N positions so far, D the
width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

_NAME = "clipwise"
_counts: ContextVar[tuple[int, ...]] = ContextVar("rows of each clip")


class Clip(NamedTuple):
    """The rows of a clip, its new positions, and all of its positions so far."""

    rows: slice
    new: slice
    all: slice


@contextmanager
def clipwise(model: SpanSALM, counts: Sequence[int]) -> Iterator[None]:
    """Let the LLM attend clip by clip; elsewhere than on a CPU, this changes nothing.

    Args:
        counts: rows of each clip.
    """
    config = model.causal_lm.config
    usual = config._attn_implementation
    plain = full_attention(config) and not getattr(config, "attn_logit_softcapping", None)
    if model.device.type != "cpu" or usual not in ("sdpa", _NAME) or not plain:
        yield
        return
    token = _counts.set(tuple(filter(None, counts)))
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = usual
        _counts.reset(token)


def full_attention(config: Any) -> bool:
    """Whether every layer attends to all positions before."""
    kinds = getattr(config, "layer_types", None) or ()
    return not (getattr(config, "sliding_window", None) or {*kinds} - {"full_attention"})


def _clips(
    batch_size: int, q_length: int, kv_length: int, attention_mask: Tensor | None, **_: Any
) -> list[Clip]:
    """Where each clip is; the mask (R, N) is false at padding, on either side."""
    counts = _counts.get()
    assert sum(counts) == batch_size
    if attention_mask is None:
        bounds = [(0, kv_length)] * len(counts)
    else:
        groups = attention_mask.split(counts)
        places = [own.any(0).nonzero()[:, 0] for own in groups]
        bounds = [(int(own[0]), int(own[-1]) + 1) for own in places]
    cached, first, clips = kv_length - q_length, 0, []
    for count, (start, end) in zip(counts, bounds):
        new = slice(max(0, start - cached), end - cached)
        clips.append(Clip(slice(first, first + count), new, slice(start, end)))
        first += count
    return clips


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: list[Clip],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention of (R, heads, L, D) to keys and values (R, kv_heads, N, D)."""
    found = torch.zeros_like(query.transpose(1, 2))
    for rows, new, every in attention_mask:
        own = query[rows, :, new], key[rows, :, every], value[rows, :, every]
        found[rows, new] = causal(*own, scaling).transpose(1, 2)
    return found, None


def causal(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Attention of the last L of N positions to those before: (R, heads, L, D)."""
    length, total = query.shape[2], key.shape[2]
    mask = None
    if 1 < length < total:
        mask = torch.ones(length, total, dtype=torch.bool, device=query.device)
        mask = mask.tril(total - length)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=1 < length == total,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, _clips)
