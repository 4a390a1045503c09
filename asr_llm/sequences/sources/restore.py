"""Noisy text without case and punctuation, like CTC output, in place of the speech."""

from __future__ import annotations

from typing import Literal

import numpy as np

from asr_llm.sequences import tasks
from asr_llm.sequences.examples import python_rng
from asr_llm.sequences.sources.base import WrittenSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat


class RestoreSource(WrittenSource):
    """Text(prompt) Text(T, lower-cased, without punctuation, and noisy) Text(T)*."""

    task: Literal["restore"] = "restore"

    def sequence(self, text: str, chat: Chat, rng: np.random.Generator) -> SpanSequence:
        """The prompt, the corrupted text, the correct text."""
        return tasks.restore(text, chat, python_rng(rng))
