"""Noisy text in place of the speech (arXiv 2601.20900)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from asr_llm.sequences import tasks
from asr_llm.sequences.examples import python_rng
from asr_llm.sequences.sources.base import WrittenSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat


class DenoiseSource(WrittenSource):
    """Text(prompt) Text(T, with substituted letters and repeated words) Text(T)*."""

    task: Literal["denoise"] = "denoise"

    def sequence(self, text: str, chat: Chat, rng: np.random.Generator) -> SpanSequence:
        """The prompt, the corrupted text, the correct text."""
        return tasks.denoise(text, chat, python_rng(rng))
