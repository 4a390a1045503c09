"""What stands in for a model where only what is around it is tested."""

from __future__ import annotations

import math

from asr_llm.transcription.options import TranscribeOptions

ENERGY = TranscribeOptions(vad="energy")
"""Tones are speech to it, and the neural network need not be loaded."""


class FakeModel:
    """What ``SpeechLLM`` asks of a model besides what the decoder does with it."""

    pause_seconds, max_seconds = 1.0, math.inf

    def __init__(self, chunk_seconds: float = 4.0) -> None:
        self.chunk_seconds = chunk_seconds

    def eval(self) -> FakeModel:
        return self
