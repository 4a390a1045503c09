"""Speech to text: the ASR prompt of training, generation, and a guard against loops.

Legend: B audios, T samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm.corpus.synthesis import Utterance
from asr_llm.decoding.confidence import TokenProbabilities, calibration, decoded_words
from asr_llm.decoding.drafted import can_draft, ctc_drafts, write
from asr_llm.decoding.results import Decoded
from asr_llm.errors import CheckpointError
from asr_llm.sequences.batching import Collator, to_device
from asr_llm.sequences.spans import Sequence
from asr_llm.sequences.tasks import Chat, asr

if TYPE_CHECKING:
    from asr_llm.decoding.biasing import Phrases
    from asr_llm.model.salm import SpanSALM

TOKENS_PER_SECOND, TOKENS_ANYWAY = 12, 16
"""Most tokens that are written for an audio: speech has 5 to 8 a second."""

_LONGEST_LOOP, _REPEATS = 8, 5


def prompt(samples: np.ndarray, chat: Chat) -> Sequence:
    """What training puts before a transcript: text, the speech (T,) in whole frames, text."""
    return asr(Utterance("", "", samples), chat)[:-1]


def max_tokens(num_samples: int, sample_rate: int) -> int:
    """Most tokens to write for an audio of this length."""
    return TOKENS_ANYWAY + TOKENS_PER_SECOND * num_samples // sample_rate


def transcribe(
    model: SpanSALM,
    audios: list[np.ndarray],
    *,
    max_new_tokens: int | None = None,
    num_beams: int = 1,
) -> list[str]:
    """The texts of ``decode``."""
    decoded = decode(model, audios, max_new_tokens=max_new_tokens, num_beams=num_beams)
    return [one.text for one in decoded]


def decode(
    model: SpanSALM,
    audios: list[np.ndarray],
    *,
    max_new_tokens: int | None = None,
    num_beams: int = 1,
    bf16: bool | None = None,
    confidence: bool = False,
    keep_encoded: bool = False,
    phrases: Phrases | None = None,
    fused: bool = True,
    drafts: bool = True,
) -> list[Decoded]:
    """Transcribe B audios, each float32 (T,), in one batch; they may differ in length.

    A text does not depend on the others in the batch.

    Args:
        max_new_tokens: limit for each audio; by default ``max_tokens`` of its length.
        num_beams: hypotheses kept; 1 is greedy.
        bf16: bfloat16 autocast; by default on CUDA only.
        phrases: what to prefer where it is likely to have been said; named in the prompt too,
            where the checkpoint was trained for that.
        fused: whether adapters of text have their say.
        confidence: give the words with their confidence; 3% of the time, and the same text.
        keep_encoded: give ``encoded``: rows of one tensor, which lives as long as any of them.
        drafts: let the CTC head draft what is decoded greedily, where there is one, nothing is
            preferred and it pays (``speculative``); the same text, faster.

    Raises:
        ValueError: the model is in training mode, where dropout would spoil the text.
        CheckpointError: see ``generate`` and ``confidence.calibration``.
    """
    limits = [max_new_tokens or max_tokens(len(a), model.chat.sample_rate) for a in audios]
    chat = model.chat.naming(phrases.named) if phrases is not None else model.chat
    prompts = [prompt(audio, chat) for audio in audios]
    if not prompts:
        return []
    tokenizer = model.tokenizer.tokenizer
    calibrate = calibration(model)
    scores: list[list[float]] | None = None
    with _inference(model, bf16):
        spliced = _spliced(model, prompts)
        prefers = phrases is not None and phrases.prefers
        if num_beams == 1 and not prefers and not model.fusion:
            end = _end(model)
            drafted = drafts and can_draft(model, len(prompts))
            heard = ctc_drafts(model, spliced, end) if drafted else None
            texts = write(model, spliced, limits, end, heard, confidence)
            written = [(text.ids, text.complete) for text in texts]
            scores = [text.log_probs for text in texts] if confidence else None
        else:
            recorder = TokenProbabilities(num_beams) if confidence else None
            written = generate(
                model, prompts, limits, num_beams, bf16, fused, spliced, recorder, phrases
            )
            scores = recorder.log_probs([ids for ids, _ in written]) if recorder else None
    out = []
    for i, (ids, complete) in enumerate(written):
        text = _text(tokenizer, ids)
        short = cut_loop(text)
        looped = short != text
        words = () if scores is None else decoded_words(tokenizer, ids, scores[i], calibrate)
        words = words[: len(short.split())]
        if phrases is not None:
            short = phrases.as_listed(short)
            words = tuple(replace(word, text=own) for word, own in zip(words, short.split()))
        encoded = spliced["encoded"][i, : spliced["encoded_lens"][i]] if keep_encoded else None
        out.append(Decoded(short, complete, looped, words, encoded=encoded))
    return out


def listens(model: SpanSALM, audio: np.ndarray, text: str) -> float:
    """Nats a token by which an audio (T,) makes a text likelier than silence of its length does.

    What is said gains much from being heard; what an LLM says of its own accord gains nothing.
    """
    import torch

    from asr_llm.decoding.fusion import adapter_aside

    lost = []
    for samples in (np.zeros_like(audio), audio):
        batch = _collator(model)([asr(Utterance(text, "", samples), model.chat)])
        with _inference(model), adapter_aside(model), torch.no_grad():
            lost.append(float(model.losses(to_device(batch, model.device))["lm"]))
    return lost[0] - lost[1]


def answer(model: SpanSALM, prompts: list[Sequence], max_new_tokens: int = 32) -> list[str]:
    """What the model says to B messages (``sequences.tasks.message``), in one batch.

    Raises:
        ValueError: the model is in training mode.
        CheckpointError: see ``generate``.
    """
    limits = [max_new_tokens] * len(prompts)
    tokenizer = model.tokenizer.tokenizer
    written = generate(model, prompts, limits)
    return [cut_loop(_text(tokenizer, ids)) for ids, _ in written]


def option_log_probs(
    model: SpanSALM, prompts: list[Sequence], options: list[str]
) -> list[list[float]]:
    """How probable it is that the answer to each of B messages begins with each option.

    Args:
        options: such as "A", "B", "C", "D"; only the first token of each counts.

    Raises:
        CheckpointError: two options begin with the same token.
    """
    import torch

    from asr_llm.decoding.fusion import adapter_aside

    firsts = [_collator(model).encode(option)[0] for option in options]
    if len(set(firsts)) < len(options):
        raise CheckpointError(
            f"this checkpoint's tokenizer begins two of the options {', '.join(options)} with the "
            "same token; expected a token for each: score the suite by 'contains'"
        )
    with _inference(model), adapter_aside(model):
        spliced = _spliced(model, prompts)
        hidden = model.hidden_states(spliced["input_embeds"], spliced["attention_mask"])
        logits = model.causal_lm.lm_head(hidden[:, -1]).float()
        found: list[list[float]] = torch.log_softmax(logits, -1)[:, firsts].tolist()
    return found


def _text(tokenizer: Any, ids: list[int]) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return " ".join(text.split())


def generate(
    model: SpanSALM,
    prompts: list[Sequence],
    limits: list[int],
    num_beams: int = 1,
    bf16: bool | None = None,
    listening: bool = False,
    spliced: dict[str, Any] | None = None,
    recorder: TokenProbabilities | None = None,
    phrases: Phrases | None = None,
) -> list[tuple[list[int], bool]]:
    """New token ids after each prompt without the end token, and whether that was reached.

    Args:
        limits: most new tokens for each.
        listening: whether this is transcription, where an adapter of text has its say.
        spliced: the prompts spliced already, where the caller has more use for them.
        recorder: is told the probabilities of tokens.
        phrases: what to prefer.

    Raises:
        ValueError: the model is in training mode.
        CheckpointError: the chat's end is not one token, so that nothing would end.
    """
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from transformers import GenerationConfig, LogitsProcessorList

    from asr_llm.decoding.biasing import biasing_of
    from asr_llm.decoding.fusion import adapter_aside, fusion_of
    from asr_llm.decoding.limits import Limits

    if not prompts:
        return []
    end = _end(model)
    config = GenerationConfig(
        max_new_tokens=max(limits),
        num_beams=num_beams,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=model.text_pad_id,
    )
    with _inference(model, bf16):
        spliced = _spliced(model, prompts) if spliced is None else spliced
        with move_embedding(model), adapter_aside(model):
            processors = fusion_of(model, end) if listening else LogitsProcessorList()
            if recorder is not None:
                # An adapter of text has had its say; that a word is listed makes it no surer.
                processors.append(recorder)
            rows = model.llm.generate(
                inputs_embeds=spliced["input_embeds"],
                attention_mask=spliced["attention_mask"],
                generation_config=config,
                logits_processor=LogitsProcessorList(
                    [*processors, *biasing_of(phrases), Limits(limits, num_beams, end)]
                ),
            )
    return [_until_end(row, end, limit) for row, limit in zip(rows.tolist(), limits)]


def _end(model: SpanSALM) -> int:
    """The token that ends an answer.

    Raises:
        CheckpointError: it is not one token.
    """
    end = _collator(model).encode(model.chat.end)
    if len(end) != 1:
        raise CheckpointError(
            f"this checkpoint's tokenizer writes the end of an answer, {model.chat.end!r}, as "
            f"{len(end)} tokens; expected one special token: check its prompt_format"
        )
    return end[0]


def _collator(model: SpanSALM) -> Collator:
    return Collator(
        model.tokenizer.tokenizer, model.audio_locator_tag, model.text_pad_id, model.frame_samples
    )


def _spliced(model: SpanSALM, prompts: list[Sequence]) -> dict[str, Any]:
    return model.splice(to_device(_collator(model)(prompts), model.device))


@contextmanager
def _inference(model: SpanSALM, bf16: bool | None = None) -> Iterator[None]:
    import torch

    from asr_llm.model.checkpoints import quiet

    if model.training:
        raise ValueError("the model is in training mode; call model.eval() before decoding")
    kind = model.device.type
    autocast = torch.autocast(
        kind, torch.bfloat16, enabled=kind == "cuda" if bf16 is None else bf16
    )
    with torch.inference_mode(), autocast, quiet():
        yield


def _until_end(ids: list[int], end: int, limit: int) -> tuple[list[int], bool]:
    """Tokens before the end token, which counts towards the limit, and whether it was there.

    The limit is each audio's own, so that a longer neighbour in the batch changes nothing.
    """
    ids = ids[:limit]
    return (ids[: ids.index(end)], True) if end in ids else (ids, False)


def cut_loop(text: str) -> str:
    """Leave one of the repeats where a text ends in the same 1 to 8 words five times or more.

    The limit of tokens may have stopped the loop inside a word: a last word that only
    begins like the one due belongs to the loop.
    """
    words = text.split()
    kept = len(words)
    for size in range(1, min(_LONGEST_LOOP, len(words) // _REPEATS) + 1):
        due, last = words[-1 - size], words[-1]
        whole = words[:-1] if due != last and due.startswith(last) else words
        start = len(whole) - size  # of the run that repeats every `size` words
        while start > 0 and whole[start - 1] == whole[start - 1 + size]:
            start -= 1
        if len(whole) - start >= _REPEATS * size:
            kept = min(kept, start + size)
    # A loop may hold a smaller one.
    return text if kept == len(words) else cut_loop(" ".join(words[:kept]))
