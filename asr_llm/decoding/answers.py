"""Answers to written or spoken messages, and choice probabilities."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.audio import split_at_pauses
from asr_llm.decoding.drafted import write
from asr_llm.decoding.generate import prefill
from asr_llm.decoding.guards import cut_loop
from asr_llm.decoding.prompts import collator, end_token, inference, splice, text_of
from asr_llm.decoding.rescoring import forced_scores
from asr_llm.errors import CheckpointError
from asr_llm.model.log_probs import output_layer
from asr_llm.sequences.spans import SpanSequence

if TYPE_CHECKING:
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.model.first_pass import FirstPass
    from asr_llm.model.salm import SpanSALM


def answer(
    model: SpanSALM, prompts: list[SpanSequence], max_new_tokens: int = 32, as_written: bool = False
) -> list[str]:
    """Answer B messages (``sequences.tasks.message``) in one batch.

    Args:
        as_written: with their line breaks, and with loops, if any.

    Raises:
        ValueError: the model is in training mode.
        CheckpointError: see ``prompts.end_token``.
    """
    if not prompts:
        return []
    tokenizer = model.tokenizer.tokenizer
    with inference(model):
        limits = [max_new_tokens] * len(prompts)
        said = write(model, splice(model, prompts), limits, end_token(model))
    if as_written:
        rows = [list(one.ids) for one in said]
        return [text.strip() for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]
    return [cut_loop(text_of(tokenizer, list(one.ids))) for one in said]


def cascaded(
    utterances: list[Utterance], first_pass: FirstPass, longest: float
) -> list[str | Utterance]:
    """Replace utterances by their first-pass transcripts, for ``sequences.tasks.message``.

    Those with an empty transcript are kept.

    Args:
        longest: seconds transcribed at once; longer utterances are split at pauses.
    """
    pieces = [
        [one.samples[start:end] for start, end in split_at_pauses(one.samples, longest)]
        for one in utterances
    ]
    texts = map(cut_loop, first_pass.write([piece for own in pieces for piece in own]))
    written = [" ".join(filter(None, islice(texts, len(own)))) for own in pieces]
    return [text or one for text, one in zip(written, utterances)]


def option_log_probs(
    model: SpanSALM, prompts: list[SpanSequence], options: list[str]
) -> list[list[float]]:
    """Log-probability that the answer to each of B messages starts with each option.

    Args:
        options: such as "A", "B", "C", "D"; only the first token of each counts.

    Raises:
        CheckpointError: two options start with the same token.
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
        logits = output_layer(model.causal_lm)(hidden[:, -1]).float()
        found: list[list[float]] = torch.log_softmax(logits, -1)[:, firsts].tolist()
    return found


def likelihoods(
    model: SpanSALM, prompts: list[SpanSequence], texts: list[tuple[str, ...]]
) -> list[list[float]]:
    """The log-probability that the answer to each of B messages begins with each of its texts.

    The sum over a text's tokens, as in the LM Evaluation Harness ("acc").
    """
    encode = collator(model).encode
    with inference(model):
        spliced = splice(model, prompts)
        ids = [[encode(text) for text in own] for own in texts]
        scored = forced_scores(model, spliced, prefill(model, spliced), ids)
    return [[sum(scores[:-1]) for scores in own] for own in scored]
