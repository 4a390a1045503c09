"""The English normalisers, rule by rule: what is unified, and what must not be."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.text import normalize

# What rules of medical-en look at; any order and spacing of these.
PIECES = (
    "oh o one two five ten twenty second first hundred thousand million and a half point zero "
    "nought minus 5 2.5 07 2.0 1,000 mm mhm uh um huh hmm per cent percent % mg milligrams grams "
    "cc mil mils st Dr. can't he's got gonna 'd 's been 5. two. Mm, (yes no) [a b] < > - / ½ 5½ $5 "
    ".5 5% °C 38° 5mg/kg b12 mum ok cannot 60's 5's 1st th s sixties twentieth kilo lb pound oh. "
    "degree ٣ ٣٫٥ mg/ l g ug µg 1.2.3 0.0 . , ' - -5 5½1st"
)
PLAIN = "the patient can't sleep colour she's taking Doctor Smith's blood-pressure okay, mum"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Words, not numbers.
        ("Oh no!", "oh no"),
        ("Oh, two or three days.", "oh 2 or 3 days"),
        ("I had two. Oh, four.", "i had 2 oh 4"),
        ("O negative", "o negative"),
        ("four oh five", "405"),
        ("one oh one", "101"),
        ("nineteen oh five", "1905"),
        ("oh seven seven one two", "oh 7712"),
        ("five o'clock", "5 o clock"),
        ("at that point two people", "at that point 2 people"),
        ("positive two weeks ago", "positive 2 weeks ago"),
        # Numbers.
        ("one thousand units, 1,000 units, 1000 units", "1000 units 1000 units 1000 units"),
        ("a hundred and fifty; one hundred fifty; 150", "150 150 150"),
        ("two million three hundred thousand and five", "2300005"),
        ("2.5 million", "2500000"),
        ("hundreds of a kind", "hundreds of a kind"),
        ("two point five, 2.5, 2.50, 25", "2.5 2.5 2.5 25"),
        ("two point oh, 2.0, 2", "2 2 2"),
        ("nought point five, 0.5, .5, zero point five", "0.5 0.5 0.5 0.5"),
        ("point five milligrams", "0.5 mg"),
        ("two and a half, 2 and a half, 2½", "2.5 2.5 2.5"),
        ("half a tablet, ½ a tablet", "half a tablet half a tablet"),
        ("1.5 and 2.1", "1.5 and 2.1"),
        ("minus two, -2", "minus 2 minus 2"),
        ("one, two", "1 2"),
        ("one two three", "123"),
        ("two three days", "2 3 days"),
        ("ten fifteen minutes", "10 15 minutes"),
        ("one twenty over eighty, 120 over 80", "120 over 80 120 over 80"),
        ("one five hundred milligram tablet", "1 500 mg tablet"),
        ("one ten, seven fifty, twenty five", "110 750 25"),
        ("in nineteen eighty five, in 2024, in twenty twenty four", "in 1985 in 2024 in 2024"),
        ("the twenty first, the 21st; his sixties, 60s, 60's", "the 21st the 21st his 60s 60s 60s"),
        ("the third twentieth of twenty twelfth", "the 3rd 20th of 20 12th"),
        # Units.
        ("five hundred milligrams", "500 mg"),
        ("500 mg, 500mg, 500 milligrammes, 500 mgs.", "500 mg 500 mg 500 mg 500 mg"),
        ("50 micrograms, 50mcg, 50 µg, 50 μg, 50ug", "50 mcg 50 mcg 50 mcg 50 mcg 50 mcg"),
        ("2 grams, 2g, two gm", "2 g 2 g 2 g"),
        ("Gram stain, mg, vitamin L", "gram stain mg vitamin l"),
        ("70 kilograms, 70 kilos, 70kg", "70 kg 70 kg 70 kg"),
        ("5 millilitres, 5 milliliters, 5ml, 5 cc, five mils", "5 ml 5 ml 5 ml 5 ml 5 ml"),
        ("a litre, 2 litres, two liters", "a liter 2 l 2 l"),
        ("5 mm, five millimetres, 3 centimetres", "5 millimeters 5 millimeters 3 cm"),
        ("99%, ninety nine percent, 99 per cent", "99 percent 99 percent 99 percent"),
        ("38.5°C; thirty eight point five degrees", "38.5 degrees celsius 38.5 degrees"),
        ("5 mg/kg, 5 milligrams per kilogram and/or", "5 mg per kg 5 mg per kg and or"),
        ("5 lb, 5 pounds, £5, $5, 5 dollars", "5 pounds 5 pounds 5 pounds 5 dollars 5 dollars"),
        ("twice daily", "twice daily"),
        # Words of dialogue.
        ("I am okay. OK? O.K.", "i am okay okay okay"),
        ("mum, Mam and mom", "mom mom and mom"),
        ("Um, uh, erm, hmm, the ER", "the er"),
        ("Mhm. Mm-hmm. Uh-huh. Mm.", "mhm mhm mhm"),
        ("I can't, I cannot", "i can not i can not"),
        ("colour", "color"),
        # Written forms.
        ("B12, b twelve, COVID-19, beta-blocker", "b 12 b 12 covid 19 beta blocker"),
        ("Dr. Smith's, O'Neill, Sjögren", "doctor smith is o neill sjogren"),
        ("[laughs] (coughs) <unsure>yes</unsure>", "yes"),
        ("CRP < 5 and that's it", "crp 5 and that is it"),
        ("日本語 مرحبا שלום ٣ mg", "日本語 مرحبا שלום 3 mg"),
        ("1.10.2020", "1.10.2020"),
        ("007", "7"),
        ("...", ""),
        ("", ""),
    ],
)
def test_medical(text: str, expected: str) -> None:
    assert normalize(text, "medical-en") == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [("2.5 mg", "25 mg"), ("5 mg", "5 mcg"), ("5 mg", "5 g"), ("mhm", "um"), ("fifty", "fifteen")],
)
def test_medical_tells_apart(one: str, other: str) -> None:
    assert normalize(one, "medical-en") != normalize(other, "medical-en")


@given(st.integers(0, 10**12))
def test_digits_stay(number: int) -> None:
    assert normalize(f"{number:,}", "medical-en") == str(number)


@given(st.text())
def test_medical_twice_is_medical_once(text: str) -> None:
    check_idempotent(text, "medical-en")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES.split()), max_size=8), st.sampled_from(["", " "]))
def test_medical_twice_is_medical_once_where_its_rules_meet(pieces: list[str], by: str) -> None:
    check_idempotent(by.join(pieces), "medical-en")


@given(st.lists(st.sampled_from(PLAIN.split())))
def test_whisper_twice_is_whisper_once_on_plain_words(words: list[str]) -> None:
    check_idempotent(" ".join(words), "whisper-en")


def check_idempotent(text: str, normalizer: str) -> None:
    once = normalize(text, normalizer)
    assert normalize(once, normalizer) == once
    assert once == " ".join(once.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Five hundred milligrams, Dr. Smith!", "500 milligrams doctor smith"),
        ("Oh no", "0 no"),
        ("1.5, 2 1", "one.5 2 one"),
        ("5 mm", "5"),
    ],
)
def test_whisper_is_the_library_with_its_flaws(text: str, expected: str) -> None:
    assert normalize(text, "whisper-en") == expected


def test_the_library_is_imported_only_when_used() -> None:
    code = (
        "import sys, asr_llm.corpus.text as t; t.normalize('x', 'basic'); "
        "sys.exit('whisper_normalizer' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
