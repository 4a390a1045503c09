"""A first pass over the audio by the whole of Whisper, decoder included.

A checkpoint may bring a Whisper model as ``first_pass/``, a folder as Hugging Face has it. What it
writes stands behind the speech in the prompt, and the LLM deliberates on both (arXiv 2003.07962).
Audio is not padded to 30 s but by ``_SILENCE``, from which the decoder knows where it ends: without
any, it says the last sentence again and again.

Legend: B audios, T samples at 16 kHz, S encoder states of 20 ms, H their width.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration

from asr_llm.errors import CheckpointError
from asr_llm.model.checkpoint_folder import CONFIG, in_a_line, load_strictly, quiet
from asr_llm.model.foundations import Encoder
from asr_llm.model.whisper import STATES_A_SECOND, WhisperEncoder, WhisperPreprocessor

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

FOLDER = "first_pass"
PROMPT = "\nFirst pass: {first_pass}"
"""How a checkpoint that is composed with a first pass shows it to the LLM."""

SAMPLE_RATE = 16000
_SILENCE = 1.2  # seconds
_TOKENS_A_SECOND, _TOKENS_ANYWAY = 8, 12
_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_BATCH_SECONDS = 120.0
_BEGIN_NEVER = (220, 50257)  # a space, the end: an empty text
_ENGLISH_ONLY = 51864  # tokens


class FirstPass(nn.Module):
    """Whisper, greedy, in English, on B audios of up to 28 s at a time.

    Args:
        whisper: as transformers loads it.
        tokenizer: of the ``tokenizers`` library.
    """

    def __init__(self, whisper: WhisperForConditionalGeneration, tokenizer: Any) -> None:
        super().__init__()
        config = whisper.config
        self.preprocessor = WhisperPreprocessor(config.num_mel_bins)
        self.encoder = WhisperEncoder.of(whisper.model.encoder)
        self.decoder = whisper.model.decoder
        self.tokenizer = tokenizer
        ids = {token: tokenizer.token_to_id(token) for token in (*_PROMPT, "<|endoftext|>")}
        start, language, task, no_times = (ids[token] for token in _PROMPT)
        english = config.vocab_size <= _ENGLISH_ONLY
        self.prompt = [start, no_times] if english else [start, language, task, no_times]
        self.end = ids["<|endoftext|>"]
        told = whisper.generation_config
        special = range(self.end + 1, config.vocab_size)
        self.never = sorted({*special, *(told.suppress_tokens or ())} - {self.end})
        self.never_first = list(told.begin_suppress_tokens or ())

    @classmethod
    def load(cls, folder: Path) -> FirstPass:
        """Read the Whisper model of a folder, safetensors only.

        Raises:
            CheckpointError: there is none that can be read.
        """
        from tokenizers import Tokenizer

        try:
            with quiet(), redirect_stderr(io.StringIO()):
                whisper = WhisperForConditionalGeneration.from_pretrained(
                    folder,
                    dtype="float32",
                    local_files_only=True,
                    use_safetensors=True,
                    attn_implementation="sdpa",
                )
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise CheckpointError(
                f"{folder} holds no Whisper model that can be read: {in_a_line(error)}"
            ) from error
        return cls(whisper, tokenizer).eval()

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.decoder.embed_tokens.weight.device

    def write(self, audios: Sequence[np.ndarray]) -> list[str]:
        """What Whisper writes of audios, float32 (T,); in batches of like length.

        A text does not depend on what else is in its batch. It may run in a loop, up to a limit.
        """
        texts: dict[int, str] = {}
        order = sorted(range(len(audios)), key=lambda i: len(audios[i]))
        while order:
            count = 1
            longest = len(audios[order[-1]]) / SAMPLE_RATE + _SILENCE
            count = max(1, int(_BATCH_SECONDS / longest))
            batch, order = order[-count:], order[:-count]
            texts.update(zip(batch, self._batch([audios[i] for i in batch])))
        return [texts[i] for i in range(len(audios))]

    @torch.inference_mode()
    def _batch(self, audios: list[np.ndarray]) -> list[str]:
        states, lens = self._encoded(audios)
        limits = lens // STATES_A_SECOND * _TOKENS_A_SECOND + _TOKENS_ANYWAY
        written = self._decoded(states, lens, limits.tolist())
        return [self.tokenizer.decode(ids).strip() for ids in written]

    def _encoded(self, audios: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """States (B, S, H) and how many are of each audio (B,)."""
        unit, silence = self.preprocessor.featurizer.hop_length * 2, round(_SILENCE * SAMPLE_RATE)
        padded = [
            torch.from_numpy(np.pad(audio, (0, silence + -len(audio) % unit))) for audio in audios
        ]
        lens = torch.tensor([len(audio) for audio in padded], device=self.device)
        batch = nn.utils.rnn.pad_sequence(padded, batch_first=True).to(self.device)
        states, lens = self.encoder(*self.preprocessor(batch, lens))
        return states.transpose(1, 2), lens

    def _decoded(self, states: Tensor, lens: Tensor, limits: list[int]) -> list[list[int]]:
        """The tokens that Whisper writes greedily of each row."""
        decoder, count, device = self.decoder, len(limits), self.device
        inside = torch.arange(states.shape[1], device=device)[None] < lens[:, None]
        mask = torch.zeros(inside.shape, dtype=states.dtype, device=device)
        mask = mask.masked_fill(~inside, float("-inf"))[:, None, None]
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        never = torch.tensor(self.never, device=device)
        ids = torch.tensor([self.prompt] * count, device=device)
        causal = torch.full((ids.shape[1],) * 2, float("-inf"), device=device).triu(1)[None, None]
        written: list[list[int]] = [[] for _ in limits]
        going, at = set(range(count)), 0
        while going:
            hidden = decoder.embed_tokens(ids)
            hidden = hidden + decoder.embed_positions.weight[at : at + ids.shape[1]]
            for layer in decoder.layers:
                hidden = layer(
                    hidden,
                    attention_mask=None if at else causal.to(hidden.dtype),
                    encoder_hidden_states=states,
                    encoder_attention_mask=mask,
                    past_key_values=cache,
                )
            logits = F.linear(decoder.layer_norm(hidden[:, -1]), decoder.embed_tokens.weight)
            logits[:, never] = float("-inf")
            if not at:
                logits[:, self.never_first] = float("-inf")
            at += ids.shape[1]
            ids = logits.argmax(-1, keepdim=True)
            for row, token in enumerate(ids[:, 0].tolist()):
                if row not in going:
                    continue
                if token != self.end:
                    written[row].append(token)
                if token == self.end or len(written[row]) >= limits[row]:
                    going.discard(row)
        return written


def of(folder: Path, model: SpanSALM) -> FirstPass | None:
    """The first pass that a checkpoint brings, on the model's device; None without one.

    Raises:
        CheckpointError: its config shows one to the LLM, but there is none that can be read.
    """
    if model.chat.first_pass_prompt is None:
        return None
    if not (folder / FOLDER).is_dir():
        raise CheckpointError(
            f"{folder / CONFIG} has a first_pass_prompt, but there is no {FOLDER}/ "
            "beside it; expected a Whisper model there: copy the whole folder again"
        )
    return FirstPass.load(folder / FOLDER).to(model.device)


def save(encoder: Encoder, folder: Path) -> None:
    """Write a foundation's Whisper, decoder included, as a folder of Hugging Face in float16.

    Raises:
        CheckpointError: it has no tokenizer, or tensors are missing.
    """
    from transformers import GenerationConfig, WhisperConfig
    from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS_MULTI

    if not encoder.tokenizer:
        raise CheckpointError(
            "this Whisper has no tokenizer.json, without which it writes no first pass; expected "
            "one beside its weights"
        )
    whisper = WhisperForConditionalGeneration(WhisperConfig(**encoder.config))
    for part, weights in (
        (whisper.model.encoder, encoder.weights),
        (whisper.model.decoder, encoder.decoder),
    ):
        load_strictly(part, weights, "Whisper")
    whisper.generation_config = GenerationConfig(
        suppress_tokens=list(NON_SPEECH_TOKENS_MULTI), begin_suppress_tokens=list(_BEGIN_NEVER)
    )
    with quiet(), redirect_stderr(io.StringIO()):
        whisper.half().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(encoder.tokenizer, "utf-8")
