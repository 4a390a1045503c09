"""Token limits per text of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor


class Limits(LogitsProcessor):
    """Ends each text at its own limit, so that a longer neighbour in the batch changes nothing.

    Args:
        limits: token limit of each of B texts.
        beams: hypotheses of each.
        end: the end token.
    """

    def __init__(self, limits: list[int], beams: int, end: int) -> None:
        self.limits = torch.tensor(limits).repeat_interleave(beams)
        self.end = end

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B * beams, V) after (B * beams, N) tokens."""
        over = (self.limits <= input_ids.shape[1]).to(scores.device)
        if over.any():
            scores = scores.masked_fill(over[:, None], -torch.inf)
            scores[over, self.end] = 0.0
        return scores
