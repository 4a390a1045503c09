"""Answers to messages, written or spoken, and the probability of each choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr_llm.decoding.generate import generate
from asr_llm.decoding.guards import cut_loop
from asr_llm.decoding.prompts import collator, inference, splice, text_of
from asr_llm.errors import CheckpointError
from asr_llm.sequences.spans import SpanSequence

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


def answer(model: SpanSALM, prompts: list[SpanSequence], max_new_tokens: int = 32) -> list[str]:
    """The model's answers to B messages (``sequences.tasks.message``), in one batch.

    Raises:
        ValueError: the model is in training mode.
        CheckpointError: see ``prompts.end_token``.
    """
    if not prompts:
        return []
    tokenizer = model.tokenizer.tokenizer
    with inference(model):
        said = generate(model, splice(model, prompts), [max_new_tokens] * len(prompts))
    return [cut_loop(text_of(tokenizer, list(one.ids))) for one in said]


def option_log_probs(
    model: SpanSALM, prompts: list[SpanSequence], options: list[str]
) -> list[list[float]]:
    """The log-probability that the answer to each of B messages begins with each option.

    Args:
        options: such as "A", "B", "C", "D"; only the first token of each counts.

    Raises:
        CheckpointError: two options begin with the same token.
    """
    import torch

    firsts = [collator(model).encode(option)[0] for option in options]
    if len(set(firsts)) < len(options):
        raise CheckpointError(
            f"this checkpoint's tokenizer begins two of the options {', '.join(options)} with the "
            "same token; expected a token for each: score the suite by 'contains'"
        )
    with inference(model):
        spliced = splice(model, prompts)
        hidden = model.hidden_states(spliced.input_embeds, spliced.attention_mask)
        logits = model.causal_lm.lm_head(hidden[:, -1]).float()
        found: list[list[float]] = torch.log_softmax(logits, -1)[:, firsts].tolist()
    return found
