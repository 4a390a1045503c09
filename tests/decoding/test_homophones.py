"""Words that are in no dictionary and sound like a listed phrase."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.decoding.homophones import Homophones
from asr_llm.decoding.results import DecodedWord

LISTED = Homophones(
    ["Verloc", "Hurstwood", "alendronate", "fasciotomy", "atrial fibrillation", "Stephen", "Sara"]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('It was Verlock, and "Verlock!" again.', 'It was Verloc, and "Verloc!" again.'),
        ("Mr. Verlock's shop, Verlock’s house", "Mr. Verloc's shop, Verloc’s house"),
        ("Herst would not go to Hirstwood.", "Hurstwood not go to Hurstwood."),
        ("She takes a lendronate.", "She takes alendronate."),
        ("Fasiotomy was done.", "Fasciotomy was done."),  # the capital of a sentence stays
        ("atrial fibrilation", "atrial fibrillation"),
        # Known words stay, whatever is listed; so do phrases with a mark between, and digits.
        ("Steven met Sarah.", "Steven met Sarah."),
        ("Take a, lendronate now", "Take a, lendronate now"),
        ("Verlock2 5 x-1", "Verlock2 5 x-1"),
        # It only sounds similar.
        ("Verlogged and Ferlock", "Verlogged and Ferlock"),
        ("", ""),
        ("  kept   as it is ", "  kept   as it is "),
    ],
)
def test_what_is_written_as_listed(text: str, expected: str) -> None:
    assert LISTED.respell(text)[0] == expected
    assert LISTED.respell(expected)[0] == expected


def test_words_keep_the_least_confidence_of_those_they_replace() -> None:
    words = tuple(
        DecodedWord(text, sure, (-0.1,))
        for text, sure in (("Herst", 0.4), ("would", 0.9), ("go.", 0.8))
    )
    text, kept = LISTED.respell("Herst would go.", words)
    assert text == "Hurstwood go."
    assert [(word.text, word.confidence) for word in kept] == [("Hurstwood", 0.4), ("go.", 0.8)]
    two = Homophones(["Hearst Wood"])
    text, kept = two.respell("Hirstwood", (DecodedWord("Hirstwood", 0.3, ()),))
    assert text == "Hearst Wood"
    assert [(word.text, word.confidence) for word in kept] == [("Hearst", 0.3), ("Wood", 0.3)]


def test_of_phrases_that_sound_the_same_none_is_chosen() -> None:
    assert Homophones(["Verloc", "Vurlock"]).respell("Verlock")[0] == "Verlock"
    assert Homophones(["Verloc", "verloc"]).respell("Verlock")[0] == "Verloc"


def test_short_phrases_and_empty_lists_change_nothing() -> None:
    assert Homophones(["Uma"]).respell("Ooma")[0] == "Ooma"
    assert Homophones([]).respell("Verlock")[0] == "Verlock"


@given(st.lists(st.sampled_from(["the", "hurts", "would", "a", "land", "Steven", "Sarah", "rate"])))
def test_known_words_are_never_changed(words: list[str]) -> None:
    text = " ".join(words)
    assert LISTED.respell(text) == (text, ())
