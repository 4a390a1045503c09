"""A first pass over the audio by all of Whisper, decoder included.

A checkpoint may include a Whisper model in ``first_pass/``, in Hugging Face layout. Its transcript
follows the speech in the prompt, and the LLM deliberates on both (arXiv 2003.07962). Audio is
padded by ``_SILENCE`` instead of to 30 s; without any, the decoder misses the end and repeats the
last sentence.

Legend: B audios, T samples at 16 kHz, S encoder states of 20 ms, H their width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, WhisperForConditionalGeneration

from asr_llm.errors import CheckpointError
from asr_llm.model import whisper_folder
from asr_llm.model.checkpoint_folder import CONFIG, FIRST_PASS, in_a_line
from asr_llm.model.log_probs import log_probs_of
from asr_llm.model.whisper import (
    SAMPLE_RATE,
    STATES_A_SECOND,
    WhisperEncoder,
    WhisperPreprocessor,
)
from asr_llm.model.whisper_decoder import BeamSearch, Decoder, Processor
from asr_llm.model.whisper_folder import END, ENGLISH_ONLY, token_id

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

FOLDER = FIRST_PASS
PROMPT = "\nFirst pass: {first_pass}"
"""How a checkpoint that is composed with a first pass shows it to the LLM."""

_SILENCE = 1.2  # seconds
_TOKENS_A_SECOND, _TOKENS_ANYWAY = 8, 12
_PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_BATCH_SECONDS = 120.0
_SHORTEST_REPEAT = 3  # words


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
        self.decoder = Decoder(whisper.model.decoder, whisper.proj_out)
        self.tokenizer = tokenizer
        start, language, task, no_times = (token_id(tokenizer, token) for token in _PROMPT)
        english = config.vocab_size <= ENGLISH_ONLY
        self.prompt = [start, no_times] if english else [start, language, task, no_times]
        self.end = token_id(tokenizer, END)
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
        try:
            return cls(*whisper_folder.read(folder)).eval()
        except MemoryError:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, CheckpointError) else in_a_line(error)
            raise CheckpointError(
                f"{folder} contains no readable Whisper model: {reason}"
            ) from error

    @property
    def vocabulary(self) -> int:
        """The size of its vocabulary."""
        return int(self.decoder.decoder.embed_tokens.num_embeddings)

    @cached_property
    def hub_tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer as Hugging Face has it."""
        return PreTrainedTokenizerFast(tokenizer_object=self.tokenizer, eos_token=END)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.decoder.decoder.embed_tokens.weight.device

    def write(self, audios: Sequence[np.ndarray]) -> list[str]:
        """What Whisper writes of audios, float32 (T,); see ``states`` and ``texts``."""
        return self.texts(self.states(audios))

    def states(self, audios: Sequence[np.ndarray]) -> list[Tensor]:
        """Whisper's encoder states (S, H) of audios, float32 (T,)."""
        lengths = [len(audio) / SAMPLE_RATE + _SILENCE for audio in audios]
        return _in_batches(self._encoded, audios, lengths, self._alone)

    def texts(self, states: Sequence[Tensor]) -> list[str]:
        """What Whisper's decoder writes greedily from states (S, H).

        A text does not depend on what else is in its batch; see ``without_repeats``.
        """
        return [own[0] for own in self.n_best(states)]

    def n_best(
        self,
        states: Sequence[Tensor],
        beams: int = 1,
        processors: Callable[[], Sequence[Processor]] = tuple,
    ) -> list[list[str]]:
        """Up to ``beams`` different texts for each of B audios, from states (S, H); best first.

        Args:
            processors: creates those of one search, see ``BeamSearch``.
        """
        lengths = [len(own) / STATES_A_SECOND for own in states]
        return _in_batches(lambda some: self._written(some, beams, processors()), states, lengths)

    @torch.inference_mode()
    def log_likelihoods(
        self, states: Sequence[Tensor], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Whisper's log-probability of each of K texts of B audios, from their states (S, H).

        Of a text longer than Whisper's positions, only those count.
        """
        lengths = [len(own) / STATES_A_SECOND for own in states]
        rows = list(zip(states, texts, strict=True))
        return _in_batches(self._judged, rows, lengths, self._alone)

    @property
    def _alone(self) -> bool:
        """Whether audios are read one by one: a CPU is no faster with several, and a batch's shape
        would show in the last digits."""
        return self.device.type == "cpu"

    def _judged(self, batch: list[tuple[Tensor, Sequence[str]]]) -> list[list[float]]:
        most = max(len(texts) for _, texts in batch)
        rows: list[list[int]] = []
        for _, texts in batch:
            encoded = [self.tokenizer.encode(f" {t}", add_special_tokens=False).ids for t in texts]
            own = [[*self.prompt, *ids, self.end] for ids in encoded]
            rows += own + [[self.end]] * (most - len(own))
        rows = [row[: self.most + len(self.prompt)] for row in rows]
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(row, device=self.device) for row in rows],
            batch_first=True,
            padding_value=self.end,
        )
        hidden = self.decoder(ids, self.decoder.hear([states for states, _ in batch]))
        told, head = len(self.prompt) - 1, self.decoder.head  # the rest is not written
        found = [
            float(log_probs_of(head, own[told : len(row) - 1], wanted[told + 1 : len(row)]).sum())
            for own, wanted, row in zip(hidden, ids, rows)
        ]
        groups = [found[i * most : (i + 1) * most] for i in range(len(batch))]
        return [own[: len(texts)] for own, (_, texts) in zip(groups, batch)]

    @torch.inference_mode()
    def _written(
        self, states: list[Tensor], beams: int, processors: Sequence[Processor]
    ) -> list[list[str]]:
        limits = [
            min(self.most, len(own) // STATES_A_SECOND * _TOKENS_A_SECOND + _TOKENS_ANYWAY)
            for own in states
        ]
        search = BeamSearch(self.decoder, self.prompt, self.end, self._forbid, beams, processors)
        found = search(self.decoder.hear(states), limits)
        texts = [[self.tokenizer.decode(list(one.ids)) for one in own] for own in found]
        return [list(dict.fromkeys(without_repeats(t.strip()) for t in own)) for own in texts]

    def _forbid(self, written: int, logits: Tensor) -> None:
        logits[:, self.never] = float("-inf")
        if not written:
            logits[:, self.never_first] = float("-inf")

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


def without_repeats(text: str) -> str:
    """Keep one repetition if a text ends in the same three or more words twice or more.

    Where Whisper misses the end of unpadded audio, it repeats the last sentence up to the token
    limit, which may cut the last repetition short. Case and punctuation don't matter.
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
    work: Callable[[list[_In]], list[_Out]],
    rows: Sequence[_In],
    lengths: Sequence[float],
    alone: bool = False,
) -> list[_Out]:
    """Process rows one by one or in batches of similar length (in seconds); in the rows' order."""
    if alone:
        return [one for row in rows for one in work([row])]
    done: dict[int, _Out] = {}
    order = sorted(range(len(rows)), key=lambda i: lengths[i])
    while order:
        count = max(1, int(_BATCH_SECONDS / lengths[order[-1]]))
        batch, order = order[-count:], order[:-count]
        done.update(zip(batch, work([rows[i] for i in batch])))
    return [done[i] for i in range(len(rows))]


def of(folder: Path, model: SpanSALM) -> FirstPass | None:
    """The checkpoint's first pass, on the model's device; None without one.

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
