"""What is decoded again, and what is told."""

from __future__ import annotations

from typing import Any

import numpy as np

from asr_llm.corpus.audio import SAMPLE_RATE, Samples
from asr_llm.model.decoding import Decoded
from asr_llm.transcription.guards import decode_checked, told
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


def test_a_good_text_is_kept() -> None:
    asked, decode = decoding(Decoded("yes"))
    assert decode_checked(decode, [LONG]) == [(Decoded("yes"), ())]
    assert len(asked) == 1


def test_no_text_is_told() -> None:
    _, decode = decoding(Decoded(""))
    assert decode_checked(decode, [LONG]) == [(Decoded(""), (Guard("empty", "kept"),))]


def test_a_loop_is_decoded_again_in_parts() -> None:
    loop = Decoded("yes", loop_cut=True)
    asked, decode = decoding(loop, Decoded("we"), Decoded(""), Decoded("went"))
    done = decode_checked(decode, [LONG])
    assert done == [(Decoded("we went"), (Guard("repetition", "decoded again"),))]
    assert sum(asked[1]) == len(LONG) and max(asked[1]) <= 2 * len(LONG) / 3


def test_a_loop_that_stays_is_cut() -> None:
    loop = Decoded("yes", loop_cut=True)
    _, decode = decoding(loop, Decoded("we"), loop)
    assert decode_checked(decode, [LONG]) == [(loop, (Guard("repetition", "cut"),))]


def test_a_short_one_is_not_decoded_again() -> None:
    asked, decode = decoding(Decoded("a", complete=False))
    assert decode_checked(decode, [SHORT]) == [
        (Decoded("a", complete=False), (Guard("limit", "kept"),))
    ]
    assert len(asked) == 1


def test_what_a_reader_is_told() -> None:
    assert told(Guard("empty", "kept")) == "the model heard no words"
    assert told(Guard("limit", "kept")) == (
        "the model reached its limit of tokens, words may be missing"
    )
    assert told(Guard("repetition", "decoded again")) == (
        "the model repeated itself, decoded again in parts"
    )
