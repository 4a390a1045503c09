"""Text misspelt by ear, as a recogniser without the vocabulary writes it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from asr_llm.sequences import tasks
from asr_llm.sequences.examples import python_rng
from asr_llm.sequences.sources.base import WrittenSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat


class MisheardSource(WrittenSource):
    """Text(prompt) Text(T, misspelt by ear) Text(T)*."""

    task: Literal["misheard"] = "misheard"

    def sequence(self, text: str, chat: Chat, rng: np.random.Generator) -> SpanSequence:
        """The prompt, the corrupted text, the text to be written."""
        return tasks.misheard(text, chat, python_rng(rng))
