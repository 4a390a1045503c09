"""InSerter (arXiv 2503.02769): pieces of a text are spoken in place of being written."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from pydantic import Field

from asr_llm.corpus.synthesis import Utterance
from asr_llm.sequences.examples import Examples, Item, python_rng
from asr_llm.sequences.interleave import insert_speech, select_spans
from asr_llm.sequences.sources.base import CHARACTERS_PER_TOKEN
from asr_llm.sequences.sources.data import Data
from asr_llm.sequences.sources.speaking import SpokenSource, speak_at_random
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat
from asr_llm.yaml_lines import Strict


class InsertOptions(Strict):
    """Which pieces of a text are spoken."""

    level: Literal["word", "sentence"] = "word"
    share: float = Field(0.3, gt=0, le=1, description="of the words, about")


class InsertSource(SpokenSource):
    """Text(t₁)* Speech(synthesised t₂) Text(t₃)* …."""

    task: Literal["insert"] = "insert"
    insert: InsertOptions = InsertOptions()

    def build(self, data: Data, chat: Chat) -> Examples:
        """One example for each sentence."""
        lines = data.sentences(self.task)
        voices = data.voices(self.voices)

        def item(i: int) -> Item:
            make = functools.partial(self._sequence, lines[i], chat, voices)
            return Item(len(lines[i]) / CHARACTERS_PER_TOKEN + 1, make)

        return Examples(len(lines), self.weight, item)

    def _sequence(
        self, text: str, chat: Chat, voices: tuple[str, ...], rng: np.random.Generator
    ) -> SpanSequence:
        """One voice speaks all pieces of a text."""
        pieces = select_spans(text, python_rng(rng), self.insert.level, self.insert.share)
        voice = voices[int(rng.integers(len(voices)))]

        def speak(piece: str) -> Utterance:
            return self.augmented(speak_at_random(piece, None, (voice,), rng), rng)

        return insert_speech(pieces, speak, chat)
