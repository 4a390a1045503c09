"""The texts of chunks that overlap, joined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asr_llm.transcription.stitching import stitch


def joined(left: str, right: str, a: float, b: float) -> str:
    return " ".join(" ".join(stitch(left, right, a, b)).split())


def test_words_of_both_are_written_once() -> None:
    left, right = "we went to the old house by the sea", "house by the sea and stayed a week"
    assert stitch(left, right, 4 / 9, 4 / 8) == (
        "we went to the old house by",
        "the sea and stayed a week",
    )


def test_the_seam_is_where_both_agree_not_at_a_cut_word() -> None:
    assert stitch("they saw a large elep", "a large elephant in town", 3 / 5, 3 / 5) == (
        "they saw a",
        "large elephant in town",
    )


def test_case_and_punctuation_do_not_matter() -> None:
    assert stitch("he is here. And then", "and then, she left", 2 / 5, 2 / 4) == (
        "he is here. And",
        "then, she left",
    )


def test_a_word_that_both_have_elsewhere_is_no_seam() -> None:
    assert joined("we went to the old hou", "house by the sea and stayed", 2 / 6, 2 / 6) == (
        "we went to the old by the sea and stayed"
    )


def test_an_empty_chunk_removes_nothing() -> None:
    assert stitch("", "by the sea", 0.5, 0.5) == ("", "by the sea")
    assert stitch("by the sea", "", 0.5, 0.5) == ("by the sea", "")


@given(st.integers(4, 30), st.integers(4, 30), st.integers(2, 6))
def test_shared_words_are_written_once(before: int, after: int, shared: int) -> None:
    words = [f"w{i}" for i in range(before + shared + after)]
    left, right = words[: before + shared], words[before:]
    assert joined(
        " ".join(left), " ".join(right), shared / len(left), shared / len(right)
    ) == " ".join(words)
