"""What is transcribed with: all that determines a text but for the audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asr_llm.corpus.biasing_list import BiasingList
from asr_llm.decoding.options import NUM_BEAMS

VadKind = Literal["silero", "energy"]


@dataclass(frozen=True)
class Options:
    """How ``SpeechLLM.load`` makes a recogniser; the command line's flags have the same names.

    Args:
        model: ``mini``, a checkpoint folder, or a name on the hub.
        adapters: folders, all in use at once; see ``model.adapters``.
        fusion: weight of those made from text, in place of their own.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        chunk_seconds: longer audio is cut; by default what the model can take.
        vad: what tells speech from the rest.
        word_timestamps: tell when each word is said.
        aligner: what tells it in place of the model's own CTC head.
        biasing: phrases to prefer where they are likely to have been said, beside those that
            the adapters bring.
    """

    model: str = "mini"
    adapters: tuple[str, ...] = ()
    fusion: float | None = None
    num_beams: int = NUM_BEAMS
    chunk_seconds: float | None = None
    vad: VadKind = "silero"
    word_timestamps: bool = False
    aligner: str | None = None
    biasing: BiasingList | None = None
