"""N-best rescoring: others who heard the audio choose among the hypotheses of a beam search.

    score = log p(text | speech) by the search
          + ctc_weight * log p_ctc(normalised text | speech)
          + first_pass_weight * log p_whisper(text | speech)

The search's score includes fusion and biasing. An LLM may skip words, or go on where nothing is
said; CTC has to account for every frame and finds such texts unlikely. See the rescoring method of
Hori, Watanabe and Hershey, "Joint CTC/attention decoding for end-to-end speech recognition" (ACL
2017). A first pass (``model.first_pass``) scores the texts as its decoder would have written them.

Legend: B audios, K hypotheses of each, F frames, V the CTC head's vocabulary with the blank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

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


Judge = Callable[[int, Sequence[str]], list[float]]
"""The log-likelihoods of some texts, by what a judge heard of the audio of that number."""


@dataclass(frozen=True)
class Weights:
    """How much the judges count; 0: not at all."""

    ctc: float
    first_pass: float

    @classmethod
    def of(cls, model: SpanSALM, ctc: float | None, first_pass: float | None) -> Self:
        """As asked for, else as the checkpoint says; 0 for CTC without a head.

        Raises:
            CheckpointError: one is not a number from 0 up, or CTC's is asked for without a head.
        """
        found = cls(
            _weight(model, "ctc_weight", ctc), _weight(model, "first_pass_weight", first_pass)
        )
        if ctc and model.ctc_head is None:
            raise CheckpointError(
                f"ctc_weight is {ctc:g}, but this checkpoint has no CTC head; expected "
                "ctc_head.safetensors beside its weights, or ctc_weight 0"
            )
        return found if model.ctc_head is not None else replace(found, ctc=0.0)


def _weight(model: SpanSALM, name: str, asked: float | None) -> float:
    found = model.cfg.get(name, 0.0) if asked is None else asked
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
        raise CheckpointError(
            f"{name} is {found}; expected a number from 0 up (0 disables it): check the options, "
            "or this checkpoint's config.json"
        )
    return float(found)


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
    found: Sequence[Sequence[Hypothesis]],
    searched: Sequence[Sequence[float]],
    judges: Sequence[tuple[float, Judge]],
) -> list[Hypothesis]:
    """The best of K hypotheses of each of B audios.

    Args:
        searched: the search's score of each hypothesis.
        judges: each with its weight.
    """
    tokenizer, out = model.tokenizer.tokenizer, []
    for i, (own, scores) in enumerate(zip(found, searched, strict=True)):
        texts = [text_of(tokenizer, list(one.ids)) for one in own]
        judged = [(weight, judge(i, texts)) for weight, judge in judges]
        out.append(best(own, scores, judged))
    return out


def forced_scores(
    model: SpanSALM, spliced: Spliced, texts: Sequence[Sequence[int]], end: int
) -> list[list[float]]:
    """The LLM's log-probability of each token of a given text for B prompts, and of its end."""
    rows = [torch.tensor([*text, end], device=model.device) for text in texts]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
    mask = spliced.attention_mask.long()
    mask = torch.cat([mask, torch.ones_like(ids)], 1)  # what is padded comes after all that counts
    hidden = model.causal_lm.model(
        inputs_embeds=torch.cat([spliced.input_embeds, model.embed_tokens(ids)], 1),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
    ).last_hidden_state[:, -1 - ids.shape[1] : -1]
    found = model.causal_lm.lm_head(hidden).float().log_softmax(-1)
    picked = found.gather(2, ids[..., None])[..., 0]
    return [own[: len(row)].tolist() for own, row in zip(picked, rows)]


def ctc_judge(model: SpanSALM, spliced: Spliced) -> Judge:
    """The CTC head, by what the encoder made of the audios of ``prompts.splice``."""
    ctc = CheckpointCtc(model)
    emissions = model.ctc_log_probs(spliced.encoded)
    counts = spliced.encoded_lens.tolist()

    def judge(i: int, texts: Sequence[str]) -> list[float]:
        own = emissions[i][: counts[i]]
        return [ctc_log_likelihood(own, ctc.spell(text).flat, ctc.blank) for text in texts]

    return judge


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
    judged: Sequence[tuple[float, Sequence[float]]],
) -> Hypothesis:
    """The best of K hypotheses by all scores; the search's best if all of them are ruled out.

    Args:
        searched: the search's score of each.
        judged: weights, and the log-likelihoods of each hypothesis.
    """
    scores = [
        score + sum(weight * own[i] for weight, own in judged) for i, score in enumerate(searched)
    ]
    return hypotheses[scores.index(max(scores))]
