"""CTC models for forced alignment: a checkpoint's own head, or NeMo's.

Legend: B audios, T samples at 16 kHz, F frames, V tokens including the blank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr_llm.corpus.recordings.alignment import Alignment, Spelling, Unaligned, align, spell
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, split_at_pauses
from asr_llm.corpus.recordings.ctc_search import Backend
from asr_llm.corpus.text.said import needs_saying, ways_to_say
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints
from asr_llm.model.salm import SpanSALM

_LONGEST, _PIECE = 60.0, 30.0
"""Seconds of audio that are encoded at once, and of the pieces of longer audio."""


class CtcModel(ABC):
    """The interface of a CTC model for alignment.

    ``blank`` is the index of the blank in V, ``frame`` the seconds per emission frame, ``shift``
    the seconds by which its peaks are late, and ``longest`` the most seconds encoded at once.
    """

    blank: int
    frame: float
    shift: float = 0.0
    longest: float = _LONGEST

    @abstractmethod
    def spell(self, text: str, said: Sequence[str] | None = None) -> Spelling:
        """The tokens of each word of a transcript, or of its spoken form."""

    @abstractmethod
    def log_probs(self, audios: list[np.ndarray]) -> list[Tensor]:
        """B audios, float32 (T,), to emissions (F, V)."""

    def hear(self, audios: list[np.ndarray]) -> list[Tensor]:
        """``log_probs`` for audios of any length: those over ``longest`` are encoded in pieces.

        Attention over many minutes would not fit into memory, and Whisper takes only 30 s. Pieces
        end at the quietest place.
        """
        longest = self.longest * SAMPLE_RATE
        short = [audio for audio in audios if len(audio) <= longest]
        heard = iter(self.log_probs(short) if short else [])
        return [
            next(heard) if len(audio) <= longest else self._in_pieces(audio) for audio in audios
        ]

    def _in_pieces(self, audio: np.ndarray) -> Tensor:
        """Emissions (F, V) of an audio (T,) that is split at whole frames."""
        frame = round(self.frame * SAMPLE_RATE)
        most = min(_PIECE, self.longest) - self.frame  # bounds move by up to a frame
        ends = [end // frame * frame for _, end in split_at_pauses(audio, most)]
        bounds = list(pairwise([0, *ends[:-1], len(audio)]))
        heard = [self.log_probs([audio[start:end]])[0] for start, end in bounds]
        counts = [(end - start) // frame for start, end in bounds[:-1]]
        # A model may return one extra frame at the end of a piece.
        return torch.cat([*(rows[:count] for rows, count in zip(heard, counts)), heard[-1]])

    def align(
        self, emissions: list[Tensor], texts: list[str], backend: Backend = "auto"
    ) -> list[Alignment | Unaligned]:
        """Align the words of B texts with their emissions (F, V).

        Digits, units and symbols are aligned by their spoken English form, in the variant that fits
        the audio best; the returned words are as written.

        Raises:
            AsrLlmError: k2 is requested but not installed.
        """
        ways = [ways_to_say(text) if needs_saying(text) else [] for text in texts]
        spellings = [
            self.spell(text, [forms[0] for forms in words] if words else None)
            for text, words in zip(texts, ways)
        ]
        found = self._search(emissions, spellings, backend)
        for i, words in enumerate(ways):
            chosen = found[i]
            if isinstance(chosen, Alignment) and any(len(forms) > 1 for forms in words):
                said = self._heard(emissions[i], words, chosen, backend)
                if said != [forms[0] for forms in words]:
                    spelling = self.spell(texts[i], said)
                    (found[i],) = self._search([emissions[i]], [spelling], backend)
        return found

    def _search(
        self, emissions: list[Tensor], spellings: list[Spelling], backend: Backend
    ) -> list[Alignment | Unaligned]:
        return align(emissions, spellings, self.blank, self.frame, backend, shift=self.shift)

    def _heard(
        self,
        emissions: Tensor,
        ways: list[tuple[str, ...]],
        found: Alignment,
        backend: Backend,
    ) -> list[str]:
        """Choose the spoken form of each word that fits its place in the audio best.

        Each is tried between the neighbouring words, on that stretch of the emissions (F, V) alone.
        """
        said = [forms[0] for forms in ways]
        for i, forms in enumerate(ways):
            if len(forms) == 1:
                continue
            first, last = max(i - 1, 0), min(i + 1, len(ways) - 1)
            begin = int(found.words[first].start / self.frame)
            end = int(found.words[last].end / self.frame) + 2
            tried = [[*said[first:i], form, *said[i + 1 : last + 1]] for form in forms]
            spellings = [self.spell(" ".join("x" for _ in words), words) for words in tried]
            results = self._search([emissions[begin:end]] * len(forms), spellings, backend)
            sure = [r.confidence or 0.0 if isinstance(r, Alignment) else 0.0 for r in results]
            said[i] = forms[max(range(len(forms)), key=lambda k: sure[k])]
        return said


def load(name: str | Path) -> CtcModel:
    """Load a CTC model by name: a checkpoint with a CTC head (``mini``), or NeMo's ``.nemo`` file.

    Raises:
        CheckpointError: it cannot be loaded, or has no CTC.
    """
    if Path(name).suffix == ".nemo":
        return NemoCtc(Path(name))
    if Path(name).is_file():
        raise CheckpointError(
            f"{name} does not align; expected a NeMo CTC model (.nemo), or a checkpoint folder "
            "with a CTC head"
        )
    model = checkpoints.load(name)
    if model.ctc_head is None:
        raise CheckpointError(
            f"{name} has no CTC head to align with; expected ctc_head.safetensors in it: use "
            "--model mini, or NeMo's CTC model as a .nemo file"
        )
    return CheckpointCtc(model)


class CheckpointCtc(CtcModel):
    """The CTC head stored with a checkpoint's SALM weights."""

    def __init__(self, model: SpanSALM) -> None:
        self.model = model.eval()
        self.blank = model.ctc_blank_id
        self.frame = model.frame_samples / model.sampling_rate
        self.longest = min(_LONGEST, model.max_seconds)

    def spell(self, text: str, said: Sequence[str] | None = None) -> Spelling:
        """Normalised words behind a space, as in training."""
        vocabulary = self.model.ctc_vocabulary
        return spell(text, lambda words: [vocabulary.encode(w) for w in words], said=said)

    @torch.inference_mode()
    def log_probs(self, audios: list[np.ndarray]) -> list[Tensor]:
        """B audios, float32 (T,), to emissions (F, V), the last frame filled with silence."""
        unit = self.model.frame_samples
        whole = [np.pad(audio, (0, -len(audio) % unit)) for audio in audios]
        _, lens, encoded = self.model.encode(*_padded(whole, self.model.device))
        return self.emissions([row[:count] for row, count in zip(encoded, lens.tolist())])

    @torch.inference_mode()
    def emissions(self, encoded: list[Tensor]) -> list[Tensor]:
        """Encoder output (F, D) of B audios, each in whole frames, to emissions (F, V)."""
        return [self.model.ctc_log_probs(row) for row in encoded]


