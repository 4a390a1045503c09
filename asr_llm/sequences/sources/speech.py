"""Sources in which every sequence has speech: recordings, or text spoken on the fly."""

from __future__ import annotations

import functools
import random
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.pieces import LONGEST_SECONDS, cut_pieces
from asr_llm.corpus.recordings.shar import SharCuts
from asr_llm.corpus.speech.synthesis import Utterance, Word
from asr_llm.errors import DomainError, number_of
from asr_llm.sequences.examples import Examples, Item, python_rng
from asr_llm.sequences.sources.base import CHARACTERS_PER_TOKEN, PROMPT_TOKENS
from asr_llm.sequences.sources.data import Data, Folders
from asr_llm.sequences.sources.speaking import SpokenSource, speak_at_random
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut

CHARACTERS_PER_SECOND = 15.0


@dataclass(frozen=True)
class Unspoken:
    """An utterance that ``speak(rng)`` loads or speaks when its turn comes.

    ``text`` is its transcript, ``seconds`` its length, about.
    """

    text: str
    seconds: float
    speak: Callable[[np.random.Generator], Utterance]


class _Sharded(Sequence[Unspoken]):
    """The utterances of a Shar folder."""

    def __init__(self, cuts: SharCuts) -> None:
        self.cuts = cuts

    def __len__(self) -> int:
        return len(self.cuts)

    def __getitem__(self, i: int) -> Unspoken:  # type: ignore[override]
        listed = self.cuts[i]
        text = next((s.get("text") or "" for s in listed.get("supervisions") or ()), "")
        return Unspoken(text, listed["duration"], functools.partial(self._load, i))

    def _load(self, i: int, rng: np.random.Generator) -> Utterance:
        return load_utterance(self.cuts.load(i))


class SpeechSource(SpokenSource):
    """Examples made of utterances; a task says which, and what they look like."""

    speech: Literal["any", "recorded", "synthetic"] = Field(
        "any", description="recordings, text spoken, or recordings where there are any"
    )

    @field_validator("speech")
    @classmethod
    def _has_use_for_voices(cls, speech: str, info: ValidationInfo) -> str:
        if speech == "recorded" and info.data.get("voices") is not None:
            raise ValueError("any or synthetic beside 'voices': recordings have their own")
        return speech

    @property
    def needs_word_times(self) -> bool:
        """Whether it must be known when each word of a recording is said."""
        return False

    def found_in(self, data: Data) -> bool:
        """Whether a folder has recordings or, unless they are required, text."""
        recorded = self.speech != "synthetic" and data.has_recordings
        return recorded or (self.speech != "recorded" and data.has_text)

    def check(self, folders: Folders) -> None:
        """As ``BaseSource.check`` says: a domain folder must have the recordings."""
        data = folders.find(self.data)
        if data.folder is not None and not (self.optional or data.has_recordings):
            self._refuse_unrecorded(data)

    def _refuse_unrecorded(self, data: Data) -> None:
        if self.speech == "recorded":
            raise DomainError(
                f"{data.path}: no recordings for the {self.task!r} source; expected a manifest "
                f"and audio in {data.split}/, or leave out 'speech: recorded'"
            )

    def build(self, data: Data, chat: Chat) -> Examples:
        """Examples of the recordings or, where there are none, of the sentences."""
        if data.is_shar:
            return self._sharded(SharCuts(data.path), data, chat)
        # A manifest is never read aloud, whatever 'speech' says.
        skipped = data.folder is not None and self.speech == "synthetic"
        cuts = None if skipped else data.recordings()
        if cuts is None:
            self._refuse_unrecorded(data)
        return self._spoken(data, chat) if cuts is None else self._recorded(cuts, data, chat)

    @abstractmethod
    def of_utterances(self, utterances: Sequence[Unspoken], data: Data, chat: Chat) -> Examples:
        """The examples made of these utterances."""

    def utter(self, unspoken: Unspoken, rng: np.random.Generator) -> Utterance | None:
        """Load or speak an utterance, and vary it; None where it is too long then."""
        utterance = self.augmented(unspoken.speak(rng), rng)
        return utterance if utterance.duration <= LONGEST_SECONDS else None

    def heard(self, cuts: list[Cut], data: Data) -> list[Cut]:
        """The recordings with the additional information that the task needs."""
        return cuts

    def _recorded(self, cuts: CutSet, data: Data, chat: Chat) -> Examples:
        """Recordings, with long ones split; those without required word times are reported."""
        found: list[Cut] = []
        left_out: set[str] = set()
        for cut in cuts:
            pieces = cut_pieces(cut) if word_items(cut) or not self.needs_word_times else []
            found += pieces
            if not pieces:
                left_out.add(cut.id)
        if not found:
            raise DomainError(f"{self.data}: nothing to learn from: {untimed(left_out)}")
        utterances = [
            Unspoken(
                cut.supervisions[0].text or "",
                cut.duration,
                functools.partial(load_utterance, cut),
            )
            for cut in self.heard(found, data)
        ]
        made = self.of_utterances(utterances, data, chat)
        return replace(made, left_out=frozenset(left_out))

    def _sharded(self, cuts: SharCuts, data: Data, chat: Chat) -> Examples:
        """Recordings of which each is read when its turn comes."""
        self.refuse_shards(cuts, data)
        made = self.of_utterances(_Sharded(cuts), data, chat)
        return replace(made, shards=tuple(cuts.sizes))

    def refuse_shards(self, cuts: SharCuts, data: Data) -> None:
        """Refuse a Shar folder that lacks what the task needs.

        Raises:
            DomainError: it does; seen by its first cut.
        """

    def _spoken(self, data: Data, chat: Chat) -> Examples:
        """Text, synthesised when needed."""
        lines = data.sentences(self.task)
        voices = data.voices(self.voices)
        utterances = []
        for line in lines:
            speak = functools.partial(speak_at_random, line, data.spoken(line), voices)
            utterances.append(Unspoken(line, len(line) / CHARACTERS_PER_SECOND, speak))
        return self.of_utterances(utterances, data, chat)


