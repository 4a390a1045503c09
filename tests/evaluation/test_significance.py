"""The paired bootstrap, in cases where its result is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import ScoreError
from asr_llm.evaluation.significance import (
    Difference,
    mcnemar,
    paired_bootstrap,
    rate_interval,
)


def test_equal_systems_do_not_differ() -> None:
    drawn = paired_bootstrap(base=[1, 2, 0], adapted=[1, 2, 0], sizes=[10, 10, 10])
    assert drawn == Difference(difference=0.0, low=0.0, high=0.0, p=1.0)


def test_the_same_gain_in_every_block_is_certain() -> None:
    # Every draw of any blocks differs by exactly -1 in 4; p is 2 · 1/1001.
    drawn = paired_bootstrap(base=[2, 2, 2], adapted=[1, 1, 1], sizes=[4, 4, 4])
    assert drawn == Difference(difference=-0.25, low=-0.25, high=-0.25, p=2 / 1001)


def test_two_opposite_blocks_are_worth_nothing() -> None:
    # Draws are -1, 0 or 1 (chances 1/4, 1/2, 1/4): the interval is all of it, p is 1.
    drawn = paired_bootstrap(base=[1, 0], adapted=[0, 1], sizes=[1, 1])
    assert drawn == Difference(difference=0.0, low=-1.0, high=1.0, p=1.0)


def test_a_gain_in_one_of_two_blocks() -> None:
    # Draws are 0, -1/2 or -1 with chances 1/4, 1/2, 1/4; p is about 2 · 1/4.
    drawn = paired_bootstrap(base=[1, 1], adapted=[0, 1], sizes=[1, 1])
    assert (drawn.difference, drawn.low, drawn.high) == (-0.5, -1.0, 0.0)
    assert drawn.p == pytest.approx(0.5, abs=0.1)


def test_a_gain_in_one_of_forty_blocks_is_absent_from_many_draws() -> None:
    # (39/40)^40 = 36% of the draws show no change, none a loss: p is about 0.73.
    drawn = paired_bootstrap(base=[2] + [0] * 39, adapted=[0] * 40, sizes=[6] * 40)
    assert drawn.low is not None and drawn.low < 0
    assert drawn.high == 0
    assert drawn.p == pytest.approx(0.73, abs=0.05)


def test_the_difference_is_pooled_over_unequal_blocks() -> None:
    # 5/100 to 2/100, not the mean of 0.5 - 0.2 and 0.
    drawn = paired_bootstrap(base=[5, 0], adapted=[2, 0], sizes=[10, 90])
    assert drawn.difference == pytest.approx(-0.03)


@pytest.mark.parametrize("sizes", [[], [0], [0, 0]])
def test_no_counts_give_no_result(sizes: list[int]) -> None:
    nothing = [0] * len(sizes)
    drawn = paired_bootstrap(base=nothing, adapted=nothing, sizes=sizes)
    assert drawn == Difference(None, None, None, None)


@pytest.mark.parametrize("sizes", [[4], [4, 0, 0]])
def test_one_block_has_no_interval(sizes: list[int]) -> None:
    base, adapted = [2, 0, 0][: len(sizes)], [1, 0, 0][: len(sizes)]
    drawn = paired_bootstrap(base=base, adapted=adapted, sizes=sizes)
    assert drawn == Difference(-0.25, None, None, None)


def test_blocks_without_words_are_allowed_among_others() -> None:
    drawn = paired_bootstrap(base=[1, 1, 0], adapted=[0, 0, 0], sizes=[1, 1, 0])
    assert (drawn.difference, drawn.low, drawn.high) == (-1.0, -1.0, -1.0)


def test_different_blocks_are_refused() -> None:
    with pytest.raises(ScoreError, match="over 2, 1 and 2 blocks"):
        paired_bootstrap(base=[1, 1], adapted=[0], sizes=[1, 1])


COUNTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=2, max_size=8
)


@given(COUNTS, st.integers(0, 9))
def test_same_seed_same_result_and_the_interval_is_in_order(
    counts: list[tuple[int, int, int]], seed: int
) -> None:
    base, adapted, sizes = (list(column) for column in zip(*counts, strict=True))

    def draw() -> Difference:
        return paired_bootstrap(base=base, adapted=adapted, sizes=sizes, resamples=50, seed=seed)

    drawn = draw()
    assert drawn == draw()
    assert drawn.low is not None and drawn.high is not None and drawn.p is not None
    assert drawn.low <= drawn.high
    assert 0 < drawn.p <= 1


def test_another_seed_draws_other_blocks() -> None:
    base, adapted, sizes = list(range(20)), list(range(20, 0, -1)), [30] * 20
    first, second = (
        paired_bootstrap(base=base, adapted=adapted, sizes=sizes, seed=seed) for seed in (0, 1)
    )
    assert first.difference == second.difference
    assert first != second


def test_mcnemar_by_hand() -> None:
    base, adapted = [True] * 1 + [False] * 5, [False] + [True] * 5
    # Six of one mind against another, one to five: p = 2 · (1 + 6) / 2⁶.
    assert mcnemar(base=base, adapted=adapted) == {
        "base_only": 1,
        "adapted_only": 5,
        "p": pytest.approx(14 / 64),
    }
    assert mcnemar(base=[True], adapted=[True])["p"] is None
    with pytest.raises(ScoreError, match="not paired"):
        mcnemar(base=[True], adapted=[])


def test_an_interval_agrees_with_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(3)
    sizes = rng.integers(5, 40, 60)
    errors = rng.binomial(sizes, 0.3)
    low, high = rate_interval(errors=errors.tolist(), sizes=sizes.tolist(), resamples=4000)
    theirs = bootstrap(
        (errors, sizes),
        lambda e, s, axis: e.sum(axis) / s.sum(axis),
        paired=True, vectorized=True, method="percentile", n_resamples=4000, rng=0,
    ).confidence_interval  # fmt: skip
    assert low == pytest.approx(theirs.low, abs=0.01)
    assert high == pytest.approx(theirs.high, abs=0.01)
