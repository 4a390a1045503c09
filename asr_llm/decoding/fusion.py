"""Fusion: an adapter trained on text alone as a language model fused with the recogniser.

What an LLM learns from text hardly transfers to recognition, where it follows the speech. So the
adapter is disabled for the recogniser, and the log ratio of domain text to general text is added to
the recogniser's scores, token by token:

    log p(y | speech) + weight * max(0, log p_domain(y) - log p_general(y))

p_domain is the LLM with the adapter, p_general without; both see the text so far and no speech.
This is the density ratio of arXiv 2002.11268, restricted to positive values: general words are not
penalised (adapt/mini/RESULTS.md). The scores of several such adapters add up. Adapters that
change the recogniser are part of p_general too.

Legend: B hypotheses (rows times beams), N tokens written so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from asr_llm.decoding.preference import Preference
from asr_llm.model.adapters import switched_on
from asr_llm.model.clipwise import clipwise
from asr_llm.model.log_probs import log_probs_of, output_layer

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


class Fusion(Preference):
    """Adds the log ratio of one or several domains to the scores of ``generate``.

    Args:
        model: has the adapters, disabled.
        weights: of the adapters, by their PEFT names.
        end: the end token, whose score is left to the recogniser.
    """

    def __init__(self, model: SpanSALM, weights: Mapping[str, float], end: int) -> None:
        self.model, self.weights, self.end = model, weights, end
        self.written = torch.zeros(0, 0, dtype=torch.long)
        self.general = DynamicCache()
        self.domains = {adapter: DynamicCache() for adapter in weights}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) of the next token, after (B, N) tokens."""
        if input_ids.shape[1] == 0:
            return scores  # the first token has no context in text either
        self._follow(input_ids)
        general = self._read(input_ids[:, -1:], self.general)
        added = torch.zeros_like(general)
        for adapter, weight in self.weights.items():
            with switched_on(self.model, adapter):
                domain = self._read(input_ids[:, -1:], self.domains[adapter])
            added += weight * (domain - general).clamp(min=0)
        added[:, self.end] = 0
        return scores + added

    def gains(self, texts: Sequence[Sequence[int]], end: int, vocabulary: int) -> list[float]:
        """As ``Preference``."""
        general = self._read_whole(texts)
        added = [torch.zeros_like(own) for own in general]
        for adapter, weight in self.weights.items():
            with switched_on(self.model, adapter):
                domain = self._read_whole(texts)
            for own, before, after in zip(added, general, domain):
                own += weight * (after - before).clamp(min=0)
        return [float(own.sum()) for own in added]

    def _read_whole(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Log-probabilities of the tokens of each of N texts, from the second on."""
        device, llm = self.model.device, self.model.causal_lm
        rows = [torch.tensor([*ids], dtype=torch.long, device=device) for ids in texts]
        if not any(map(len, rows)):
            return [torch.zeros(0, device=device) for _ in rows]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # after all that counts
        lens = torch.tensor([max(1, len(row)) for row in rows], device=device)
        mask = torch.arange(ids.shape[1], device=device) < lens[:, None]
        embeds = self.model.embed_tokens(ids)
        with clipwise(self.model, [1] * len(rows)):
            hidden = llm.model(inputs_embeds=embeds, attention_mask=mask.long()).last_hidden_state
        return [
            log_probs_of(output_layer(llm), own[: max(0, len(row) - 1)], row[1:])
            for own, row in zip(hidden, rows)
        ]

    def _read(self, token: Tensor, cache: DynamicCache) -> Tensor:
        """Log-probabilities (B, V) after one more token (B, 1)."""
        llm = self.model.causal_lm
        out = llm.model(
            inputs_embeds=self.model.embed_tokens(token), past_key_values=cache, use_cache=True
        )
        return torch.log_softmax(output_layer(llm)(out.last_hidden_state[:, -1]).float(), dim=-1)

    def _follow(self, input_ids: Tensor) -> None:
        """Reorder the caches to match the hypotheses: a beam may continue another's."""
        before = input_ids[:, :-1]
        if self.written.shape == before.shape and not self.written.equal(before):
            same = (before[:, None] == self.written[None]).all(-1)  # (B, B)
            order = same.int().argmax(1)
            for cache in (self.general, *self.domains.values()):
                cache.reorder_cache(order)
        self.written = input_ids
