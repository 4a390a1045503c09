"""N-best rescoring: the CTC head chooses among the final hypotheses of a beam search.

    score = log p(text | speech) by the search + weight * log p_ctc(normalised text | speech)

The search's score includes fusion and biasing. An LLM may skip words, or go on where nothing is
said; CTC has to account for every frame and finds such texts unlikely. See the rescoring method of
Hori, Watanabe and Hershey, "Joint CTC/attention decoding for end-to-end speech recognition" (ACL
2017).

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
    from asr_llm.model.splice import Spliced


def ctc_weight(model: SpanSALM, asked: float | None) -> float:
    """The weight to use: as asked for, else the checkpoint's; 0 without a CTC head.

    Raises:
        CheckpointError: it is not a number from 0 up, or it is asked for and there is no head.
    """
    found = model.cfg.get("ctc_weight", 0.0) if asked is None else asked
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
        raise CheckpointError(
            f"ctc_weight is {found}; expected a number from 0 up (0 disables rescoring): check the "
            "options, or this checkpoint's config.json"
        )
    if asked and model.ctc_head is None:
        raise CheckpointError(
            f"ctc_weight is {asked:g}, but this checkpoint has no CTC head; expected "
            "ctc_head.safetensors beside its weights, or ctc_weight 0"
        )
    return float(found) if model.ctc_head is not None else 0.0


class SearchScores(TokenScores):
    """Records the search's total score of each hypothesis; comes after all other processors.

    Args:
        beams: K.
        end: the token that ends a text.
    """

    def __init__(self, beams: int, end: int) -> None:
        super().__init__(beams)
        self.end = end
        self.ends: list[Tensor] = []  # score (B * K,) of the end token after 0, 1, … tokens

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
    spliced: Spliced,
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
    emissions = model.ctc_log_probs(spliced.encoded)
    counts = spliced.encoded_lens.tolist()
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
    """The best of K hypotheses by both scores; the search's best if CTC rules out all of them.

    Args:
        searched: the search's score of each.
        heard: their CTC log-likelihoods.
    """
    scores = [llm + weight * ctc for llm, ctc in zip(searched, heard)]
    return hypotheses[scores.index(max(scores))]
