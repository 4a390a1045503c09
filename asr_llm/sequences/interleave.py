"""Interleaves speech and text within an utterance: JSTIP (arXiv 2607.01733) and InSerter.

An utterance is split into units; every second unit stays speech while the others become text with
loss, so that one decoder learns to continue both. Pure functions throughout.

Legend: A speech, T text, ``*`` loss, N the leading token of segment level.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Literal

from asr_llm.corpus.speech.synthesis import Utterance, Word
from asr_llm.sequences.spans import SpanSequence, Speech, Text, num_frames, snap
from asr_llm.sequences.tasks import Chat

Units = list[tuple[Word, ...]]

_PUNCTUATION = re.compile(r"[.,;:!?…—][\"'”’)\]]*$")


def word_units(words: Iterable[Word]) -> Units:
    """One unit for each aligned word."""
    return [(word,) for word in words]


def segment_units(
    words: Iterable[Word], silence: float | None = 0.2, punctuation: bool = True
) -> Units:
    """Words up to a silence of the given length, or also up to a punctuation mark.

    Splitting at both is the paper's better variant: segments are shorter and more even.
    """
    units: Units = []
    before: Word | None = None
    for word in words:
        paused = before and silence is not None and word.start - before.end >= silence
        closed = before and punctuation and _PUNCTUATION.search(before.text)
        if before is None or paused or closed:
            units.append(())
        units[-1] += (word,)
        before = word
    return units


def interleave(
    utterance: Utterance,
    units: Units,
    chat: Chat,
    *,
    speech_first: bool,
    leading: str = "",
    sliced: bool = False,
) -> SpanSequence | None:
    """A₁ T₂* A₃ T₄* … Tₙ* or T₁* A₂ T₃* … Tₙ*.

    The last unit is always text: if it would be speech, it joins the text before it.

    Args:
        units: the utterance's words, in order and complete.
        speech_first: whether the first unit is speech.
        leading: precedes every unit except the first; distinguishes this task from plain ASR. None
            at word level.
        sliced: encode before splitting, as an ablation (``Speech.sliced``).

    Returns:
        The spans; None for fewer than two units or more units than encoder frames.
    """
    total = num_frames(utterance, chat.frame_samples)
    frame = chat.frame_samples / chat.sample_rate
    cuts = snap([unit[0].start for unit in units], total, frame)
    if cuts is None or len(units) < 2:
        return None
    spans: list[Text | Speech] = []
    for i, (unit, (start, end)) in enumerate(zip(units, pairwise(cuts))):
        if i and leading:
            spans.append(Text(leading))
        if (i % 2 == 0) == speech_first and i < len(units) - 1:
            said = _written(unit, first=True)
            spans.append(Speech(utterance, start, end, said, sliced))
        else:
            spans.append(Text(_written(unit, first=i == 0), loss=True))
    return *spans, Text(chat.end)


def _written(unit: tuple[Word, ...], first: bool) -> str:
    text = " ".join(word.text for word in unit)
    return text if first else f" {text}"


def select_spans(
    text: str,
    rng: random.Random,
    level: Literal["word", "sentence"] = "word",
    share: float = 0.3,
    shortest: int = 5,
) -> list[tuple[str, bool]]:
    """InSerter's selection (arXiv 2503.02769): which pieces of a text to speak.

    Args:
        level: speak random runs of ``shortest`` to twice as many words, or pieces that end in
            punctuation.
        share: approximate share of words to speak; the paper's best are 0.3 for words and 0.4 for
            sentences.

    Returns:
        (piece, whether it is spoken); joined by spaces they give the text. The last piece is never
        spoken, so that some text follows it.
    """
    pieces: list[list[str]] = [[]]
    length = rng.randint(shortest, 2 * shortest)
    for word in text.split():
        piece = pieces[-1]
        ended = bool(piece and _PUNCTUATION.search(piece[-1]))
        if len(piece) == length if level == "word" else ended:
            pieces.append([])
            length = rng.randint(shortest, 2 * shortest)
        pieces[-1].append(word)
    chosen: list[tuple[str, bool]] = []
    for i, piece in enumerate(pieces):
        spoken = i < len(pieces) - 1 and rng.random() < share
        if chosen and not spoken and not chosen[-1][1]:
            chosen[-1] = (f"{chosen[-1][0]} {' '.join(piece)}", False)
        else:
            chosen.append((" ".join(piece), spoken))
    return chosen


def insert_speech(
    pieces: list[tuple[str, bool]], speak: Callable[[str], Utterance | None], chat: Chat
) -> SpanSequence:
    """Text(t₁)* Speech(spoken t₂) Text(t₃)* …: the spoken pieces of a text in place of them.

    A piece that ``speak`` makes nothing of stays text.
    """
    spans: list[Text | Speech] = []
    for i, (piece, spoken) in enumerate(pieces):
        if spoken and (utterance := speak(piece)) is not None:
            frames = num_frames(utterance, chat.frame_samples)
            spans.append(Speech(utterance, 0, frames, piece))
        else:
            spans.append(Text(piece if i == 0 else f" {piece}", loss=True))
    return *spans, Text(chat.end)
