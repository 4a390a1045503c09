"""Speech to text: the ASR prompt of training, generation, and a guard against loops.

Legend: B audios, T samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm.corpus.synthesis import Utterance
from asr_llm.errors import CheckpointError
from asr_llm.sequences.batching import Collator
from asr_llm.sequences.spans import Sequence
from asr_llm.sequences.tasks import Chat, asr

if TYPE_CHECKING:
    from asr_llm.model.speech_llm import SpeechLLM

TOKENS_PER_SECOND, TOKENS_ANYWAY = 12, 16
"""Most tokens that are written for an audio: speech has 5 to 8 a second."""

_LONGEST_LOOP, _REPEATS = 8, 5


@dataclass(frozen=True)
class Decoded:
    """What was written for one audio.

    ``complete`` is false where the limit of tokens stopped the model before it had finished,
    ``loop_cut`` true where it repeated itself and the repeats were cut out of ``text``.
    """

    text: str
    complete: bool = True
    loop_cut: bool = False


def prompt(samples: np.ndarray, chat: Chat) -> Sequence:
    """What training puts before a transcript: text, the speech (T,) in whole frames, text."""
    return asr(Utterance("", "", samples), chat)[:-1]


def max_tokens(num_samples: int, sample_rate: int) -> int:
    """Most tokens to write for an audio of this length."""
    return TOKENS_ANYWAY + TOKENS_PER_SECOND * num_samples // sample_rate


def transcribe(
    model: SpeechLLM,
    audios: list[np.ndarray],
    *,
    max_new_tokens: int | None = None,
    num_beams: int = 1,
) -> list[str]:
    """The texts of ``decode``."""
    decoded = decode(model, audios, max_new_tokens=max_new_tokens, num_beams=num_beams)
    return [one.text for one in decoded]


def decode(
    model: SpeechLLM,
    audios: list[np.ndarray],
    *,
    max_new_tokens: int | None = None,
    num_beams: int = 1,
    bf16: bool | None = None,
) -> list[Decoded]:
    """Transcribe B audios, each float32 (T,), in one batch; they may differ in length.

    Args:
        max_new_tokens: limit for each audio; by default ``max_tokens`` of its length.
        num_beams: hypotheses kept; 1 is greedy, and then a text does not depend on the others
            in the batch (several beams share the batch's largest limit).
        bf16: bfloat16 autocast; by default on CUDA only.

    Raises:
        ValueError: the model is in training mode, where dropout would spoil the text.
        CheckpointError: see ``generate``.
    """
    tokenizer = model.tokenizer.tokenizer
    out = []
    for ids, complete in generate(model, audios, max_new_tokens, num_beams, bf16):
        text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        text = " ".join(text.split())
        short = cut_loop(text)
        out.append(Decoded(short, complete, loop_cut=short != text))
    return out


def generate(
    model: SpeechLLM,
    audios: list[np.ndarray],
    max_new_tokens: int | None = None,
    num_beams: int = 1,
    bf16: bool | None = None,
) -> list[tuple[list[int], bool]]:
    """New token ids for each audio without the end token, and whether that was reached.

    Raises:
        ValueError: the model is in training mode.
        CheckpointError: the chat's end is not one token, so that nothing would end.
    """
    import torch
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from transformers import GenerationConfig

    from asr_llm.model.checkpoints import quiet

    if model.training:
        raise ValueError("the model is in training mode; call model.eval() before decoding")
    if not audios:
        return []
    chat, device = model.chat, model.device
    collate = Collator(
        model.tokenizer.tokenizer, model.audio_locator_tag, model.text_pad_id, chat.frame_samples
    )
    end = collate.encode(chat.end)
    if len(end) != 1:
        raise CheckpointError(
            f"this checkpoint's tokenizer writes the end of an answer, {chat.end!r}, as "
            f"{len(end)} tokens; expected one special token: check its prompt_format"
        )
    limits = [max_new_tokens or max_tokens(len(a), chat.sample_rate) for a in audios]
    batch: dict[str, Any] = {
        key: value.to(device) if isinstance(value, torch.Tensor) else value
        for key, value in collate([prompt(audio, chat) for audio in audios]).items()
    }
    config = GenerationConfig(
        max_new_tokens=max(limits),
        num_beams=num_beams,
        do_sample=False,
        eos_token_id=end[0],
        pad_token_id=model.text_pad_id,
    )
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=device.type == "cuda" if bf16 is None else bf16
    )
    with torch.inference_mode(), autocast, quiet():
        spliced = model.splice(batch)
        with move_embedding(model):
            rows = model.llm.generate(
                inputs_embeds=spliced["input_embeds"],
                attention_mask=spliced["attention_mask"],
                generation_config=config,
            )
    return [_until_end(row, end[0], limit) for row, limit in zip(rows.tolist(), limits)]


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
