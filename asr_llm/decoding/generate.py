"""Beam search with any logits processors, by transformers' ``generate``.

The prompts, most of which is speech, are read once: ``generate`` alone would read each of them once
for every beam.

Legend: B texts, K hypotheses of each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from asr_llm.decoding.limits import Limits
from asr_llm.decoding.prompts import end_token
from asr_llm.decoding.results import Hypothesis
from asr_llm.model.clipwise import clipwise

if TYPE_CHECKING:
    from transformers import DynamicCache, LogitsProcessor

    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced


def generate(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    num_beams: int = 1,
    processors: Iterable[LogitsProcessor] = (),
) -> list[Hypothesis]:
    """The best hypothesis for each of B prompts; call within ``prompts.inference``.

    Args:
        spliced: from ``prompts.splice``.
        limits: token limit of each text, including the end token.
        processors: applied in this order to the log-probabilities of the next token.

    Raises:
        CheckpointError: see ``end_token``.
    """
    return [own[0] for own in n_best(model, spliced, limits, num_beams, processors)]


def n_best(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    num_beams: int = 1,
    processors: Iterable[LogitsProcessor] = (),
    read: DynamicCache | None = None,
) -> list[list[Hypothesis]]:
    """As ``generate``, but all ``num_beams`` hypotheses for each prompt, best first.

    Args:
        read: of ``prefill``, where the prompts have been read before.
    """
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from transformers import GenerationConfig, LogitsProcessorList

    end = end_token(model)
    config = GenerationConfig(
        max_new_tokens=max(limits),
        num_beams=num_beams,
        num_return_sequences=num_beams,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=model.text_pad_id,
    )
    with move_embedding(model), clipwise(model, [num_beams] * len(limits)):
        rows = model.llm.generate(
            inputs_embeds=spliced.input_embeds,
            attention_mask=spliced.attention_mask,
            past_key_values=for_beams(
                prefill(model, spliced) if read is None else read, num_beams, max(limits)
            ),
            generation_config=config,
            logits_processor=LogitsProcessorList([*processors, Limits(limits, num_beams, end)]),
        )
    texts = rows.reshape(len(limits), num_beams, -1).tolist()
    return [[until_end(row, end, limit) for row in own] for own, limit in zip(texts, limits)]


def prefill(model: SpanSALM, spliced: Spliced) -> DynamicCache:
    """Let the LLM read B prompts but for their last position."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.causal_lm.config)
    mask = spliced.attention_mask[:, :-1].long()
    with torch.inference_mode(), clipwise(model, [1] * len(mask)):
        model.causal_lm.model(
            inputs_embeds=spliced.input_embeds[:, :-1],
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        )
    return cache


class BeamLayer(DynamicLayer):
    """Keys and values (B * beams, heads, positions, width) of a search, in buffers with room.

    A search copies the whole cache twice for each token: once to append to it, once to reorder its
    beams. That is a third of its time. Here nothing is copied to append, and only what was
    generated is reordered, since the beams of a text have the same prompt.

    Args:
        read: the layer after the prompts.
        beams: of all texts, or (B,) of each.
        room: how many more positions will be written.
    """

    def __init__(self, read: DynamicLayer, beams: int | Tensor, room: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = read.dtype, read.device, True
        self.prompt = self.length = read.get_seq_length()
        self._buffers = [_with_room(own, beams, room) for own in (read.keys, read.values)]
        self.keys, self.values = self._so_far()

    def _so_far(self) -> tuple[Tensor, Tensor]:
        keys, values = (own[:, :, : self.length] for own in self._buffers)
        return keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (B * beams, heads, N, width); all so far."""
        start, self.length = self.length, self.length + key_states.shape[-2]
        self.keys, self.values = self._so_far()
        self.keys[:, :, start:], self.values[:, :, start:] = key_states, value_states
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i becomes what row ``beam_idx[i]``, of the same text, was."""
        for own in (self.keys, self.values):
            own[:, :, self.prompt :] = own[:, :, self.prompt :].index_select(0, beam_idx)


def _with_room(states: Tensor, beams: int | Tensor, room: int) -> Tensor:
    repeated = states.repeat_interleave(beams, 0)
    rows, heads, length, width = repeated.shape
    buffer = states.new_empty(rows, heads, length + room, width)
    buffer[:, :, :length] = repeated
    return buffer


def for_beams(cache: DynamicCache, beams: int | Tensor, room: int) -> DynamicCache:
    """A copy of a cache for a search that adds up to ``room`` positions to each row.

    Args:
        beams: of all rows, or (B,) of each.
    """
    made = copy.copy(cache)
    made.layers = [_for_beams(layer, beams, room) for layer in cache.layers]
    return made


def _for_beams(layer: Any, beams: int | Tensor, room: int) -> Any:
    if type(layer) is DynamicLayer:
        return BeamLayer(layer, beams, room)
    repeated = copy.deepcopy(layer)  # such as those of a sliding window
    repeated.batch_repeat_interleave(beams)
    return repeated


def until_end(ids: list[int], end: int, limit: int) -> Hypothesis:
    """The tokens before the end token, which counts towards the limit.

    Each audio has its own limit, so that a longer neighbour in the batch changes nothing.
    """
    ids = ids[:limit]
    return Hypothesis(tuple(ids[: ids.index(end)])) if end in ids else Hypothesis(tuple(ids), False)
