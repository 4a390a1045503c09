"""Speech recognition: prompt, utterance, transcript."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import DomainError
from asr_llm.sequences import tasks
from asr_llm.sequences.sources.speech import UtteranceSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_llm.corpus.recordings.shar import SharCuts
    from asr_llm.sequences.sources.data import Data


class AsrSource(UtteranceSource):
    """Text(prompt) Speech(A) Text(T)*."""

    task: Literal["asr"] = "asr"
    first_pass: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the recordings whose first pass is shown, if the checkpoint has "
        "one; a manifest may give it as 'first_pass'",
    )
    misheard: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the shown first passes in which some words are misspelt by ear",
    )

    def heard(self, cuts: list[Cut], data: Data) -> list[Cut]:
        """Each with its first pass, where the model reads one."""
        return data.hear(cuts) if data.hear and self.first_pass else cuts

    def refuse_shards(self, cuts: SharCuts, data: Data) -> None:
        """As ``SpeechSource.refuse_shards`` says: first passes are written before training."""
        supervisions = cuts[0].get("supervisions") or [{}]
        shown = data.hear is not None and self.first_pass > 0
        if shown and "first_pass" not in (supervisions[0].get("custom") or {}):
            raise DomainError(
                f"{data.path}: its recordings have no first pass, which this model reads; expected "
                "'first_pass' in the manifest that it was made from, or 'first_pass: 0' in the "
                "source"
            )

    def sequence(self, utterance: Utterance, chat: Chat, rng: random.Random) -> SpanSequence:
        """Prompt, speech, perhaps a first pass, transcript."""
        if (heard := utterance.first_pass) is None:
            return tasks.asr(utterance, chat)
        if rng.random() >= self.first_pass:
            heard = None
        elif rng.random() < self.misheard:
            heard = tasks.spell_by_ear(heard, rng, words=rng.uniform(0.05, 0.4))
        return tasks.asr(replace(utterance, first_pass=heard), chat)
