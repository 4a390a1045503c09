"""JSTIP (arXiv 2607.01733): speech and text alternate within an utterance."""

from __future__ import annotations

import functools
import random
from typing import Literal

from pydantic import Field

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.sequences.interleave import interleave, segment_units, word_units
from asr_llm.sequences.sources.speech import UtteranceSource
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat
from asr_llm.yaml_lines import Strict


class InterleaveOptions(Strict):
    """How an utterance is split into units that alternate between speech and text."""

    units: Literal["word", "segment", "mixed"] = "mixed"
    words: float = Field(0.5, ge=0, le=1, description="share of word level where units are mixed")
    silence: float | None = Field(
        0.2, gt=0, description="seconds of silence that end a segment; null: silence does not"
    )
    punctuation: bool = Field(True, description="whether punctuation ends a segment too")
    leading: str = Field(
        "\x1e",
        description="stands before each segment but the first; default: ASCII's record separator, "
        "which byte-level vocabularies hold and no text uses",
    )
    encode: Literal["splice", "slice"] = Field(
        "splice",
        description="cut the audio, then encode; or encode, then cut the frames, which lets the "
        "model hear the text units (an ablation)",
    )


class InterleaveSource(UtteranceSource):
    """Speech(A₁) Text(T₂)* Speech(A₃) Text(T₄)* …, or text first."""

    task: Literal["interleave"] = "interleave"
    interleave: InterleaveOptions = InterleaveOptions()

    @property
    def needs_word_times(self) -> bool:
        """Always: units are words, or runs of them."""
        return True

    def sequence(self, utterance: Utterance, chat: Chat, rng: random.Random) -> SpanSequence | None:
        """Word or segment level, speech or text first: drawn anew for each sequence."""
        options = self.interleave
        build = functools.partial(
            interleave,
            utterance,
            chat=chat,
            speech_first=rng.random() < 0.5,
            sliced=options.encode == "slice",
        )
        drawn = "word" if rng.random() < options.words else "segment"
        if (drawn if options.units == "mixed" else options.units) == "segment":
            units = segment_units(utterance.words, options.silence, options.punctuation)
            # A single segment cannot alternate.
            if len(units) > 1 or options.units == "segment":
                return build(units, leading=options.leading)
        return build(word_units(utterance.words))
