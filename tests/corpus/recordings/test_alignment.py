"""Forced alignment: by hand, and against every path there is."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.recordings.alignment import Alignment, Spelling, Unaligned, align, spell
from asr_llm.corpus.recordings.ctc_search import Backend
from asr_llm.corpus.speech.synthesis import Word
from asr_llm.errors import AsrLlmError

BLANK = 3
BACKENDS = [
    "viterbi",
    pytest.param(
        "k2",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("k2") is None, reason="k2 is not installed"
        ),
    ),
]


def emission(tokens: list[int], sure: float = 0.7) -> torch.Tensor:
    """A row for each frame: ``sure`` for its token, the rest shared by the other three."""
    rows = torch.full((len(tokens), 4), (1 - sure) / 3)
    rows[range(len(tokens)), tokens] = sure
    return rows.log()


def encode(words: list[str]) -> list[list[int]]:
    return [["abc".index(letter) for letter in word] for word in words]


def test_spelling_is_word_by_word_and_normalised() -> None:
    assert spell("Ab, — C!", encode) == Spelling(("Ab,", "—", "C!"), ((0, 1), (), (2,)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_words_by_hand(backend: Backend) -> None:
    # Frames of 0.1 s: a at 1, b at 2 and 3, c at 5; the dash is nowhere. Words end half-way.
    (found,) = align(
        [emission([3, 0, 1, 1, 3, 2, 3])], [spell("ab — c", encode)], BLANK, 0.1, backend
    )
    assert isinstance(found, Alignment)
    assert found.words == (Word("ab", 0.1, 0.45), Word("—", 0.45, 0.45), Word("c", 0.5, 0.65))
    assert found.confidence == pytest.approx(0.7)
    assert found.scores == (pytest.approx(0.7), None, pytest.approx(0.7))


def test_late_peaks_are_moved_forward_but_not_before_the_beginning() -> None:
    (found,) = align([emission([0, 3, 2])], [spell("a c", encode)], BLANK, 0.1, shift=0.03)
    assert isinstance(found, Alignment)
    assert found.words == (Word("a", 0.0, 0.12), Word("c", 0.17, 0.285))


def test_speech_missing_from_the_transcript() -> None:
    """Heard are a, b, c and c: "ab cc" accounts for all, "ab" for the half, "a" for one of four."""
    heard = emission([0, 3, 1, 3, 3, 2, 3, 2, 3, 3], 0.9)
    for text, covered in (("ab cc", 1.0), ("ab", 0.5), ("a", 0.25), ("abcc", 1.0)):
        (found,) = align([heard], [spell(text, encode)], BLANK, 0.1)
        assert isinstance(found, Alignment)
        assert found.covered == pytest.approx(covered), text
    (found,) = align([emission([3, 3, 3], 0.9)], [spell("a", encode)], BLANK, 0.1)
    assert isinstance(found, Alignment)
    assert found.covered is None


def test_spoken_forms_differ_from_spelling() -> None:
    assert spell("Ab 2", encode, said=["Ab", "ca"]).tokens == ((0, 1), (2, 0))
    assert spell("Ab 2", encode, said=["Ab", "ca"]).words == ("Ab", "2")


def test_confidence_is_the_geometric_mean_of_the_tokens() -> None:
    wrong = emission([0, 3, 1], sure=0.7)  # 'c' is said to be where 'b' was heard
    (found,) = align([wrong], [spell("a c", encode)], BLANK, 0.1)
    assert isinstance(found, Alignment)
    assert found.confidence == pytest.approx((0.7 * 0.1) ** 0.5)
    assert found.scores == pytest.approx((0.7, 0.1))  # and it is 'c' that does not fit


@pytest.mark.parametrize("backend", BACKENDS)
def test_utterances_of_different_lengths_do_not_disturb_each_other(backend: Backend) -> None:
    emissions = [emission([0, 3]), emission([3, 3, 1, 1, 3, 2]), emission([2])]
    spellings = [spell(text, encode) for text in ("a", "b c", "c")]
    together = align(emissions, spellings, BLANK, 0.1, backend)
    alone = [align([e], [s], BLANK, 0.1, backend)[0] for e, s in zip(emissions, spellings)]
    assert together == alone


def test_impossible_alignments_give_a_reason() -> None:
    emissions = [emission([0, 0])] * 3
    spellings = [spell(text, encode) for text in ("aa", "—", "ab")]
    doubled, empty, fits = align(emissions, spellings, BLANK, 0.1)
    assert doubled == Unaligned(
        "the transcript is too long for 0.2 s of audio (3 frames needed, 2 there): check that it "
        "belongs to this recording"
    )
    assert empty == Unaligned("the transcript has no words that the model can spell")
    assert isinstance(fits, Alignment)


@pytest.mark.skipif(importlib.util.find_spec("k2") is not None, reason="k2 is installed")
def test_k2_requested_but_missing() -> None:
    with pytest.raises(AsrLlmError, match="k2 is not installed; leave --backend out"):
        align([emission([0])], [spell("a", encode)], BLANK, 0.1, "k2")


def collapse(path: tuple[int, ...]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token != BLANK]


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 6), st.lists(st.integers(0, 2), min_size=1, max_size=3), st.integers(0, 99))
def test_no_path_is_better(num_frames: int, tokens: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(num_frames, 4, generator=generator).log_softmax(-1)
    (found,) = align([scores], [Spelling(("w",), (tuple(tokens),))], BLANK, 1.0)
    paths = [
        path for path in itertools.product(range(4), repeat=num_frames) if collapse(path) == tokens
    ]
    if not paths:
        assert isinstance(found, Unaligned)
        return
    best = max(paths, key=lambda path: sum(float(scores[t, x]) for t, x in enumerate(path)))
    spoken = [t for t, token in enumerate(best) if token != BLANK]
    assert isinstance(found, Alignment)
    rest = 0.1 if spoken[-1] + 1 < num_frames else 0.0
    assert found.words == (Word("w", spoken[0], spoken[-1] + 1 + rest),)
