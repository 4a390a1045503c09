"""Speech recognition: an utterance behind the prompt, then its transcript."""

from __future__ import annotations

import random
from typing import Literal

from asr_llm.corpus.synthesis import Utterance
from asr_llm.sequences import tasks
from asr_llm.sequences.sources.speech import SpeechSource
from asr_llm.sequences.spans import Sequence
from asr_llm.sequences.tasks import Chat


class AsrSource(SpeechSource):
    """Text(prompt) Speech(A) Text(T)*."""

    task: Literal["asr"] = "asr"

    def sequence(self, utterance: Utterance, chat: Chat, rng: random.Random) -> Sequence:
        """Prompt, speech, transcript."""
        return tasks.asr(utterance, chat)
