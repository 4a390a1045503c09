"""Text alone, to train the language model on the domain's text."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from asr_llm.sequences import tasks
from asr_llm.sequences.sources.base import PROMPT_TOKENS, WrittenSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat


class TextSource(WrittenSource):
    """Text(T)*."""

    task: Literal["text"] = "text"
    prompt: bool = Field(
        False,
        description="put the text after the transcription prompt, without speech",
    )

    def sequence(self, text: str, chat: Chat, rng: np.random.Generator) -> SpanSequence:
        """The text, optionally after the prompt."""
        build = tasks.prompted_text if self.prompt else tasks.text_only
        return build(text, chat)

    def cost(self, tokens: float) -> float:
        """Approximate decoder positions; the text occurs once."""
        return tokens + (PROMPT_TOKENS if self.prompt else 1)
