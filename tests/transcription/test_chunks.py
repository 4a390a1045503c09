"""Where long audio is cut, worked out by hand and for any audio."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.transcription.chunks import Chunk, Cut, chunks, next_cut
from asr_llm.transcription.vad import FRAME

# Frames of 32 ms: 0.2 s are 6, 0.1 s are 3, 1 s is 31, 2 s are 62, 4 s are 125.


def heard(*runs: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(n, p, np.float32) for p, n in runs])


def test_silence_is_passed_over() -> None:
    assert next_cut(heard((0.0, 100)), 200, 31) == Cut(0, 0, 100)
    # Speech that begins with the next frame has a little before it.
    assert next_cut(heard((0.0, 100)), 200, 31, last=False) == Cut(0, 0, 94)
    assert next_cut(heard((0.0, 6)), 200, 31, last=False) is None


def test_a_chunk_ends_at_a_long_pause() -> None:
    some = heard((0.1, 20), (0.9, 50), (0.1, 31), (0.9, 50))
    assert next_cut(some, 200, 31) == Cut(14, 76, 76)
    assert next_cut(some[: 20 + 50 + 31], 200, 31, last=False) == Cut(14, 76, 76)
    assert next_cut(some[: 20 + 50 + 30], 200, 31, last=False) is None
    assert next_cut(some[76:], 200, 31) == Cut(19, 75, 75)


def test_a_short_pause_is_no_end() -> None:
    some = heard((0.9, 50), (0.1, 30), (0.9, 50))
    assert next_cut(some, 200, 31) == Cut(0, 130, 130)


def test_what_follows_the_last_word_is_left_out() -> None:
    assert next_cut(heard((0.9, 50), (0.1, 20)), 200, 31) == Cut(0, 56, 70)


def test_a_full_chunk_is_cut_at_the_longest_of_its_later_pauses() -> None:
    some = heard((0.9, 40), (0.1, 20), (0.9, 60), (0.1, 4), (0.9, 26), (0.1, 10), (0.9, 60))
    # 40 + 20: a longer pause, but in the first half; 150 to 160: the longest after.
    assert next_cut(some, 170, 31) == Cut(0, 155, 155)


def test_without_a_pause_chunks_overlap() -> None:
    some = heard((0.9, 300))
    assert next_cut(some, 200, 31) == Cut(0, 200, 138)
    # The rest of it begins in the middle of speech.
    assert next_cut(some[138:], 200, 31, overlap=62) == Cut(0, 162, 162)
    # A pause of less than a tenth of a second is none.
    some[150:152] = 0
    assert next_cut(some, 200, 31) == Cut(0, 200, 138)


def test_an_overlap_with_nothing_behind_it_is_dropped() -> None:
    some = heard((0.9, 56), (0.0, 100))
    assert next_cut(some, 200, 31, overlap=62) == Cut(0, 0, 62)


def test_a_click_is_no_speech() -> None:
    assert next_cut(heard((0.1, 40), (0.9, 2), (0.1, 40)), 200, 31) == Cut(0, 0, 48)


class Said:
    """Hears in each frame what its first sample says."""

    def hear(self, samples: np.ndarray) -> np.ndarray:
        return samples.reshape(-1, FRAME)[:, 0].copy()


def audio(probabilities: np.ndarray, more: int = 0) -> np.ndarray:
    return np.concatenate([np.repeat(probabilities, FRAME), np.zeros(more, np.float32)])


RUNS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.4, 0.6, 1.0]), st.integers(1, 150)), min_size=1, max_size=12
)


@given(RUNS, st.integers(0, FRAME - 1), st.integers(5_000, 60_000))
def test_any_audio(runs: list[tuple[float, int]], more: int, block: int) -> None:
    """Speech is in a chunk, once but for overlaps; where blocks end does not matter."""
    said = heard(*runs)
    samples = audio(said, more)
    longest = 5.0

    def cut(size: int) -> list[Chunk]:
        blocks = (samples[i : i + size] for i in range(0, len(samples), size))
        return list(chunks(blocks, Said(), longest))

    found = cut(len(samples))
    by_blocks = cut(block)
    assert [(c.start, c.end, c.overlap) for c in found] == [
        (c.start, c.end, c.overlap) for c in by_blocks
    ]
    covered = np.zeros(len(samples), bool)
    end = 0
    for chunk in found:
        assert len(chunk.samples) <= longest * 16000
        assert chunk.overlap == max(0, end - chunk.start)
        assert chunk.end > end  # something new
        np.testing.assert_array_equal(samples[chunk.start : chunk.end], chunk.samples)
        covered[chunk.start : chunk.end] = True
        end = chunk.end
    missed = np.flatnonzero((said >= 0.5) & ~covered[: len(said) * FRAME : FRAME])
    # What is left out is no more than a click between silences.
    for run in np.split(missed, np.flatnonzero(np.diff(missed) > 1) + 1):
        assert len(run) < 3


def test_too_short_a_limit() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        list(chunks([], Said(), 3.9))
    with pytest.raises(ValueError, match=r"pause_seconds 0\.2"):
        list(chunks([], Said(), 4, 0.1))
