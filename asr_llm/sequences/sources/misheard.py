"""Phonetically misspelt text, like the output of a recogniser without the vocabulary."""

from __future__ import annotations

from typing import Literal

import numpy as np

from asr_llm.sequences import tasks
from asr_llm.sequences.examples import python_rng
from asr_llm.sequences.sources.base import WrittenSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat


class MisheardSource(WrittenSource):
    """Text(prompt) Text(T, phonetically misspelt) Text(T)*."""

    task: Literal["misheard"] = "misheard"

    def sequence(self, text: str, chat: Chat, rng: np.random.Generator) -> SpanSequence:
        """The prompt, the misspelt text, the correct text."""
        return tasks.misheard(text, chat, python_rng(rng))
