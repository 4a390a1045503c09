"""Long recordings and texts in pieces: by hand, and what holds of all."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from lhotse.cut import Cut

from asr_llm.corpus.recordings.alignment import alignment_items
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.recordings.pieces import cut_pieces, text_pieces, word_runs
from asr_llm.corpus.speech.synthesis import Word


def timed(*times: tuple[float, float]) -> list[Word]:
    return [Word(f"w{i}", start, end) for i, (start, end) in enumerate(times)]


def test_sentences_stay_together_while_they_fit() -> None:
    text = "One two. Three four? Five six seven eight nine ten."
    assert text_pieces(text, 20) == ["One two. Three four?", "Five six seven eight", "nine ten."]
    assert text_pieces(text, 19) == ["One two.", "Three four?", "Five six seven", "eight nine ten."]
    assert text_pieces("At 2.5 mg it is", 30) == ["At 2.5 mg it is"]
    assert text_pieces("incomprehensibilities", 5) == ["incomprehensibilities"]


@given(st.lists(st.text("ab.?-", min_size=1, max_size=8), min_size=1, max_size=30))
def test_pieces_of_a_text_are_the_text(words: list[str]) -> None:
    pieces = text_pieces(" ".join(words), 12)
    assert " ".join(pieces).split() == words
    assert all(len(piece) <= 12 for piece in pieces)


def test_runs_end_at_the_longest_late_pause() -> None:
    # Up to 10 s; the pauses at 2 (1 s, too early), 7.5 (0.2 s) and 9 (0.5 s).
    words = timed((0, 2), (3, 7.5), (7.7, 9), (9.5, 10), (10.1, 12))
    assert word_runs(words, 10) == [(0, 3), (3, 5)]
    assert word_runs(words, 12) == [(0, 5)]


def test_without_a_late_pause_a_run_has_the_maximum_length() -> None:
    assert word_runs(timed((0, 1), (1, 5), (5, 14)), 9) == [(0, 2), (2, 3)]


def test_a_word_longer_than_the_limit_is_in_no_run() -> None:
    assert word_runs(timed((0, 1), (1, 9), (9, 10)), 5) == [(0, 1), (2, 3)]
    assert word_runs([], 5) == []


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=25), st.integers(1, 60))
def test_runs_hold_every_word_that_fits_once_and_in_order(
    steps: list[tuple[int, int]], longest: int
) -> None:
    words: list[Word] = []
    at = 0
    for pause, length in steps:
        words.append(Word("w", float(at + pause), float(at + pause + length)))
        at += pause + length
    runs = word_runs(words, longest)
    held = [i for first, after in runs for i in range(first, after)]
    fits = [i for i, word in enumerate(words) if word.end - word.start <= longest]
    assert held == fits
    assert all(words[after - 1].end - words[first].start <= longest for first, after in runs)
    assert all(a[1] <= b[0] for a, b in pairwise(runs))


@pytest.fixture
def recording(tmp_path: Path) -> Cut:
    """Ten seconds; each sample tells its own place. Three words, a second of pause in between."""
    samples = np.arange(160000, dtype=np.float32) / 160000
    soundfile.write(tmp_path / "talk.wav", samples, 16000, subtype="FLOAT")
    (tmp_path / "trans.txt").write_text("talk.wav\tGood — morning, all.\n", "utf-8")
    (cut,) = read_manifest(tmp_path / "trans.txt")
    words = [Word("Good", 1, 4), Word("—", 4, 4), Word("morning,", 5, 7), Word("all.", 7.2, 9)]
    cut.supervisions[0].alignment = {"word": alignment_items(words, [0.9, None, 0.8, 0.7])}
    return cut


def test_a_long_recording_is_cut_in_its_pauses(recording: Cut) -> None:
    first, second, third = cut_pieces(recording, 4.0)
    assert [piece.id for piece in (first, second, third)] == ["talk-1", "talk-2", "talk-3"]
    assert [piece.supervisions[0].text for piece in (first, second, third)] == [
        "Good —", "morning,", "all.",
    ]  # fmt: skip
    # A quarter of a second on either side, or half of the pause.
    for piece, start, end in ((first, 0.75, 4.25), (second, 4.75, 7.1), (third, 7.1, 9.25)):
        heard = cut_audio(piece)
        assert len(heard) == pytest.approx((end - start) * 16000, abs=2)
        assert heard[0] == pytest.approx(start / 10, abs=1e-4)
    (supervision,) = second.supervisions
    assert supervision.duration == second.duration
    (word,) = supervision.alignment["word"]
    assert (word.symbol, word.start, word.duration, word.score) == (
        "morning,", pytest.approx(0.25), pytest.approx(2.0), 0.8,
    )  # fmt: skip


def test_short_recordings_stay_whole_and_untimed_long_ones_are_dropped(recording: Cut) -> None:
    assert cut_pieces(recording, 10.0) == [recording]
    recording.supervisions[0].alignment = None
    assert cut_pieces(recording, 10.0) == [recording]
    assert cut_pieces(recording, 9.0) == []


def test_pieces_inherit_metadata_except_the_first_pass(
    recording: Cut,
) -> None:
    recording.supervisions[0].custom = {"first_pass": "good morning", "site": 3}
    assert [piece.supervisions[0].custom for piece in cut_pieces(recording, 4.0)] == [
        {"site": 3}
    ] * 3
    assert cut_pieces(recording, 10.0)[0].supervisions[0].custom["first_pass"] == "good morning"