class UtteranceSource(SpeechSource):
    """One example made of each utterance."""

    def of_utterances(self, utterances: Sequence[Unspoken], data: Data, chat: Chat) -> Examples:
        """An example for each."""
        frame = chat.frame_samples / chat.sample_rate

        def make(unspoken: Unspoken, rng: np.random.Generator) -> SpanSequence | None:
            utterance = self.utter(unspoken, rng)
            if utterance is None or (self.needs_word_times and not utterance.words):
                return None
            return self.sequence(utterance, chat, python_rng(rng))

        def item(i: int) -> Item:
            seconds = utterances[i].seconds
            cost = seconds / frame + seconds * CHARACTERS_PER_SECOND / CHARACTERS_PER_TOKEN
            return Item(cost + PROMPT_TOKENS, functools.partial(make, utterances[i]))

        return Examples(len(utterances), self.weight, item)

    @abstractmethod
    def sequence(self, utterance: Utterance, chat: Chat, rng: random.Random) -> SpanSequence | None:
        """The spans of one example; None where the utterance is unfit for the task."""


def untimed(left_out: Collection[str]) -> str:
    """Describe the recordings that were skipped."""
    return (
        f"left out {number_of(len(left_out), 'recording')} (the first: {min(left_out)}): "
        "it is not known when their words are said, as it must be to interleave them, or to cut "
        f"those longer than {LONGEST_SECONDS:g} s. Find out with: asr-llm align MANIFEST"
    )


def load_utterance(cut: Any, rng: np.random.Generator | None = None) -> Utterance:
    """Load a Lhotse cut with one supervision: samples, text, and words if aligned."""
    supervision = cut.supervisions[0]
    words = tuple(Word(a.symbol, a.start, a.start + a.duration) for a in word_items(cut))
    speaker = supervision.speaker or cut.id
    return Utterance(
        supervision.text or "",
        speaker,
        cut_audio(cut),
        words,
        recorded=True,
        first_pass=(supervision.custom or {}).get("first_pass"),
    )
