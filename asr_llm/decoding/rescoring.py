"""N-best rescoring: other models of the same audio choose among the hypotheses of a beam search.

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

from asr_llm.decoding.generate import for_beams
from asr_llm.decoding.preference import Preference
from asr_llm.decoding.prompts import collator, end_token, text_of
from asr_llm.decoding.results import Hypothesis
from asr_llm.decoding.token_scores import TokenScores
from asr_llm.errors import CheckpointError
from asr_llm.model.clipwise import clipwise
from asr_llm.model.ctc import CheckpointCtc
from asr_llm.model.log_probs import log_probs_of, output_layer

if TYPE_CHECKING:
    from transformers import DynamicCache

    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced


Judge = Callable[[Sequence[Sequence[str]]], list[list[float]]]
"""The log-likelihoods of the texts of each of B audios, by what a judge heard of these."""


@dataclass(frozen=True)
class Weights:
    """Weights of the judges; 0 disables one."""

    ctc: float
    first_pass: float

    @classmethod
    def of(cls, model: SpanSALM, ctc: float | None, first_pass: float | None) -> Self:
        """The requested weights, otherwise the checkpoint's; 0 for CTC without a head.

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
    if not (_is_number(found) and 0 <= found < math.inf):
        raise CheckpointError(
            f"{name} is {found}; expected a number from 0 up (0 disables it): check the options, "
            "or this checkpoint's config.json"
        )
    return float(found)


def accepted(model: SpanSALM) -> float:
    """The checkpoint's ``first_pass_accept``: the log-probability from which the LLM accepts the
    first pass without a search of its own; by default it always searches.

    Raises:
        CheckpointError: it is no number.
    """
    found = model.cfg.get("first_pass_accept", math.inf)
    if not _is_number(found):
        raise CheckpointError(
            f"first_pass_accept is {found}; expected a log-probability, in nats: check this "
            "checkpoint's config.json"
        )
    return float(found)


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and not math.isnan(found)


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
    tokenizer = model.tokenizer.tokenizer
    texts = [[text_of(tokenizer, list(one.ids)) for one in own] for own in found]
    judged = [(weight, judge(texts)) for weight, judge in judges]
    return [
        best(own, scores, [(weight, of[i]) for weight, of in judged])
        for i, (own, scores) in enumerate(zip(found, searched, strict=True))
    ]


def given(
    model: SpanSALM,
    spliced: Spliced,
    read: DynamicCache,
    texts: Sequence[Sequence[str]],
    preferences: Sequence[Preference] = (),
) -> tuple[list[list[Hypothesis]], list[list[float]]]:
    """Other models' texts of B audios, as hypotheses with the scores that a search would give them.

    Args:
        read: of ``generate.prefill``.
    """
    encode = collator(model).encode
    tokens = [[encode(text) for text in own] for own in texts]
    return scored(model, spliced, read, tokens, preferences)


def scored(
    model: SpanSALM,
    spliced: Spliced,
    read: DynamicCache,
    tokens: Sequence[Sequence[Sequence[int]]],
    preferences: Sequence[Preference] = (),
) -> tuple[list[list[Hypothesis]], list[list[float]]]:
    """Like ``given``, for texts of tokens, without the end."""
    end, forced = end_token(model), forced_scores(model, spliced, read, tokens)
    found = [
        [Hypothesis(tuple(ids), True, tuple(scores[:-1])) for ids, scores in zip(*own)]
        for own in zip(tokens, forced)
    ]
    totals = [sum(scores) for own in forced for scores in own]
    everything = [ids for own in tokens for ids in own]
    for preference in preferences:
        totals = [
            a + b for a, b in zip(totals, preference.gains(everything, end, model.text_vocab_size))
        ]
    sums = iter(totals)
    return found, [[next(sums) for _ in own] for own in found]


def forced_scores(
    model: SpanSALM,
    spliced: Spliced,
    read: DynamicCache,
    texts: Sequence[Sequence[Sequence[int]]],
) -> list[list[list[float]]]:
    """The LLM's log-probability of each token of K given texts for B prompts, and of their ends.

    Args:
        read: of ``generate.prefill``.
        texts: tokens, without the end; K may differ from prompt to prompt.
    """
    end = end_token(model)
    rows = [torch.tensor([*ids, end]) for own in texts for ids in own]
    if not rows:
        return [[] for _ in texts]
    lens = torch.tensor([len(row) for row in rows], device=model.device)
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
    ids = ids.to(model.device)
    counts = [len(own) for own in texts]
    several = torch.tensor(counts, device=model.device)
    last = spliced.input_embeds[:, -1:].repeat_interleave(several, 0)
    mask = spliced.attention_mask[:, :-1].long().repeat_interleave(several, 0)
    places = torch.arange(ids.shape[1], device=model.device)
    mask = torch.cat([mask, (places < lens[:, None]).long()], 1)
    with clipwise(model, counts):
        hidden = model.causal_lm.model(
            inputs_embeds=torch.cat([last, model.embed_tokens(ids[:, :-1])], 1),
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            past_key_values=for_beams(read, several, ids.shape[1]),
            use_cache=True,
        ).last_hidden_state
    head = output_layer(model.causal_lm)
    found = iter(  # one after the other: the logits of all would be gigabytes
        [
            log_probs_of(head, own[: len(row)], wanted[: len(row)]).tolist()
            for own, wanted, row in zip(hidden, ids, rows)
        ]
    )
    return [[next(found) for _ in own] for own in texts]


def ctc_judge(model: SpanSALM, spliced: Spliced) -> Judge:
    """The CTC head, on the encoder output of ``prompts.splice``."""
    ctc = CheckpointCtc(model)
    emissions = model.ctc_log_probs(spliced.encoded)
    counts = spliced.encoded_lens.tolist()

    def judge(texts: Sequence[Sequence[str]]) -> list[list[float]]:
        return [
            [ctc_log_likelihood(frames[:count], ctc.spell(t).flat, ctc.blank) for t in own]
            for frames, count, own in zip(emissions, counts, texts)
        ]

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
