"""The English normalisers, rule by rule: what is unified, and what must not be."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.text.normalizers import normalize
from asr_llm.corpus.text.openai import spellings

# What rules of medical-en look at; any order and spacing of these.
PIECES = (
    "oh o one two five ten twenty second first hundred thousand million and a half point zero "
    "nought minus 5 2.5 07 2.0 1,000 mm mhm uh um huh hmm per cent percent % mg milligrams grams "
    "cc mil mils st Dr. can't he's got gonna 'd 's been 5. two. Mm, (yes no) [a b] < > - / ½ 5½ $5 "
    ".5 5% °C 38° 5mg/kg b12 mum ok cannot 60's 5's 1st th s sixties twentieth kilo lb pound oh. "
    "degree ٣ ٣٫٥ mg/ l g ug µg 1.2.3 0.0 . , ' - -5 5½1st 10:30 7:05 1:1000 120/80 $5m £1.50 ¢ & "
    "A&E K. a i n h s x ray e mail three nineteen eighties hundreds thirty minutes 'cause cos ohh "
    "hmmm alright half quarter of 1/2 gram cents dollars five.Yes G.P. over to million billion (s)"
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
        ("oh seven seven one two, o seven seven", "7712 77"),
        ("five o'clock", "5"),
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
        ("half a tablet, ½ a tablet", "half tablet half tablet"),
        ("1.5 and 2.1", "1.5 and 2.1"),
        ("minus two, -2", "minus 2 minus 2"),
        ("one, two", "1 2"),
        ("one two three, three two one, nine one one", "1 2 3 3 2 1 911"),
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
def test_medical_keeps_distinctions(one: str, other: str) -> None:
    assert normalize(one, "medical-en") != normalize(other, "medical-en")


SAME = [
    ("any fever? Yes", "any fever?Yes"),
    ("um...yeah", "yeah"),
    ("worse, You", "worse,You"),
    ("two.Five hundred", "two. Five hundred"),
    ("two,five days", "two, five days"),
    ("A+and", "a and"),
    ("GP@Han", "gp han"),
    ("'cause I said", "because I said"),
    ("’cause I said", "because I said"),
    ("cos it hurts", "because it hurts"),
    ("coz it hurts", "because it hurts"),
    ("A&E", "A and E"),
    ("salt & water", "salt and water"),
    ("alright then", "all right then"),
    ("ohh no", "oh no"),
    ("ahhh yes", "ah yes"),
    ("K. So what", "okay so what"),
    ("Right. K. So", "right okay so"),
    ("nineteen eighties", "1980s"),
    ("the nineteen eighties", "the 1980's"),
    ("twenty tens", "2010s"),
    ("ten fifteen", "10:15"),
    ("came in at 11:20", "came in at eleven twenty"),
    ("at 7:30", "at seven thirty"),
    ("at 7:05", "at seven oh five"),
    ("at 9:00 am", "at nine a.m."),
    ("at 10.30am", "at ten thirty a m"),
    ("at 19:45", "at nineteen forty five"),
    ("at 4:15", "at four fifteen"),
    ("at 1:15 pm", "at one fifteen p.m."),
    ("one twenty over eighty", "120/80"),
    ("pressure of 118/76", "pressure of 118 over 76"),
    ("BP 135/85 mmHg", "BP one thirty five over eighty five millimetres of mercury"),
    ("ninety over sixty", "90 / 60"),
    ("N H S", "NHS"),
    ("the N.H.S.", "the NHS"),
    ("the N. H. S. is", "the NHS is"),
    ("an I V drip", "an IV drip"),
    ("a C T scan", "a CT scan"),
    ("an M R I scan", "an MRI scan"),
    ("an M R I a week ago", "an MRI a week ago"),
    ("the G P I saw", "the GP I saw"),
    ("hepatitis B I think", "hepatitis b I think"),
    ("an E C G", "an ECG"),
    ("I B S", "IBS"),
    ("A C E inhibitor", "ACE inhibitor"),
    ("X-ray", "xray"),
    ("x ray", "xray"),
    ("chest X rays", "chest xrays"),
    ("C T X ray", "CT xray"),
    ("e-mail", "email"),
    ("e mailed", "emailed"),
    ("o seven seven", "077"),
    ("oh seven seven one two", "07712"),
    ("oh, two three days", "oh 2 3 days"),
    ("twenty thirty minutes", "20 30 minutes"),
    ("three two one", "3 2 1"),
    ("nine one one", "911"),
    ("a grant of $5 million", "a grant of five million dollars"),
    ("$5m", "5 million dollars"),
    ("£2.5bn", "two point five billion pounds"),
    ("$1,200", "twelve hundred dollars"),
    ("€20", "twenty euros"),
    ("$1", "one dollar"),
    ("$5.50", "five dollars and fifty cents"),
    ("$5.05", "five dollars and five cents"),
    ("50¢", "fifty cents"),
    ("1:1000", "one to a thousand"),
    ("adrenaline 1:10,000", "adrenaline one to ten thousand"),
    ("1:1000", "one to one thousand"),
    ("0.5 mg", "half a milligram"),
    ("0.5 mg", "half a mg"),
    ("half milligram", "0.5 milligrams"),
    ("0.5 ml", "half a ml"),
    ("0.5 l", "half a litre"),
    ("0.25 mg", "a quarter of a milligram"),
    ("0.75 g", "three quarters of a gram"),
    ("1/2 a tablet", "half a tablet"),
    ("1/2 tablet", "one half tablet"),
    ("½ tablet", "a half tablet"),
    ("an hour and a half", "an hour and a half"),
    ("5-10 mg", "five to ten milligrams"),
    ("5\u201310 mg", "5 to 10 mg"),
    ("2.5 - 5 mg", "two point five to five milligrams"),
    ("10:00", "ten o'clock"),
    ("37 °C", "37 degrees C"),
    ("CA 15-3", "CA fifteen three"),
    ("2 1/2 tablets", "two and a half tablets"),
    ("5 mmol/L", "five millimoles per litre"),
    ("120 mg/dL", "120 milligrams per decilitre"),
    ("72 bpm", "seventy two beats per minute"),
    ("5 mg/kg", "five milligrams per kilogram"),
    ("38.5°C", "thirty eight point five degrees celsius"),
    ("tablet(s)", "tablets"),
    ("hmmmm yes", "yes"),
    ("mm-hmm", "mhm"),
    ("uh-huh", "mhm"),
    ("24/7", "twenty four seven"),
    ("and/or", "and or"),
    ("type 2", "type two"),
    ("an I V drip", "an I.V. drip"),
    ("the G P said", "the GP said"),
    ("M R S A", "MRSA"),
    ("B P 120/80", "BP 120 over 80"),
    ("one ten over seventy", "110/70"),
    ("at eight oh five pm", "at 8:05 p.m."),
    ("$3 thousand", "three thousand dollars"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_written_and_spoken_are_one(one: str, other: str) -> None:
    assert normalize(one, "medical-en") == normalize(other, "medical-en")
    check_idempotent(one, "medical-en")


APART = [
    ("the cause of pain", "the because of pain"),
    ("vitamin K. So", "vitamin okay so"),
    ("J. K. Rowling", "J okay Rowling"),
    ("twenty thirty minutes", "2030 minutes"),
    ("three two one", "321"),
    ("five four three two one", "54321"),
    ("yes", "yeah"),
    ("yeah", "yep"),
    ("yes", "yep"),
    ("half a tablet", "0.5 tablet"),
    ("fifteen", "fifty"),
    ("2.5 mg", "25 mg"),
    ("10-30", "10:30"),
    ("call 555-1234", "call 555 to 1234"),
    ("2021-05-03", "2021 to 05-03"),
    ("an hour and a half", "an hour and half"),
    ("two.five", "2.5"),
    ("seen at 10:30", "seen at 10:13"),
    ("120/80", "120/18"),
    ("$5 million", "5 million pounds"),
    ("1:1000", "1:10000"),
    ("0.5 mg", "half a tablet"),
    ("the left side", "the right side"),
    ("pain", "no pain"),
    ("hepatitis B", "hepatitis C"),
    ("twelve over sixty", "12/60"),
    ("my cause", "my because"),
    ("1/3 dose", "13 dose"),
]


@pytest.mark.parametrize(("one", "other"), APART)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert normalize(one, "medical-en") != normalize(other, "medical-en")


@given(st.integers(0, 10**12))
def test_digits_stay(number: int) -> None:
    assert normalize(f"{number:,}", "medical-en") == str(number)


@given(st.text())
def test_medical_twice_is_medical_once(text: str) -> None:
    check_idempotent(text, "medical-en")


@settings(max_examples=500, deadline=None)
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
        ("the cause of pain", "the cause of pain"),
        ("kinda sorta dunno", "kinda sorta dunno"),
    ],
)
def test_whisper_is_openais_with_its_flaws(text: str, expected: str) -> None:
    assert normalize(text, "whisper-en") == expected


SPOKEN = (
    "the cause of pain because cause kinda sorta dunno gonna wanna gotta y'all ain't won't can't "
    "let's i'ma imma woulda ma'am Mr. Mrs. St. Dr. Prof. Lt. Col. she's been he'd gone I'd 've 's "
    "colour oedema diarrhoea centre two hundred and fifty three point five percent $20 £5 20 "
    "dollars million cents 1,000 2.5 first 21st nineties double oh minus positive naïve Ménière ß "
    "[noise] (um) <x> uh hmm mhm don’t it’s ½ 10:30 120/80 mg/kg — & %"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SPOKEN.split()), max_size=8).map(" ".join))
def test_whisper_equals_the_normaliser_of_transformers(text: str) -> None:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    assert normalize(text, "whisper-en") == EnglishTextNormalizer(spellings())(text).strip()


def test_the_library_is_imported_only_when_used() -> None:
    code = (
        "import sys, asr_llm.corpus.text.normalizers as t; t.normalize('x', 'basic'); "
        "sys.exit('whisper_normalizer' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
