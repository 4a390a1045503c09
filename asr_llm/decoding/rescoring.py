"""Rescoring: of the hypotheses that beam search ends with, the one that the CTC head agrees with.

    score = log p(text | speech) by the search + weight * log p_ctc(normalised text | speech)

The search's sum has what fusion and biasing added. An LLM may skip words or write on where nothing
is said; CTC accounts for every frame, so that such a text is hardly likely to it. See the rescoring
of Hori, Watanabe and Hershey, "Joint CTC/attention decoding for end-to-end speech recognition"
(ACL 2017).

Legend: B audios, K hypotheses of each, F frames, V the CTC head's vocabulary with the blank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asr_llm.decoding.prompts import text_of
from asr_llm.decoding.results import Hypothesis
from asr_llm.decoding.token_scores import TokenScores
from asr_llm.errors import CheckpointError
from asr_llm.model.ctc import CheckpointCtc

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


def ctc_weight(model: SpanSALM, asked: float | None) -> float:
    """The weight of the CTC head, as asked for or as the checkpoint's config has it; 0 without one.

    Raises:
        CheckpointError: it is no number from 0 up, or is asked for where there is no head.
    """
    found = model.cfg.get("ctc_weight", 0.0) if asked is None else asked
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
        raise CheckpointError(
            f"the weight of CTC in decoding is {found}; expected a number from 0 (none) up: see "
            "ctc_weight in the options, or in this checkpoint's config"
        )
    if asked and model.ctc_head is None:
        raise CheckpointError(
            f"there is no CTC head in this checkpoint for a weight of {asked:g}; expected "
            "ctc_head.safetensors in it, or a weight of 0"
        )
    return float(found) if model.ctc_head is not None else 0.0


class SearchScores(TokenScores):
    """What the search added up for a hypothesis: last among the processors that change scores.

    Args:
        beams: K.
        end: the token that ends a text.
    """

    def __init__(self, beams: int, end: int) -> None:
        super().__init__(beams)
        self.end = end
        self.ends: list[Tensor] = []  # what it costs to end after each number of tokens (B * K,)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """As ``TokenScores``."""
        self.ends.append(scores[:, self.end].clone())
        return super().__call__(input_ids, scores)

    def totals(self, found: Sequence[Sequence[Hypothesis]]) -> list[list[float]]:
        """The score of each of K hypotheses of B texts."""
        steps = self._listed()
        return [[self._total(one, i, steps) for one in own] for i, own in enumerate(found)]

    def _total(self, one: Hypothesis, text: int, steps: list[Any]) -> float:
        path = list(self._follow(one.ids, text, steps))
        total = sum(score for _, score in path)
        if one.complete and total > -math.inf:
            at = path[-1][0] if path else text * self.beams
            total += float(self.ends[len(one.ids)][at])
        return total


def rescored(
    model: SpanSALM,
    spliced: dict[str, Any],
    found: Sequence[Sequence[Hypothesis]],
    searched: Sequence[Sequence[float]],
    weight: float,
) -> list[Hypothesis]:
    """The best of K hypotheses of each of B audios.

    Args:
        spliced: of ``prompts.splice``, with what the encoder made of the audios.
        searched: the search's score of each hypothesis.
    """
    ctc, tokenizer = CheckpointCtc(model), model.tokenizer.tokenizer
    emissions = model.ctc_log_probs(spliced["encoded"])
    counts = spliced["encoded_lens"].tolist()
    out = []
    for own, scores, rows, count in zip(found, searched, emissions, counts, strict=True):
        spelt = [ctc.spell(text_of(tokenizer, list(one.ids))).flat for one in own]
        heard = [ctc_log_likelihood(rows[:count], tokens, ctc.blank) for tokens in spelt]
        out.append(best(own, scores, heard, weight))
    return out


def ctc_log_likelihood(emissions: Tensor, tokens: Sequence[int], blank: int) -> float:
    """Log-probability of CTC tokens, in all alignments, by emissions (F, V); -inf if impossible."""
    loss = F.ctc_loss(
        emissions[:, None],
        torch.tensor([list(tokens)], dtype=torch.long, device=emissions.device),
        torch.tensor([len(emissions)]),
        torch.tensor([len(tokens)]),
        blank=blank,
        reduction="sum",
    )
    return -float(loss)


def best(
    hypotheses: Sequence[Hypothesis],
    searched: Sequence[float],
    heard: Sequence[float],
    weight: float,
) -> Hypothesis:
    """The best of K hypotheses by both scores; where CTC can account for none, the search's first.

    Args:
        searched: the search's score of each.
        heard: their CTC log-likelihoods.
    """
    scores = [llm + weight * ctc for llm, ctc in zip(searched, heard)]
    return hypotheses[scores.index(max(scores))]
