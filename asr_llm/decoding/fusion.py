"""Fusion: an adapter trained on text alone as a language model fused with the recogniser.

What an LLM learns from text hardly transfers to recognition, where it follows the speech. So the
adapter is disabled for the recogniser, and the log ratio of domain text to general text is added to
the recogniser's scores, token by token:

    log p(y | speech) + weight * max(0, log p_domain(y) - log p_general(y))

p_domain is the LLM with the adapter, p_general without; both see the text so far and no speech.
This is the density ratio of arXiv 2002.11268, restricted to positive values: general words are not
penalised (measured in adapt/README.md). The scores of several such adapters add up. Adapters that
change the recogniser are part of p_general too.

Legend: B hypotheses (rows times beams), N tokens written so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessor

from asr_llm.model.adapters import switched_on

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


class Fusion(LogitsProcessor):
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

    def _read(self, token: Tensor, cache: DynamicCache) -> Tensor:
        """Log-probabilities (B, V) after one more token (B, 1)."""
        llm = self.model.causal_lm
        out = llm.model(
            inputs_embeds=self.model.embed_tokens(token), past_key_values=cache, use_cache=True
        )
        return torch.log_softmax(llm.lm_head(out.last_hidden_state[:, -1]).float(), dim=-1)

    def _follow(self, input_ids: Tensor) -> None:
        """Reorder the caches to match the hypotheses: a beam may continue another's."""
        before = input_ids[:, :-1]
        if self.written.shape == before.shape and not self.written.equal(before):
            same = (before[:, None] == self.written[None]).all(-1)  # (B, B)
            order = same.int().argmax(1)
            for cache in (self.general, *self.domains.values()):
                cache.reorder_cache(order)
        self.written = input_ids
