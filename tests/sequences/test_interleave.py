"""Interleaving: the paper's layouts by hand, and what holds of every sequence."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.speech.synthesis import Utterance, Word
from asr_llm.sequences.interleave import (
    Units,
    insert_speech,
    interleave,
    segment_units,
    select_spans,
    word_units,
)
from asr_llm.sequences.spans import Speech, Text, num_frames
from asr_llm.sequences.tasks import Chat

CHAT = Chat("<u>", "</u><a>", "</a>", frame_samples=1280, sample_rate=16000)
# Frames of 0.08 s; word starts at 0, 0.25 / 0.08 = 3.1, 0.56 / 0.08 = 7 and 0.96 / 0.08 = 12.
WORDS = (
    Word("The", 0.1, 0.24),
    Word("CPAP,", 0.25, 0.5),
    Word("please,", 0.56, 0.7),
    Word("now.", 0.96, 1.2),
)
SPEECH = Utterance("The CPAP, please, now.", "ann", np.ones(1280 * 16, np.float32), WORDS)


def speech(start: int, end: int, text: str) -> Speech:
    return Speech(SPEECH, start, end, text)


def test_words_speech_first() -> None:
    assert interleave(SPEECH, word_units(WORDS), CHAT, speech_first=True) == (
        speech(0, 3, "The"),
        Text(" CPAP,", loss=True),
        speech(7, 12, "please,"),
        Text(" now.", loss=True),
        Text("</a>"),
    )


def test_words_text_first_end_in_text_all_the_same() -> None:
    assert interleave(SPEECH, word_units(WORDS), CHAT, speech_first=False) == (
        Text("The", loss=True),
        speech(3, 7, "CPAP,"),
        Text(" please,", loss=True),
        Text(" now.", loss=True),
        Text("</a>"),
    )


def test_segments_have_a_leading_token_between_them() -> None:
    units = segment_units(WORDS, silence=0.2, punctuation=True)
    assert interleave(SPEECH, units, CHAT, speech_first=True, leading="<N>") == (
        speech(0, 7, "The CPAP,"),
        Text("<N>"),
        Text(" please,", loss=True),
        Text("<N>"),
        Text(" now.", loss=True),
        Text("</a>"),
    )


@pytest.mark.parametrize(
    ("silence", "punctuation", "texts"),
    [
        (0.2, False, ["The CPAP, please,", "now."]),  # 0.96 - 0.7 = 0.26 s
        (0.3, False, ["The CPAP, please, now."]),
        (None, True, ["The CPAP,", "please,", "now."]),
        (0.05, True, ["The CPAP,", "please,", "now."]),
        (None, False, ["The CPAP, please, now."]),
    ],
)
def test_segments_by_hand(silence: float | None, punctuation: bool, texts: list[str]) -> None:
    units = segment_units(WORDS, silence, punctuation)
    assert [" ".join(word.text for word in unit) for unit in units] == texts


def test_closing_quotes_belong_to_the_punctuation() -> None:
    words = [Word("yes.”", 0, 1), Word("(no)", 1, 2), Word("3.5", 2, 3)]
    assert [len(unit) for unit in segment_units(words, None)] == [1, 2]


def test_nothing_to_alternate() -> None:
    assert interleave(SPEECH, [WORDS], CHAT, speech_first=True) is None
    assert interleave(SPEECH, [], CHAT, speech_first=True) is None
    short = Utterance("a b c", "ann", np.ones(1280 * 2, np.float32))
    words = [Word(text, 0, 0.1) for text in "abc"]
    assert interleave(short, word_units(words), CHAT, speech_first=True) is None


@st.composite
def spoken(draw: st.DrawFn) -> Utterance:
    text = st.text("abc,.", min_size=1, max_size=6)
    words, now = [], 0.0
    for _ in range(draw(st.integers(1, 20))):
        start = now + draw(st.floats(0, 0.5))
        now = start + draw(st.floats(0, 0.5))
        words.append(Word(draw(text), start, now))
    count = int(16000 * (now + draw(st.floats(0, 1)))) + 1
    written = " ".join(word.text for word in words)
    return Utterance(written, "x", np.zeros(count, np.float32), tuple(words))


@given(
    spoken(),
    st.sampled_from(["word", "segment"]),
    st.one_of(st.none(), st.floats(0.01, 0.5)),
    st.booleans(),
    st.booleans(),
)
def test_speech_and_text_cover_the_utterance_once_and_in_order(
    utterance: Utterance,
    level: str,
    silence: float | None,
    punctuation: bool,
    speech_first: bool,
) -> None:
    units: Units = (
        word_units(utterance.words)
        if level == "word"
        else segment_units(utterance.words, silence, punctuation)
    )
    assert [word for unit in units for word in unit] == list(utterance.words)
    sequence = interleave(utterance, units, CHAT, speech_first=speech_first, leading="<N>")
    frames = num_frames(utterance, CHAT.frame_samples)
    if sequence is None:
        assert len(units) < 2 or len(units) > frames
        return
    body = [span for span in sequence if span not in (Text("<N>"), Text("</a>"))]
    # One span for each unit, each speech or text, in order; the words come back.
    assert len(body) == len(units)
    said = [(span.text or "").strip() for span in body]
    assert " ".join(said) == " ".join(utterance.text.split())
    # Loss exactly on the units of text; the last is text.
    last = sequence[-2]
    assert isinstance(last, Text) and last.loss
    assert all(span.loss for span in body if isinstance(span, Text))
    # Speech lies on the frame grid, in order, in whole frames, and never under text.
    heard = [span for span in body if isinstance(span, Speech)]
    assert all(0 <= span.start < span.end <= frames for span in heard)
    assert all(a.end < b.start for a, b in pairwise(heard))
    kinds = [isinstance(span, Speech) for span in body]
    assert kinds == [(i % 2 == 0) == speech_first for i in range(len(kinds) - 1)] + [False]


@given(
    st.lists(st.text("ab,.", min_size=1, max_size=5), max_size=60).map(" ".join),
    st.sampled_from(["word", "sentence"]),
    st.floats(0.05, 1),
    st.integers(0, 1000),
)
def test_selected_spans_are_the_text(
    text: str, level: Literal["word", "sentence"], share: float, seed: int
) -> None:
    pieces = select_spans(text, random.Random(seed), level, share)
    assert " ".join(piece for piece, _ in pieces) == " ".join(text.split())
    assert not pieces[-1][1]
    for piece, spoken in pieces:
        if spoken and level == "word":
            assert 5 <= len(piece.split()) <= 10
        if spoken and level == "sentence":
            assert piece[-1] in ",."


def test_the_share_of_words_spoken() -> None:
    text = " ".join("w" for _ in range(30_000))
    spoken = sum(len(piece.split()) for piece, on in select_spans(text, random.Random(1)) if on)
    assert 0.28 < spoken / 30_000 < 0.32


def test_spoken_pieces_take_the_place_of_their_text() -> None:
    def speak(text: str) -> Utterance:
        return Utterance(text, "x", np.zeros(1280 * len(text.split()), np.float32))

    pieces = [("Take this", False), ("twice a day", True), ("with food.", False)]
    text, heard, rest, end = insert_speech(pieces, speak, CHAT)
    assert (text, rest, end) == (Text("Take this", True), Text(" with food.", True), Text("</a>"))
    assert isinstance(heard, Speech)
    assert (heard.start, heard.end, heard.text) == (0, 3, "twice a day")
