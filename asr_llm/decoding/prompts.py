"""Prompts as in training, spliced with speech; token limits; inference mode.

Legend: T samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import CheckpointError
from asr_llm.sequences.batching import Collator
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat, asr

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced

TOKENS_PER_SECOND, TOKENS_ANYWAY = 12, 16
"""Default token limit per second of audio: speech has 5 to 8 tokens per second."""


def prompt(samples: np.ndarray, chat: Chat, first_pass: str | None = None) -> SpanSequence:
    """The training prompt before a transcript: text, the speech (T,) in whole frames, text."""
    return asr(Utterance("", "", samples, first_pass=first_pass), chat)[:-1]


def max_tokens(num_samples: int, sample_rate: int) -> int:
    """The default token limit of an audio of this length."""
    return TOKENS_ANYWAY + TOKENS_PER_SECOND * num_samples // sample_rate


def collator(model: SpanSALM) -> Collator:
    """A collator with this model's tokenizer and frame length."""
    return Collator(
        model.tokenizer.tokenizer, model.audio_locator_tag, model.text_pad_id, model.frame_samples
    )


def splice(model: SpanSALM, prompts: list[SpanSequence]) -> Spliced:
    """Embed B prompts on the model's device, see ``SpanSALM.splice``."""
    return model.splice(collator(model)(prompts).to(model.device))


def end_token(model: SpanSALM) -> int:
    """The token that ends an answer.

    Raises:
        CheckpointError: it is not a single token, so decoding would never end.
    """
    end = collator(model).encode(model.chat.end)
    if len(end) != 1:
        raise CheckpointError(
            f"this checkpoint's tokenizer writes the end of an answer, {model.chat.end!r}, as "
            f"{len(end)} tokens; expected one special token: check its prompt_format"
        )
    return end[0]


def text_of(tokenizer: Any, ids: list[int]) -> str:
    """The text of tokens, without special ones, with single spaces between words."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return " ".join(text.split())


@contextmanager
def inference(model: SpanSALM, bf16: bool | None = None) -> Iterator[None]:
    """Inference mode with autocast and without library warnings.

    Raises:
        ValueError: the model is in training mode, with dropout active.
    """
    import torch

    from asr_llm.model.checkpoint_folder import quiet

    if model.training:
        raise ValueError("the model is in training mode; call model.eval() before decoding")
    kind = model.device.type
    autocast = torch.autocast(
        kind, torch.bfloat16, enabled=kind == "cuda" if bf16 is None else bf16
    )
    with torch.inference_mode(), autocast, quiet():
        yield
