"""Word and character errors against counts worked out by hand, and against jiwer's own."""

from __future__ import annotations

import math

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.errors import ScoreError
from asr_llm.evaluation import alignment
from asr_llm.evaluation.alignment import Costs, cheapest
from asr_llm.evaluation.words import WordErrors, align, char_errors, errors_of, word_errors

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


@given(st.tuples(WORDS, WORDS))
def test_jiwers_alignment_is_its_own(pair: tuple[list[str], list[str]]) -> None:
    said, heard = pair
    theirs = jiwer.process_words(" ".join(said), " ".join(heard))
    assert errors_of(align(reference_words=said, hypothesis_words=heard, costs="jiwer")) == (
        WordErrors(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
    )


def test_jiwer_decides_ties_otherwise() -> None:
    pair = {"reference_words": ["the", "urine"], "hypothesis_words": ["urine", "yeah"]}
    assert errors_of(align(**pair)) == WordErrors(hits=1, deletions=1, insertions=1)
    assert errors_of(align(**pair, costs="jiwer")) == WordErrors(substitutions=2)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_the_sum_of_errors_is_jiwers_and_no_alignment_of_that_sum_has_more_hits(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    references = [" ".join(r) for r, _ in pairs]
    hypotheses = [" ".join(h) for _, h in pairs]
    ours = word_errors(reference=references, hypothesis=hypotheses)
    theirs = jiwer.process_words(references, hypotheses)
    assert ours.errors == theirs.substitutions + theirs.deletions + theirs.insertions
    assert ours.words == theirs.hits + theirs.substitutions + theirs.deletions
    assert ours.hits >= theirs.hits
    assert ours.substitutions <= theirs.substitutions
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


@settings(deadline=None)
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


# Which of equally cheap alignments ------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        # Two substitutions are as cheap, and find nothing.
        ("the urine", "urine yeah", "dhi"),
        ("a b", "b a", "dhi"),
        ("urine the", "yeah urine", "ihd"),
        ("my knee hurts a lot", "knee hurts a lot really", "dhhhhi"),
        ("a b c d", "b x d e", "dhshi"),
        # Nothing to find: as few words without a partner as possible.
        ("a b", "c d", "ss"),
        ("a b c", "d", "dds"),
    ],
)
def test_of_equally_cheap_alignments_the_one_with_most_hits(
    reference: str, hypothesis: str, expected: str
) -> None:
    pairs = align(reference_words=reference.split(), hypothesis_words=hypothesis.split())
    assert "".join(pair.op[0] for pair in pairs) == expected


def textbook(
    said: list[str], heard: list[str], costs: Costs
) -> list[tuple[int | None, int | None]]:
    """The table of all costs; of equal ones pairs first, then insertions (arXiv 2104.02194)."""
    pair, alone = ((1, 0), (1, 0)) if costs == "unit" else ((4, 0), (3, 0))
    table = [[(0, 0)] * (len(heard) + 1) for _ in range(len(said) + 1)]
    back: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(len(said) + 1):
        for j in range(len(heard) + 1):
            before = []
            if i and j:
                hit = said[i - 1] == heard[j - 1]
                # At unit costs a hit decides between equal costs.
                step = (0, -1 if costs == "unit" else 0) if hit else pair
                before.append((1, 1, step))
            before += [(0, 1, alone)] if j else []
            before += [(1, 0, alone)] if i else []
            for di, dj, (cost, hits) in before:
                there = table[i - di][j - dj]
                here = (there[0] + cost, there[1] + hits)
                if (i, j) not in back or here < table[i][j]:
                    table[i][j], back[i, j] = here, (i - di, j - dj)
    steps: list[tuple[int | None, int | None]] = []
    at = (len(said), len(heard))
    while at != (0, 0):
        i, j = back[at]
        steps.append((None if i == at[0] else i, None if j == at[1] else j))
        at = i, j
    return steps[::-1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        # Two substitutions cost 8, two deletions and two insertions 12.
        ("a b", "c d", "ss"),
        # Two substitutions and an insertion cost 11; a deletion, a hit, two insertions 9.
        ("a b", "b c d", "dhii"),
        ("a b c", "a c", "hdh"),
        ("a a", "a", "dh"),
        ("a", "b c", "is"),
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


@settings(deadline=None)  # the first call compiles
@given(LONGER, LONGER, st.sampled_from(["unit", "sclite"]))
def test_the_alignment_is_the_textbooks_however_long_the_words(
    said: list[str], heard: list[str], costs: Costs
) -> None:
    expected = textbook(said, heard, costs)
    with pytest.MonkeyPatch.context() as patch:
        for cells in (0, 10**6):  # with few rows kept, and with all
            patch.setattr(alignment, "_CELLS", cells)
            assert cheapest(said, heard, costs) == expected


@pytest.mark.parametrize("costs", ["unit", "sclite"])
def test_two_hours_take_little_memory(costs: Costs) -> None:
    """20,000 by 19,600 words: a table of all costs would take 1.6 GB."""
    import tracemalloc

    said = [f"w{i % 997}" for i in range(20_000)]
    heard = [word for i, word in enumerate(said) if i % 50]  # every fiftieth is lost
    tracemalloc.start()
    pairs = align(reference_words=said, hypothesis_words=heard, costs=costs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6
    assert sum(pair.op == "deletion" for pair in pairs) == 400
    assert sum(pair.op == "hit" for pair in pairs) == 19_600


def test_words_are_aligned_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is kept in a folder; without one it is compiled again."""
    from asr_llm.evaluation import alignment_kernel

    def refuse(*_: object, **keywords: object) -> object:
        if keywords:
            raise RuntimeError("cannot cache function: no locator available")
        return _[0]

    monkeypatch.setattr(alignment_kernel, "njit", refuse)
    assert alignment_kernel._compiled(len) is len
