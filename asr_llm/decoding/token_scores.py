"""Scores of each token of a hypothesis, traced back through a beam search.

Legend: B texts, K hypotheses of each while decoding, N tokens written so far, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor


class TokenScores(LogitsProcessor):
    """Records the scores of the tokens that ``generate`` chooses, without changing them.

    Its position in the list of processors decides which of them the recorded scores include. A
    second pass over the finished text would give the same, but has to process prompt and speech
    again: 30% of the time of greedy decoding.

    Args:
        beams: K; hypotheses of a text may continue from one another's.
    """

    def __init__(self, beams: int) -> None:
        self.beams = beams
        self.written = torch.zeros(0, 0, dtype=torch.long)  # (B * K, N)
        self.next = torch.zeros(0, 0)  # scores (B * K, V) of what comes next
        # Per step, for the hypotheses after it (B * K,): the previous hypothesis each came from,
        # its token, and that token's score.
        self.steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B * K, V) of the next token, after (B * K, N) tokens."""
        if input_ids.shape[1]:
            origin, token = self._origins(input_ids[:, :-1]), input_ids[:, -1]
            self.steps.append((origin, token, self.next[origin, token]))
        self.written, self.next = input_ids, self.kept(scores)
        return scores

    def kept(self, scores: Tensor) -> Tensor:
        """The values to record from the scores (B * K, V)."""
        return scores

    def of(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """The score of each token of B texts, without the end token."""
        steps = self._listed()
        return [[score for _, score in self._follow(ids, i, steps)] for i, ids in enumerate(texts)]

    def _listed(self) -> list[Any]:
        return list(zip(*(torch.stack(parts).tolist() for parts in zip(*self.steps))))

    def _follow(
        self, ids: Sequence[int], text: int, steps: list[Any]
    ) -> Iterator[tuple[int, float]]:
        """For each token of a hypothesis: its row, and its score.

        Rows that only fill up the n-best list were never searched: -inf.
        """
        at = text * self.beams
        rows = range(at, at + self.beams)
        for token, (origins, tokens, scores) in zip(ids, steps):
            onward = [row for row in rows if origins[row] == at and tokens[row] == token]
            if not onward:
                yield at, -math.inf
                return
            at = onward[0]
            yield at, scores[at]
        if len(steps) < len(ids):  # the last one that there was room for
            yield at, float(self.next[at, ids[-1]])

    def _origins(self, before: Tensor) -> Tensor:
        """The first hypothesis of the last step that reads as each one did, of the same text."""
        groups = (len(before) // self.beams, self.beams, before.shape[1])
        now, then = before.reshape(groups), self.written.reshape(groups)
        place = (now[:, :, None] == then[:, None]).all(-1).int().argmax(-1)  # (B, K)
        first = torch.arange(0, len(before), self.beams, device=before.device)
        return (place + first[:, None]).flatten()
