"""What is decoded again, and what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, Samples
from asr_llm.decoding.guards import Attempt, Support, describe_guard, is_chat, repaired
from asr_llm.decoding.results import Decoded, Guard

LONG = np.ones(6 * SAMPLE_RATE, np.float32)
SHORT = np.ones(2 * SAMPLE_RATE, np.float32)


def decoding(whole: Decoded, *parts: Decoded) -> tuple[list[list[int]], Any]:
    """A decoder that answers so, and the lengths it was asked for."""
    asked: list[list[int]] = []

    def decode(audios: list[Samples]) -> list[Decoded]:
        asked.append([len(a) for a in audios])
        return [whole] if len(asked) == 1 else list(parts)

    return asked, decode


def unheard(samples: Samples, text: str) -> float:
    """No audio accounts for any text."""
    return 0.0


def decode_checked(
    decode: Attempt, support: Support, audios: list[Samples], heard_alone: Attempt | None = None
) -> list[Decoded]:
    """The first attempt, repaired."""
    return repaired(audios, decode(audios), decode, support, heard_alone)


def test_a_good_text_is_kept() -> None:
    asked, decode = decoding(Decoded("yes"))
    assert decode_checked(decode, unheard, [LONG]) == [Decoded("yes")]
    assert len(asked) == 1


def test_empty_text_is_reported() -> None:
    _, decode = decoding(Decoded(""))
    assert decode_checked(decode, unheard, [LONG]) == [
        Decoded("", guards=(Guard("empty", "kept"),))
    ]


def test_a_loop_is_decoded_again_in_parts() -> None:
    loop = Decoded("yes", loop_cut=True)
    asked, decode = decoding(loop, Decoded("we"), Decoded(""), Decoded("went"))
    done = decode_checked(decode, unheard, [LONG])
    assert done == [Decoded("we went", guards=(Guard("repetition", "decoded again"),))]
    assert sum(asked[1]) == len(LONG) and max(asked[1]) <= 2 * len(LONG) / 3


def test_a_text_that_stops_early_is_decoded_again_in_parts() -> None:
    early = Decoded("we", early=True)
    _, decode = decoding(early, Decoded("we went"), Decoded("home again"))
    assert decode_checked(decode, unheard, [LONG]) == [
        Decoded("we went home again", guards=(Guard("early", "decoded again"),))
    ]
    # A part that stops early too is told of; the longer text is kept.
    _, decode = decoding(early, Decoded("we went"), replace(early, text="home"))
    assert decode_checked(decode, unheard, [LONG]) == [
        Decoded("we went home", guards=(Guard("early", "kept"),))
    ]
    told = "the model stopped before the speaker did, words may be missing"
    assert describe_guard(Guard("early", "kept")) == told


def test_a_loop_that_stays_is_cut() -> None:
    loop = Decoded("yes", loop_cut=True)
    _, decode = decoding(loop, Decoded("we"), loop)
    assert decode_checked(decode, unheard, [LONG]) == [
        replace(loop, guards=(Guard("repetition", "cut"),))
    ]


def test_a_short_one_is_not_decoded_again() -> None:
    asked, decode = decoding(Decoded("a", complete=False))
    assert decode_checked(decode, unheard, [SHORT]) == [
        Decoded("a", complete=False, guards=(Guard("limit", "kept"),))
    ]
    assert len(asked) == 1


LOOP = Decoded("in Marchetti Point Marchetti Point-", complete=False)


def test_loops_of_preferred_phrases_are_decoded_without_preferences() -> None:
    asked, hear = decoding(Decoded("in March"))
    _, decode = decoding(LOOP)
    done = decode_checked(decode, unheard, [SHORT], hear)
    assert done == [Decoded("in March", guards=(Guard("limit", "heard alone"),))]
    assert asked == [[len(SHORT)]]


def test_good_parts_keep_fusion_and_biasing() -> None:
    asked, hear = decoding(Decoded("in March"))
    _, decode = decoding(LOOP, Decoded("Marchetti Point"), LOOP, Decoded("it was"))
    (decoded,) = decode_checked(decode, unheard, [LONG], hear)
    assert decoded.text == "Marchetti Point in March it was"
    assert decoded.guards == (Guard("limit", "heard alone"),)
    assert len(asked[0]) == 1 and asked[0][0] < len(LONG)


def test_preferences_stay_on_if_the_text_or_its_parts_are_good() -> None:
    asked, hear = decoding(Decoded("never"))
    _, decode = decoding(LOOP, Decoded("in"), Decoded("March"))
    (again,) = decode_checked(decode, unheard, [LONG], hear)
    assert again.guards == (Guard("limit", "decoded again"),)
    _, decode = decoding(Decoded("yes"))
    assert decode_checked(decode, unheard, [LONG], hear) == [Decoded("yes")]
    assert not asked


def test_a_model_that_loses_its_way_without_preferences_too_keeps_its_first_text() -> None:
    _, hear = decoding(Decoded("worse", loop_cut=True))
    _, decode = decoding(LOOP)
    assert decode_checked(decode, unheard, [SHORT], hear) == [
        replace(LOOP, guards=(Guard("limit", "kept"),))
    ]


CHAT = Decoded("I'm sorry, but I can't transcribe this.")


def test_talk_is_decoded_again_or_dropped() -> None:
    _, decode = decoding(CHAT, Decoded("we"), Decoded("went"))
    assert decode_checked(decode, unheard, [LONG]) == [
        Decoded("we went", guards=(Guard("chat", "decoded again"),))
    ]
    _, decode = decoding(CHAT, Decoded("we"), CHAT)
    assert decode_checked(decode, unheard, [LONG]) == [
        Decoded("", guards=(Guard("chat", "dropped"),))
    ]


def test_dictated_chat_is_transcribed() -> None:
    _, decode = decoding(CHAT)
    assert decode_checked(decode, lambda samples, text: 2.0, [LONG]) == [CHAT]


@pytest.mark.parametrize(
    ("text", "chat"),
    [
        ("Sure, here is the transcription:", True),
        ("As an AI, I cannot listen.", True),
        ("The audio is silent.", True),
        ("Here's what was said", True),
        ("The patient is sorry.", False),
        ("Surely not.", False),
        ("I am here.", False),
    ],
)
def test_chat_phrases(text: str, chat: bool) -> None:
    assert is_chat(unheard, LONG, text) == chat


def test_guard_descriptions() -> None:
    assert describe_guard(Guard("empty", "kept")) == "the model recognised no words"
    assert describe_guard(Guard("limit", "kept")) == (
        "the model reached its token limit, words may be missing"
    )
    assert describe_guard(Guard("repetition", "decoded again")) == (
        "the model repeated itself, decoded again in parts"
    )
    assert describe_guard(Guard("limit", "heard alone")) == (
        "the model reached its token limit, decoded again without biasing lists and text adapters"
    )
