"""Word and character errors against counts worked out by hand, and against jiwer's own."""

from __future__ import annotations

import math

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import ScoreError
from asr_llm.evaluation import sclite
from asr_llm.evaluation.words import WordErrors, align, char_errors, word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", WordErrors(hits=3)),
        ("a b c", "a x c", WordErrors(hits=2, substitutions=1)),
        ("a b c", "a c", WordErrors(hits=2, deletions=1)),
        ("a c", "a b c", WordErrors(hits=2, insertions=1)),
        ("a b c", "", WordErrors(deletions=3)),
        ("", "a b", WordErrors(insertions=2)),
        ("", "", WordErrors()),
        ("a a a", "a a", WordErrors(hits=2, deletions=1)),
        (" a \t b\n", "a b", WordErrors(hits=2)),
        ("A b.", "a b", WordErrors(substitutions=2)),
    ],
)
def test_word_errors_by_hand(reference: str, hypothesis: str, expected: WordErrors) -> None:
    assert word_errors(reference=[reference], hypothesis=[hypothesis]) == expected


def test_rates() -> None:
    assert WordErrors(hits=6, substitutions=1, deletions=1, insertions=2).words == 8
    assert WordErrors(hits=6, substitutions=1, deletions=1, insertions=2).rate == 0.5
    assert WordErrors(hits=1, insertions=3).rate == 3.0
    assert WordErrors().rate == 0.0
    assert WordErrors(insertions=1).rate == math.inf


def test_pooling_adds_errors_rather_than_averaging_rates() -> None:
    # 1 of 1 and 0 of 4: pooled 1/5, averaged it would be 1/2.
    pooled = word_errors(reference=["a", "a b c d"], hypothesis=["x", "a b c d"])
    assert pooled == WordErrors(hits=4, substitutions=1)
    assert pooled.rate == 0.2


def test_char_errors_count_one_space_between_words() -> None:
    errors = char_errors(reference=["ab  c"], hypothesis=["abc"])
    assert errors == WordErrors(hits=3, deletions=1)
    assert char_errors(reference=[""], hypothesis=["a b"]) == WordErrors(insertions=3)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ScoreError, match="2 references but 1 hypotheses"):
        word_errors(reference=["a", "b"], hypothesis=["a"])


def test_align_by_hand() -> None:
    assert align(reference_words=["a", "b", "c"], hypothesis_words=["a", "x", "c", "d"]) == [
        (0, 0, "hit"),
        (1, 1, "substitution"),
        (2, 2, "hit"),
        (None, 3, "insertion"),
    ]
    assert align(reference_words=["a", "b"], hypothesis_words=[]) == [
        (0, None, "deletion"),
        (1, None, "deletion"),
    ]
    assert align(reference_words=[], hypothesis_words=["a"]) == [(None, 0, "insertion")]
    assert align(reference_words=[], hypothesis_words=[]) == []


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_counts_equal_jiwers(pairs: list[tuple[list[str], list[str]]]) -> None:
    references = [" ".join(r) for r, _ in pairs]
    hypotheses = [" ".join(h) for _, h in pairs]
    ours = word_errors(reference=references, hypothesis=hypotheses)
    theirs = jiwer.process_words(references, hypotheses)
    assert (ours.hits, ours.substitutions, ours.deletions, ours.insertions) == (
        theirs.hits,
        theirs.substitutions,
        theirs.deletions,
        theirs.insertions,
    )
    each = [
        word_errors(reference=[r], hypothesis=[h])
        for r, h in zip(references, hypotheses, strict=True)
    ]
    assert sum(each, start=WordErrors()) == ours
    if ours.words:
        assert ours.rate == pytest.approx(theirs.wer)
        assert char_errors(reference=references, hypothesis=hypotheses).rate == pytest.approx(
            jiwer.process_characters(references, hypotheses).cer
        )


