"""Hesitations and corrections: the words stay, in their order."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.text.disfluency import corrected, disfluent


@given(st.lists(st.sampled_from(["name", "three", "fruits."]), min_size=1), st.integers(0, 99))
def test_the_words_stay_in_their_order(words: list[str], seed: int) -> None:
    text = " ".join(words)
    said = disfluent(text, random.Random(seed))
    assert said == disfluent(text, random.Random(seed))
    rest = iter(said.split())
    assert all(word in rest for word in words)
    assert len(said) > len(text)


def test_every_word_twice_with_a_filler() -> None:
    said = disfluent("so it", random.Random(0), fillers=1.0, repeats=1.0).split()
    assert [word for word in said if word in ("so", "it")] == ["so", "so", "it", "it"]
    assert said[0].endswith(",") or said[1].endswith(",")


def test_a_correction_takes_back_what_came_before() -> None:
    said = corrected("Name two.", "Name three.", random.Random(0))
    assert said.startswith("Name two. ")
    assert said.endswith(". Name three.")
