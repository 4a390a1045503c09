"""Each word right after its own audio: a curriculum for a new projector."""

from __future__ import annotations

import random
from typing import Literal

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.sequences import tasks
from asr_llm.sequences.sources.speech import UtteranceSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat


class WordSynchronousSource(UtteranceSource):
    """Text(prompt) Speech(A₁) Text(T₁)* Speech(A₂) Text(T₂)* …."""

    task: Literal["word_synchronous"] = "word_synchronous"

    @property
    def needs_word_times(self) -> bool:
        """Always: each word stands behind its own audio."""
        return True

    def sequence(self, utterance: Utterance, chat: Chat, rng: random.Random) -> SpanSequence | None:
        """Prompt, then word by word; None for more words than frames."""
        return tasks.word_synchronous(utterance, chat)
