"""Speech recognition: an utterance behind the prompt, then its transcript."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from pydantic import Field

from asr_llm.corpus.synthesis import Utterance
from asr_llm.sequences import tasks
from asr_llm.sequences.sources.speech import SpeechSource
from asr_llm.sequences.spans import Sequence
from asr_llm.sequences.tasks import Chat


class AsrSource(SpeechSource):
    """Text(prompt) Speech(A) Text(T)*."""

    task: Literal["asr"] = "asr"
    first_pass: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the utterances whose first pass is shown, of those that have one: "
        "recordings whose manifest has 'first_pass', for checkpoints with a first_pass_prompt",
    )
    misheard: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the first passes shown some words of which are misspelt by ear",
    )

    def sequence(self, utterance: Utterance, chat: Chat, rng: random.Random) -> Sequence:
        """Prompt, speech, perhaps a first pass, transcript."""
        if (heard := utterance.first_pass) is None:
            return tasks.asr(utterance, chat)
        if rng.random() >= self.first_pass:
            heard = None
        elif rng.random() < self.misheard:
            heard = tasks.spell_by_ear(heard, rng, words=rng.uniform(0.05, 0.4))
        return tasks.asr(replace(utterance, first_pass=heard), chat)
