"""Log-probabilities of tokens that are given, not searched for."""

from __future__ import annotations

from torch import Tensor, nn


def log_probs_of(head: nn.Module, hidden: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities of given tokens (N,) by the hidden states (N, H) before each of them."""
    found: Tensor = head(hidden).float().log_softmax(-1).gather(1, tokens[:, None])
    return found[:, 0]
