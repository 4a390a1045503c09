"""Multi-task behaviour imitation (arXiv 2505.18644): speech is answered as its transcript is."""

from __future__ import annotations

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from asr_llm.corpus.recordings.shar import SharCuts
from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import DomainError, RecipeError
from asr_llm.sequences.answers import AnswerOptions, Judged, unfit
from asr_llm.sequences.examples import Examples, Item, python_rng
from asr_llm.sequences.interleave import interleave, segment_units
from asr_llm.sequences.sources.base import CHARACTERS_PER_TOKEN, PROMPT_TOKENS
from asr_llm.sequences.sources.data import Data
from asr_llm.sequences.sources.speech import CHARACTERS_PER_SECOND, SpeechSource, Unspoken
from asr_llm.sequences.spans import SpanSequence, Speech, Text, num_frames
from asr_llm.sequences.tasks import Chat

TEXT = "{text}"
PROMPTS = {
    "continuation": "Continue this text: {text}",
    "summary": "{text}\n\nSummarize the text above in one short sentence.",
    "question": "{text}\n\nWhat is the text above about? Answer in a few words.",
    "intent": "{text}\n\nWhat does the speaker want? Answer in one short sentence.",
    "keywords": "{text}\n\nList the most important words of the text above.",
    "translation": "Translate into French: {text}",
}


class Asked(NamedTuple):
    """An utterance with one of the prompts, and what the teacher answered."""

    unspoken: Unspoken
    prompt: str
    answer: str


class ImitateSource(SpeechSource):
    """Text(prompt) Speech(A) Text(the LLM's answer to the prompt and the transcript)*."""

    task: Literal["imitate"] = "imitate"
    prompts: dict[str, str] = Field(
        default_factory=lambda: dict(PROMPTS),
        min_length=1,
        description="prompts by name; {text} marks the place of the transcript, or of the speech",
    )
    each: int = Field(1, gt=0, description="number of prompts per utterance")
    answer: AnswerOptions = AnswerOptions()
    teacher: str | None = Field(
        None,
        description="the checkpoint whose LLM answers; null: the model "
        "in training, as it was before",
    )
    interleaved: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of examples in which speech segments alternate with text",
    )
    kl: float = Field(
        0.0,
        ge=0,
        description="weight of the divergence from the teacher's distribution, beside the "
        "cross-entropy on its tokens",
    )

    @field_validator("prompts")
    @classmethod
    def _hold_the_text(cls, prompts: dict[str, str]) -> dict[str, str]:
        for name, prompt in prompts.items():
            if prompt.count(TEXT) != 1:
                raise ValueError(f"{TEXT} once in the prompt {name!r}, where the speech stands")
        return prompts

    @field_validator("kl")
    @classmethod
    def _is_of_this_llm(cls, kl: float, info: ValidationInfo) -> float:
        if kl and info.data.get("teacher") is not None:
            raise ValueError("0 beside 'teacher': only the model's own LLM tells its distribution")
        return kl

    @property
    def needs_word_times(self) -> bool:
        """Where segments alternate with text."""
        return self.interleaved > 0

    def of_utterances(self, utterances: Sequence[Unspoken], data: Data, chat: Chat) -> Examples:
        """An example for each answer that is fit to be learned.

        Raises:
            DomainError: none is.
            RecipeError: there is nobody to ask.
        """
        if data.teach is None:
            raise RecipeError("the task 'imitate' needs an LLM to ask; train with it")
        asked = [(name, one) for one in utterances for name in self._names(one.text)]
        messages = [_message(self.prompts[name], one.text, chat) for name, one in asked]
        answers = data.teach(messages, self.answer, self.teacher)
        judged = Judged(self.data, Counter(), Counter(), Counter())
        kept: list[Asked] = []
        for (name, one), answer in zip(asked, answers, strict=True):
            judged.asked[name] += 1
            reason = unfit(answer.removesuffix(chat.end), one.text)
            if reason is None:
                judged.kept[name] += 1
                kept.append(Asked(one, self.prompts[name], answer))
            else:
                judged.unfit[reason] += 1
        if not kept:
            raise DomainError(
                f"{judged}; expected some to learn from: change 'prompts', or name a "
                "'teacher' whose LLM follows instructions"
            )
        return self._of(kept, judged, chat)

    def refuse_shards(self, cuts: SharCuts, data: Data) -> None:
        """As ``SpeechSource.refuse_shards`` says: answers are written before training."""
        raise DomainError(
            f"{data.path}: a Shar folder, which is read shard by shard, but the answers to all its "
            "transcripts are needed before training; expected a manifest for 'imitate'"
        )

    def _of(self, kept: list[Asked], judged: Judged, chat: Chat) -> Examples:
        frame = chat.frame_samples / chat.sample_rate

        def item(i: int) -> Item:
            unspoken, prompt, answer = kept[i]
            seconds, written = unspoken.seconds, len(prompt) + len(answer)
            cost = seconds / frame + written / CHARACTERS_PER_TOKEN + PROMPT_TOKENS
            if self.kl:  # read once more
                cost += (written + seconds * CHARACTERS_PER_SECOND) / CHARACTERS_PER_TOKEN
            return Item(cost, functools.partial(self._sequence, kept[i], chat))

        return Examples(len(kept), self.weight, item, judged=judged)

    def _names(self, text: str) -> list[str]:
        """Which prompts a text is asked: drawn by the text itself, so that answers are kept."""
        drawn = random.Random(hashlib.sha256(text.encode()).digest())
        return drawn.sample(list(self.prompts), min(self.each, len(self.prompts)))

    def _sequence(self, asked: Asked, chat: Chat, rng: np.random.Generator) -> SpanSequence | None:
        utterance = self.utter(asked.unspoken, rng)
        if utterance is None:
            return None
        head, tail = _around(asked.prompt, chat)
        said = self._said(utterance, chat, python_rng(rng))
        return Text(head), *said, Text(tail), Text(asked.answer, loss=True, kl=self.kl)

    def _said(self, utterance: Utterance, chat: Chat, rng: random.Random) -> SpanSequence:
        """The speech, or its segments by turns as speech and as text; the last is text."""
        if rng.random() < self.interleaved:
            units = segment_units(utterance.words)
            first = len(units) < 3 or rng.random() < 0.5  # of two segments the second is text
            spans = interleave(utterance, units, chat, speech_first=first)
            if spans is not None:  # else there is one segment
                return tuple(
                    Text(span.text) if isinstance(span, Text) else span for span in spans[:-1]
                )
        return (Speech(utterance, 0, num_frames(utterance, chat.frame_samples)),)


def _around(prompt: str, chat: Chat) -> tuple[str, str]:
    head, tail = prompt.split(TEXT)
    return chat.before + head, tail + chat.after


def _message(prompt: str, text: str, chat: Chat) -> str:
    head, tail = _around(prompt, chat)
    return head + text + tail