@given(WORDS, WORDS)
def test_alignment_covers_every_word_once_and_agrees_with_the_counts(
    reference: list[str], hypothesis: list[str]
) -> None:
    pairs = align(reference_words=reference, hypothesis_words=hypothesis)
    assert [p.reference for p in pairs if p.reference is not None] == list(range(len(reference)))
    assert [p.hypothesis for p in pairs if p.hypothesis is not None] == list(range(len(hypothesis)))
    for r, h, op in pairs:
        if r is None or h is None:
            assert op == ("insertion" if r is None else "deletion")
        else:
            assert op == ("hit" if reference[r] == hypothesis[h] else "substitution")
    errors = word_errors(reference=[" ".join(reference)], hypothesis=[" ".join(hypothesis)])
    assert sum(p.op != "hit" for p in pairs) == errors.errors


@given(WORDS)
def test_a_perfect_hypothesis_has_no_errors(words: list[str]) -> None:
    text = " ".join(words)
    assert word_errors(reference=[text], hypothesis=[text]).errors == 0


# By the costs of sclite -----------------------------------------------------------------


def table_of_all_costs(said: list[str], heard: list[str]) -> list[tuple[int | None, int | None]]:
    """The cheapest alignment by 4 and 3, as a textbook has it: every cost of every prefix kept."""
    cost = [[3 * (i + j) for j in range(len(heard) + 1)] for i in range(len(said) + 1)]
    for i in range(1, len(said) + 1):
        for j in range(1, len(heard) + 1):
            pair = cost[i - 1][j - 1] + (0 if said[i - 1] == heard[j - 1] else 4)
            cost[i][j] = min(pair, cost[i - 1][j] + 3, cost[i][j - 1] + 3)
    steps: list[tuple[int | None, int | None]] = []
    i, j = len(said), len(heard)
    while i or j:
        if j and cost[i][j] == cost[i][j - 1] + 3:
            j -= 1
            steps.append((None, j))
        elif i and cost[i][j] == cost[i - 1][j] + 3:
            i -= 1
            steps.append((i, None))
        else:
            i, j = i - 1, j - 1
            steps.append((i, j))
    return steps[::-1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        # Two substitutions cost 8, two deletions and two insertions 12.
        ("a b", "c d", "ss"),
        # Two substitutions and an insertion cost 11; a deletion, a hit, two insertions 9.
        ("a b", "b c d", "dhii"),
        ("a b c", "a c", "hdh"),
        ("a a", "a", "hd"),
        ("", "a b", "ii"),
        ("a b", "", "dd"),
        ("", "", ""),
    ],
)
def test_sclite_by_hand(reference: str, hypothesis: str, expected: str) -> None:
    pairs = align(
        reference_words=reference.split(), hypothesis_words=hypothesis.split(), costs="sclite"
    )
    assert "".join(pair.op[0] for pair in pairs) == expected


LONGER = st.lists(st.sampled_from("abcd"), max_size=20)


@given(LONGER, LONGER)
def test_sclite_is_the_textbooks_however_long_the_words(said: list[str], heard: list[str]) -> None:
    expected = table_of_all_costs(said, heard)
    with pytest.MonkeyPatch.context() as patch:
        for cells in (0, 10**6):  # by checkpoints, and by kaldialign
            patch.setattr(sclite, "_CELLS", cells)
            assert sclite.sclite_steps(said, heard) == expected


def test_sclite_of_an_hour_takes_little_memory() -> None:
    """8,000 by 8,000 words: a table of all costs would take 256 MB."""
    import tracemalloc

    said = [f"w{i % 997}" for i in range(8000)]
    heard = [word for i, word in enumerate(said) if i % 50]  # every fiftieth is lost
    tracemalloc.start()
    pairs = align(reference_words=said, hypothesis_words=heard, costs="sclite")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6
    assert sum(pair.op == "deletion" for pair in pairs) == 160
    assert sum(pair.op == "hit" for pair in pairs) == 7840
