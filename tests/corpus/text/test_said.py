"""How digits, units and symbols are said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.text.said import needs_saying, ways_to_say


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Add 15 mL of oil.", "Add fifteen milliliters of oil."),
        ("1 kg, 2.5kg", "one kilogram two point five kilograms"),
        ("90 mg/dL", "ninety milligrams per deciliter"),
        ("in 1066 (in 2019)", "in one thousand sixty six (in twenty nineteen"),
        ("the 1970s and ’60s", "the nineteen seventies and sixties"),
        ("1,250 riders", "one thousand two hundred and fifty riders"),
        ("the 2nd of 3", "the second of three"),
        ("a $7 million bill, $2.50", "a seven million dollars bill, two fifty dollars"),
        ("$1", "one dollar"),
        ("at 9:05 or 10:00", "at nine oh five or ten o'clock"),
        ("130/85", "one hundred thirty over eighty five"),
        ("3% & 4–5", "three percent and four to five"),
        ("§ 12 R2D2", "section twelve R two D two"),
        ("0.05", "zero point zero five"),
        ("code 007", "code zero zero seven"),
        ("no digits — here", "no digits — here"),
    ],
)
def test_the_likeliest_way(text: str, said: str) -> None:
    assert " ".join(forms[0] for forms in ways_to_say(text)) == said


def test_other_ways() -> None:
    assert ways_to_say("1984")[0] == (
        "nineteen eighty four",
        "one thousand nine hundred and eighty four",
        "one nine eight four",
    )
    assert "one twenty over eighty" in ways_to_say("120/80")[0]
    assert "five five five one two three four" in ways_to_say("555-1234")[0]


@given(st.text("0123456789.,:/$%-–mgsth°&# ½²٣", max_size=30))
def test_every_word_has_a_spoken_form(text: str) -> None:
    ways = ways_to_say(text)
    assert len(ways) == len(text.split())
    assert all(form.strip() for forms in ways for form in forms)
    assert not any(needs_saying(form) for forms in ways for form in forms if form not in text)
