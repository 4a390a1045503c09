"""What is transcribed with: all that determines a transcript but for the audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asr_llm.decoding.options import DecodeOptions

if TYPE_CHECKING:
    from asr_llm.model.adapter_folder import AdapterFolder

VadKind = Literal["silero", "energy"]


@dataclass(frozen=True)
class Recogniser:
    """What is loaded; the command line's flags have the same names.

    Args:
        model: ``mini``, a checkpoint folder, or a name on the hub.
        adapters: those loaded, see ``model.adapters``.
        aligner: what tells when words are said in place of the model's own CTC head: another
            checkpoint with one, or a NeMo CTC model (``.nemo``).
    """

    model: str = "mini"
    adapters: tuple[AdapterFolder, ...] = ()
    aligner: str | None = None


@dataclass(frozen=True)
class TranscribeOptions(DecodeOptions):
    """What a request may ask of a recogniser that is loaded: how to cut, decode and align.

    Args:
        chunk_seconds: longer audio is cut, at pauses; by default what the model can take.
        vad: what tells speech from the rest, see ``vad.listener``.
        word_timestamps: tell when each word is said, and its confidence, where there is an aligner.
    """

    chunk_seconds: float | None = None
    vad: VadKind = "silero"
    word_timestamps: bool = False
