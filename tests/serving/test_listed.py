"""Where a text has what is listed."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asr_llm.serving.listed import listed


def test_places() -> None:
    words = ["She", "said", '"Metoprolol,"', "and", "atrial", "fibrillation,", "not", "atrial"]
    assert listed(words, ["metoprolol", "atrial fibrillation"]) == [range(2, 3), range(4, 6)]
    assert listed(words, ["atrial", "Atrial Fibrillation"]) == [range(4, 6), range(7, 8)]
    assert listed(words, ["said she"]) == []
    assert listed([], ["a"]) == [] and listed(words, []) == [] and listed(words, [" "]) == []


@given(st.lists(st.sampled_from("abc."), max_size=9), st.lists(st.text("abc. ", max_size=5)))
def test_places_are_apart_and_have_the_phrases(words: list[str], phrases: list[str]) -> None:
    places = listed(words, phrases)
    assert all(a.stop <= b.start for a, b in pairwise(places))
    wanted = [[word.strip(".") or word for word in phrase.split()] for phrase in phrases]
    for place in places:
        assert [word.strip(".") or word for word in words[place.start : place.stop]] in wanted
