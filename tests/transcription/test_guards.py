"""What is decoded again, and what is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asr_llm.corpus.audio import SAMPLE_RATE, Samples
from asr_llm.model.decoding import Decoded
from asr_llm.transcription.guards import decode_checked, is_chat, told
from asr_llm.transcription.transcript import Guard

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


def test_a_good_text_is_kept() -> None:
    asked, decode = decoding(Decoded("yes"))
    assert decode_checked(decode, unheard, [LONG]) == [(Decoded("yes"), ())]
    assert len(asked) == 1


def test_no_text_is_told() -> None:
    _, decode = decoding(Decoded(""))
    assert decode_checked(decode, unheard, [LONG]) == [(Decoded(""), (Guard("empty", "kept"),))]


def test_a_loop_is_decoded_again_in_parts() -> None:
    loop = Decoded("yes", loop_cut=True)
    asked, decode = decoding(loop, Decoded("we"), Decoded(""), Decoded("went"))
    done = decode_checked(decode, unheard, [LONG])
    assert done == [(Decoded("we went"), (Guard("repetition", "decoded again"),))]
    assert sum(asked[1]) == len(LONG) and max(asked[1]) <= 2 * len(LONG) / 3


def test_a_loop_that_stays_is_cut() -> None:
    loop = Decoded("yes", loop_cut=True)
    _, decode = decoding(loop, Decoded("we"), loop)
    assert decode_checked(decode, unheard, [LONG]) == [(loop, (Guard("repetition", "cut"),))]


def test_a_short_one_is_not_decoded_again() -> None:
    asked, decode = decoding(Decoded("a", complete=False))
    assert decode_checked(decode, unheard, [SHORT]) == [
        (Decoded("a", complete=False), (Guard("limit", "kept"),))
    ]
    assert len(asked) == 1


CHAT = Decoded("I'm sorry, but I can't transcribe this.")


def test_talk_is_decoded_again_or_dropped() -> None:
    _, decode = decoding(CHAT, Decoded("we"), Decoded("went"))
    assert decode_checked(decode, unheard, [LONG]) == [
        (Decoded("we went"), (Guard("chat", "decoded again"),))
    ]
    _, decode = decoding(CHAT, Decoded("we"), CHAT)
    assert decode_checked(decode, unheard, [LONG]) == [(Decoded(""), (Guard("chat", "dropped"),))]


def test_who_says_such_words_is_taken_at_them() -> None:
    _, decode = decoding(CHAT)
    assert decode_checked(decode, lambda samples, text: 2.0, [LONG]) == [(CHAT, ())]


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
def test_what_sounds_like_talk(text: str, chat: bool) -> None:
    assert is_chat(unheard, LONG, text) == chat


def test_what_a_reader_is_told() -> None:
    assert told(Guard("empty", "kept")) == "the model heard no words"
    assert told(Guard("limit", "kept")) == (
        "the model reached its limit of tokens, words may be missing"
    )
    assert told(Guard("repetition", "decoded again")) == (
        "the model repeated itself, decoded again in parts"
    )
