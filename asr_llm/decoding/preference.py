"""The base class of logits processors that change what is written."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor


class Preference(LogitsProcessor):
    """A logits processor that adds to scores by what is written alone, not by what is heard.

    So it can also tell what it would have added to a text that another recogniser wrote, such as
    the first pass (``decoding.search``).
    """

    @abstractmethod
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) of the next token, after (B, N) tokens."""

    def gains(self, texts: Sequence[Sequence[int]], end: int, vocabulary: int) -> list[float]:
        """What it adds to the score of each of N whole texts, of tokens, with the end token.

        Args:
            vocabulary: V.
        """
        rows = [torch.tensor([*ids, end]) for ids in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        nothing = torch.zeros(len(rows), vocabulary)
        steps = [
            self(ids[:, :n], nothing).gather(1, ids[:, n : n + 1]) for n in range(ids.shape[1])
        ]
        gained = torch.cat(steps, 1)
        return [float(own[: len(row)].sum()) for own, row in zip(gained, rows)]
