"""Beam search with any logits processors, by transformers' ``generate``.

Legend: B texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from asr_llm.decoding.limits import Limits
from asr_llm.decoding.prompts import end_token
from asr_llm.decoding.results import Hypothesis

if TYPE_CHECKING:
    from transformers import LogitsProcessor

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
    found = n_best(model, spliced, limits, 1, num_beams, processors)
    return [best for (best,) in found]


def n_best(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    count: int,
    num_beams: int,
    processors: Iterable[LogitsProcessor] = (),
) -> list[list[Hypothesis]]:
    """Like ``generate``, but the ``count`` best hypotheses per prompt, best first."""
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from transformers import GenerationConfig, LogitsProcessorList

    end = end_token(model)
    config = GenerationConfig(
        max_new_tokens=max(limits),
        num_beams=num_beams,
        num_return_sequences=count,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=model.text_pad_id,
    )
    with move_embedding(model):
        rows = model.llm.generate(
            inputs_embeds=spliced.input_embeds,
            attention_mask=spliced.attention_mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([*processors, Limits(limits, num_beams, end)]),
        )
    texts = rows.reshape(len(limits), count, -1).tolist()
    return [[until_end(row, end, limit) for row in own] for own, limit in zip(texts, limits)]


def until_end(ids: list[int], end: int, limit: int) -> Hypothesis:
    """The tokens before the end token, which counts towards the limit.

    Each audio has its own limit, so that a longer neighbour in the batch changes nothing.
    """
    ids = ids[:limit]
    return Hypothesis(tuple(ids[: ids.index(end)])) if end in ids else Hypothesis(tuple(ids), False)
