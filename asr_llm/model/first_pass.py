"""A first pass over the audio by the whole of Whisper, decoder included.

A checkpoint may bring a Whisper model as ``first_pass/``, a folder as Hugging Face has it. What it
writes stands behind the speech in the prompt, and the LLM deliberates on both (arXiv 2003.07962).
Audio is not padded to 30 s but by ``_SILENCE``, from which the decoder knows where it ends: without
any, it says the last sentence again and again.

Legend: B audios, T samples at 16 kHz, S encoder states of 20 ms, H their width.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration

from asr_llm.errors import CheckpointError
from asr_llm.model.checkpoint_folder import CONFIG, FIRST_PASS, in_a_line, quiet
from asr_llm.model.foundations import Encoder
from asr_llm.model.weights import load_strictly
from asr_llm.model.whisper import (
    SAMPLE_RATE,
    STATES_A_SECOND,
    WhisperEncoder,
    WhisperPreprocessor,
    key_mask,
)

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

FOLDER = FIRST_PASS
PROMPT = "\nFirst pass: {first_pass}"
"""How a checkpoint that is composed with a first pass shows it to the LLM."""

_SILENCE = 1.2  # seconds
_TOKENS_A_SECOND, _TOKENS_ANYWAY = 8, 12
_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_BATCH_SECONDS = 120.0
_END = "<|endoftext|>"
_SHORTEST_REPEAT = 3  # words
_SPACE = 220  # the token; a text that begins with it, or with the end, is mostly an empty one
_ENGLISH_ONLY = 51864  # tokens


class FirstPass(nn.Module):
    """Whisper, greedy, in English, on B audios of up to 28 s at a time.

    Args:
        whisper: as transformers loads it.
        tokenizer: of the ``tokenizers`` library.

    Raises:
        CheckpointError: the tokenizer is not Whisper's.
    """

    def __init__(self, whisper: WhisperForConditionalGeneration, tokenizer: Any) -> None:
        super().__init__()
        config = whisper.config
        self.preprocessor = WhisperPreprocessor(config.num_mel_bins)
        self.encoder = WhisperEncoder.of(whisper.model.encoder)
        self.decoder, self.head = whisper.model.decoder, whisper.proj_out
        self.tokenizer = tokenizer
        start, language, task, no_times = (_id(tokenizer, token) for token in _PROMPT)
        english = config.vocab_size <= _ENGLISH_ONLY
        self.prompt = [start, no_times] if english else [start, language, task, no_times]
        self.end = _id(tokenizer, _END)
        told, tokens = whisper.generation_config, range(config.vocab_size)
        special = tokens[self.end + 1 :]
        never = {*special, *(told.suppress_tokens or ())} - {self.end}
        self.never = sorted(never.intersection(tokens))  # -1 is said for none
        self.never_first = sorted({*(told.begin_suppress_tokens or ())}.intersection(tokens))
        self.most = config.max_target_positions - len(self.prompt)

    @classmethod
    def load(cls, folder: Path) -> FirstPass:
        """Read the Whisper model of a folder, safetensors only.

        Raises:
            CheckpointError: there is none that can be read.
        """
        from tokenizers import Tokenizer

        try:
            with quiet(), redirect_stderr(io.StringIO()):
                whisper, told = WhisperForConditionalGeneration.from_pretrained(
                    folder,
                    dtype="float32",
                    local_files_only=True,
                    use_safetensors=True,
                    attn_implementation="sdpa",
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
            wrong = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
            if wrong:  # transformers makes them up
                raise CheckpointError(
                    f"{len(wrong)} tensors are missing or of another shape, such as {min(wrong)}"
                )
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            return cls(whisper, tokenizer).eval()
        except MemoryError:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, CheckpointError) else in_a_line(error)
            raise CheckpointError(
                f"{folder} contains no readable Whisper model: {reason}"
            ) from error

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.decoder.embed_tokens.weight.device

    def write(self, audios: Sequence[np.ndarray]) -> list[str]:
        """What Whisper writes of audios, float32 (T,); see ``states`` and ``texts``."""
        return self.texts(self.states(audios))

    def states(self, audios: Sequence[np.ndarray]) -> list[Tensor]:
        """Whisper's encoder states (S, H) of audios, float32 (T,)."""
        lengths = [len(audio) / SAMPLE_RATE + _SILENCE for audio in audios]
        return _in_batches(self._encoded, audios, lengths)

    def texts(self, states: Sequence[Tensor]) -> list[str]:
        """What Whisper's decoder writes greedily from states (S, H).

        A text does not depend on what else is in its batch; see ``without_repeats``.
        """
        lengths = [len(own) / STATES_A_SECOND for own in states]
        return _in_batches(self._written, states, lengths)

    @torch.inference_mode()
    def log_likelihoods(self, states: Tensor, texts: Sequence[str]) -> list[float]:
        """Whisper's log-probability of each of several texts, from the states (S, H) of an audio.

        A text longer than Whisper has positions for counts as far as these go.
        """
        encoded = [self.tokenizer.encode(f" {t}", add_special_tokens=False).ids for t in texts]
        rows = [[*self.prompt, *ids, self.end][: self.most + len(self.prompt)] for ids in encoded]
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(row, device=self.device) for row in rows],
            batch_first=True,
            padding_value=self.end,
        )
        causal = torch.full((ids.shape[1],) * 2, float("-inf"), device=self.device).triu(1)
        hidden = self._through(
            ids, 0, states[None].expand(len(texts), -1, -1), None, causal[None, None], None
        )
        found = self.head(hidden[:, :-1]).log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        told = len(self.prompt) - 1  # the rest of the prompt is not written
        return [float(own[told : len(row) - 1].sum()) for own, row in zip(found, rows)]

    @torch.inference_mode()
    def _written(self, states: list[Tensor]) -> list[str]:
        lens = torch.tensor([len(own) for own in states], device=self.device)
        limits = lens // STATES_A_SECOND * _TOKENS_A_SECOND + _TOKENS_ANYWAY
        limits = limits.clamp(max=self.most)
        padded = nn.utils.rnn.pad_sequence(states, batch_first=True)
        written = self._decoded(padded, lens, limits.tolist())
        return [without_repeats(self.tokenizer.decode(ids).strip()) for ids in written]

    @torch.inference_mode()
    def _encoded(self, audios: list[np.ndarray]) -> list[Tensor]:
        unit, silence = self.preprocessor.featurizer.hop_length * 2, round(_SILENCE * SAMPLE_RATE)
        padded = [
            torch.from_numpy(np.pad(audio, (0, silence + -len(audio) % unit))) for audio in audios
        ]
        lens = torch.tensor([len(audio) for audio in padded], device=self.device)
        batch = nn.utils.rnn.pad_sequence(padded, batch_first=True).to(self.device)
        states, lens = self.encoder(*self.preprocessor(batch, lens))
        rows = zip(states.transpose(1, 2), lens.tolist())
        return [row[:count] for row, count in rows]

    def _decoded(self, states: Tensor, lens: Tensor, limits: list[int]) -> list[list[int]]:
        """The tokens that Whisper writes greedily of each row of states (B, S, H)."""
        count, device = len(limits), self.device
        mask = key_mask(lens, states)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        never = torch.tensor(self.never, device=device)
        ids = torch.tensor([self.prompt] * count, device=device)
        causal = torch.full((ids.shape[1],) * 2, float("-inf"), device=device).triu(1)[None, None]
        written: list[list[int]] = [[] for _ in limits]
        going, at = set(range(count)), 0
        while going:
            hidden = self._through(ids, at, states, mask, None if at else causal, cache)
            logits = self.head(hidden[:, -1])
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

    def _through(
        self,
        ids: Tensor,
        at: int,
        states: Tensor,
        mask: Tensor | None,
        causal: Tensor | None,
        cache: EncoderDecoderCache | None,
    ) -> Tensor:
        """The decoder's last hidden states for tokens (B, L) from position ``at`` on.

        transformers' own forward has no mask for encoder states of different lengths.
        """
        decoder = self.decoder
        hidden = decoder.embed_tokens(ids)
        hidden = hidden + decoder.embed_positions.weight[at : at + ids.shape[1]]
        for layer in decoder.layers:
            hidden = layer(
                hidden,
                attention_mask=causal if causal is None else causal.to(hidden.dtype),
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
                past_key_values=cache,
            )
        return decoder.layer_norm(hidden)