class NemoCtc(CtcModel):
    """A CTC model of NeMo, or the CTC branch of a hybrid one, from its ``.nemo`` file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CheckpointError(f"no file {path}; expected a NeMo CTC model (.nemo)")
        from nemo.collections.asr.models import ASRModel

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            with checkpoints.quiet():
                self.model: Any = ASRModel.restore_from(str(path), map_location=device).eval()
        except Exception as error:
            raise CheckpointError(f"{path} is not a model that NeMo can load ({error})") from error
        self.decoder = getattr(self.model, "ctc_decoder", None) or self.model.decoder
        if not hasattr(self.decoder, "vocabulary"):
            raise CheckpointError(f"{path} has no CTC decoder; expected a CTC or hybrid model")
        self.blank = len(self.decoder.vocabulary)
        stride = self.model.cfg.preprocessor.window_stride
        self.frame = stride * self.model.encoder.subsampling_factor

    def spell(self, text: str, said: Sequence[str] | None = None) -> Spelling:
        """By the model's tokenizer, or letter by letter; digits as such if the model has them."""
        written = set("".join(self.decoder.vocabulary))
        cased = any(letter.isupper() for letter in written)
        has_digits = any(letter.isdecimal() for letter in written)
        said = None if has_digits else said
        return spell(text, self._encode, "none" if cased else "basic", said)

    def _encode(self, words: list[str]) -> list[list[int]]:
        if hasattr(self.model, "tokenizer"):
            return [self.model.tokenizer.text_to_ids(word) for word in words]
        ids = {letter: i for i, letter in enumerate(self.decoder.vocabulary)}
        # The space after a word is part of it, so that the next one begins with its first letter.
        return [
            [ids[letter] for letter in word if letter in ids]
            + ([ids[" "]] if " " in ids and i < len(words) - 1 else [])
            for i, word in enumerate(words)
        ]

    @torch.inference_mode()
    def log_probs(self, audios: list[np.ndarray]) -> list[Tensor]:
        """B audios, float32 (T,), to emissions (F, V)."""
        signal, lens = _padded(audios, self.model.device)
        features, lens = self.model.preprocessor(input_signal=signal, length=lens)
        encoded, lens = self.model.encoder(audio_signal=features, length=lens)
        emissions = self.decoder(encoder_output=encoded).float()
        return [row[:count] for row, count in zip(emissions, lens.tolist())]


def _padded(audios: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [torch.from_numpy(audio) for audio in audios]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    return padded, torch.tensor([len(row) for row in rows], device=device)
