"""The output layer, and log-probabilities of tokens that are given, not searched for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Head = Callable[[Tensor], Tensor]


def output_layer(llm: Any) -> Head:
    """From hidden states (…, H) of a causal LM to logits (…, V), capped where its config says so.

    Gemma 2 bends logits by tanh, so that none exceeds ``final_logit_softcapping``.
    """
    head: Head = llm.lm_head
    cap = getattr(llm.config, "final_logit_softcapping", None)
    return head if cap is None else lambda hidden: (head(hidden) / cap).tanh() * cap


def log_probs_of(head: Head, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities of given tokens (N,) by the hidden states (N, H) before each of them."""
    found: Tensor = head(hidden).float().log_softmax(-1).gather(1, tokens[:, None])
    return found[:, 0]