def without_repeats(text: str) -> str:
    """Leave one of the repeats where a text ends in the same three words or more, twice or oftener.

    Where Whisper misses the end of unpadded audio, it says the last sentence again, up to a limit
    of tokens, which may cut the last repeat short. Case and punctuation don't matter.
    """
    words = text.split()
    letters = ["".join(filter(str.isalnum, word)).lower() for word in words]
    for size in range(_SHORTEST_REPEAT, len(words) // 2 + 1):
        same = int(bool(letters[-1]) and letters[-1 - size].startswith(letters[-1]))
        while same and same < len(words) - size and letters[-1 - same] == letters[-1 - same - size]:
            same += 1
        if same >= size:
            return " ".join(words[: len(words) - same])
    return text


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def _in_batches(
    work: Callable[[list[_In]], list[_Out]], rows: Sequence[_In], lengths: Sequence[float]
) -> list[_Out]:
    """Work on rows in batches of like length (in seconds); results in the rows' order."""
    done: dict[int, _Out] = {}
    order = sorted(range(len(rows)), key=lambda i: lengths[i])
    while order:
        count = max(1, int(_BATCH_SECONDS / lengths[order[-1]]))
        batch, order = order[-count:], order[:-count]
        done.update(zip(batch, work([rows[i] for i in batch])))
    return [done[i] for i in range(len(rows))]


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
    from tokenizers import Tokenizer
    from transformers import GenerationConfig, WhisperConfig
    from transformers.models.whisper.configuration_whisper import (
        NON_SPEECH_TOKENS,
        NON_SPEECH_TOKENS_MULTI,
    )

    if not encoder.tokenizer:
        raise CheckpointError(
            "this Whisper has no tokenizer.json, which the first pass needs; expected "
            "one beside its weights"
        )
    whisper = WhisperForConditionalGeneration(WhisperConfig(**encoder.config))
    for part, weights in (
        (whisper.model.encoder, encoder.weights),
        (whisper.model.decoder, encoder.decoder),
    ):
        load_strictly(part, weights, "Whisper")
    english = encoder.config["vocab_size"] <= _ENGLISH_ONLY
    whisper.generation_config = GenerationConfig(
        suppress_tokens=list(NON_SPEECH_TOKENS if english else NON_SPEECH_TOKENS_MULTI),
        begin_suppress_tokens=[_SPACE, _id(Tokenizer.from_str(encoder.tokenizer), _END)],
    )
    with quiet(), redirect_stderr(io.StringIO()):
        whisper.half().save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes for the owner's eyes only
    (folder / "tokenizer.json").write_text(encoder.tokenizer, "utf-8")


def _id(tokenizer: Any, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise CheckpointError(f"the tokenizer has no {token}; expected Whisper's tokenizer.json")
    return int(found)
