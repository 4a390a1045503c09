"""Spans lie on the encoder's frame grid: whole frames, exact sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.sequences.spans import Speech, num_frames, snap


def utterance(num_samples: int) -> Utterance:
    return Utterance("a", "b", np.arange(num_samples, dtype=np.float32))


@pytest.mark.parametrize(
    ("starts", "total", "cuts"),
    [
        ([0.0], 3, [0, 3]),
        ([0.0, 0.16, 0.5], 10, [0, 2, 6, 10]),  # 0.5 / 0.08 = 6.25
        ([0.3, 0.4], 10, [0, 5, 10]),  # the first unit starts at 0 all the same
        ([0.0, 0.01, 0.02], 10, [0, 1, 2, 10]),  # one frame at least
        ([0.0, 0.79, 0.8], 10, [0, 8, 9, 10]),  # room is left for those to come
        ([0.0, 0.5, 0.1], 10, [0, 6, 7, 10]),  # never back
        ([0.0, 0.1, 0.2], 3, [0, 1, 2, 3]),
        ([0.0, 0.1, 0.2, 0.3], 3, None),
        ([], 3, None),
    ],
)
def test_snap_by_hand(starts: list[float], total: int, cuts: list[int] | None) -> None:
    assert snap(starts, total, 0.08) == cuts


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=40),
    st.integers(1, 400),
    st.sampled_from([0.04, 0.08]),
)
def test_snap_gives_every_unit_a_frame_and_all_frames_a_unit(
    starts: list[float], total: int, frame: float
) -> None:
    cuts = snap(sorted(starts), total, frame)
    if len(starts) > total:
        assert cuts is None
        return
    assert cuts is not None
    assert (cuts[0], cuts[-1], len(cuts)) == (0, total, len(starts) + 1)
    assert all(before < after for before, after in itertools.pairwise(cuts))


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2)])
def test_num_frames_covers_the_utterance(samples: int, frames: int) -> None:
    assert num_frames(utterance(samples), 10) == frames


def test_speech_is_cut_on_the_grid_and_padded_at_the_end_only() -> None:
    speech = utterance(25)
    first, second = Speech(speech, 0, 1), Speech(speech, 1, 3)
    assert (first.num_frames, second.num_frames) == (1, 2)
    assert first.samples(10).tolist() == list(range(10))
    assert second.samples(10).tolist() == [*range(10, 25), *[0.0] * 5]
    assert second.samples(10).dtype == np.float32


@given(st.integers(0, 500), st.lists(st.integers(1, 49), max_size=6))
def test_pieces_join_to_the_whole(num_samples: int, inner: list[int]) -> None:
    speech = utterance(num_samples)
    total = num_frames(speech, 10)
    cuts = [0, *sorted({cut for cut in inner if cut < total}), total]
    pieces = [Speech(speech, a, b).samples(10) for a, b in itertools.pairwise(cuts)]
    joined = np.concatenate(pieces)
    assert len(joined) == total * 10
    assert (joined[:num_samples] == speech.samples).all()
    assert not joined[num_samples:].any()
