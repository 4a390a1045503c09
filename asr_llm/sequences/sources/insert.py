"""InSerter (arXiv 2503.02769): some pieces of a text are spoken instead of written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from asr_llm.corpus.domain.passages import Passages
from asr_llm.corpus.recordings.pieces import LONGEST_SECONDS
from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.sequences.examples import Examples, Item, python_rng
from asr_llm.sequences.interleave import insert_speech, select_spans
from asr_llm.sequences.sources.base import CHARACTERS_PER_TOKEN
from asr_llm.sequences.sources.data import Data
from asr_llm.sequences.sources.speaking import SpokenSource, speak_at_random
from asr_llm.sequences.sources.speech import CHARACTERS_PER_SECOND
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat
from asr_llm.yaml_lines import Strict

Level = Literal["word", "sentence"]
SHARES: dict[Level, float] = {"word": 0.3, "sentence": 0.4}
"""The paper's best."""


class InsertOptions(Strict):
    """Which pieces of a text are spoken."""

    level: Literal["word", "sentence", "mixed"] = Field(
        "word",
        description="word: runs of five to ten words; sentence: what stands between punctuation "
        "marks; mixed: one of the two for each text",
    )
    words: float = Field(0.5, ge=0, le=1, description="share of texts at word level if mixed")
    share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="approximate share of the words; null: the paper's best, 0.3 at word level and "
        "0.4 at sentence level",
    )


class InsertSource(SpokenSource):
    """Text(t₁)* Speech(synthesised t₂) Text(t₃)* …."""

    task: Literal["insert"] = "insert"
    insert: InsertOptions = InsertOptions()
    passage: int = Field(
        600, gt=0, description="maximum bytes of text per example from a folder of text"
    )
    takes: int | None = Field(
        None,
        gt=0,
        description="number of different renderings of a text, which then repeat, so that "
        "'cache_frames' helps; null: a new one each time",
    )

    def build(self, data: Data, chat: Chat) -> Examples:
        """One example for each sentence, or each passage of a folder of text."""
        texts = data.passages(self.task, self.passage)
        voices = data.voices(self.voices)
        spoken = self.insert.share or max(SHARES.values())
        frames = chat.sample_rate / chat.frame_samples / CHARACTERS_PER_SECOND
        each = (1 - spoken) / CHARACTERS_PER_TOKEN + spoken * frames  # positions a character

        def item(i: int) -> Item:
            size = texts.size(i) if isinstance(texts, Passages) else len(texts[i])

            def make(rng: np.random.Generator) -> SpanSequence:
                return self._sequence(texts[i], chat, voices, rng)

            return Item(size * each + 1, make)

        return Examples(len(texts), self.weight, item)

    def _sequence(
        self, text: str, chat: Chat, voices: tuple[str, ...], rng: np.random.Generator
    ) -> SpanSequence:
        """One voice speaks all pieces of a text, as long as there is room for them."""
        if self.takes is not None:
            digest = hashlib.sha256(text.encode()).digest()
            rng = np.random.default_rng([*digest, int(rng.integers(self.takes))])
        drawn = python_rng(rng)
        level = self._level(drawn.random())
        pieces = select_spans(text, drawn, level, self.insert.share or SHARES[level])
        voice = voices[int(rng.integers(len(voices)))]
        left = LONGEST_SECONDS

        def speak(piece: str) -> Utterance | None:
            nonlocal left
            utterance = self.augmented(speak_at_random(piece, None, (voice,), rng), rng)
            if utterance.duration > left:
                return None
            left -= utterance.duration
            return replace(utterance, recorded=self.takes is not None)

        return insert_speech(pieces, speak, chat)

    def _level(self, drawn: float) -> Level:
        level = self.insert.level
        if level == "mixed":
            return "word" if drawn < self.insert.words else "sentence"
        return level
