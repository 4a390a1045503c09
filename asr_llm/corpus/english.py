"""The English normalisers: Whisper's own, and one for dosages in dialogue built on its tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any


def whisper(text: str) -> str:
    """``EnglishTextNormalizer`` of whisper_normalizer, as published tables use it.

    Known harm: "oh" is 0, "1.5" is "one.5", "2.1" is "2 one", "5 mm" is 5, "positive two" is +2.
    Twice may change more than once does: "2 1" is "2 one", and that is 21.
    """
    return _library()(text).strip()


def medical(text: str, basic: Callable[[str], str]) -> str:
    """For dialogue about doses. ``basic`` cleans a phrase of case and punctuation.

    As Whisper's, by the library's tables: contractions and titles written out, American spelling,
    no diacritics, nothing in round, square or angle brackets. Otherwise by rules of its own:

    *Numbers* are digits without leading or trailing zeros ("one" too). They end where the phrase
    does: "two. Five hundred" is two numbers. Three or more digits in a row are joined, and so are
    "one twenty" (120), "seven fifty" and years; "two three days" and "ten fifteen minutes" are
    not. "oh" and "o" are zero between two spelled-out numbers ("four oh five" is 405, "nineteen oh
    five" 1905) and a word elsewhere. "point" is decimal only after a number ("at that point two"),
    or before a number with a unit ("point five milligrams").
    *Units* are mg, mcg, g, kg, ml (also cc), l, cm, millimeters, pounds, percent and degrees;
    letters and everyday words ("g", "gram", "l", "cc") only after a number. Letters and digits
    stand apart: "B12" is "b 12". "5 mg/kg" is "5 mg per kg"; any other slash is a space.
    *Fillers* dropped: uh, uhm, um, erm, hm, hmm, mm, mmm. Answers are kept: "mhm", which "mm-hmm"
    and "uh-huh" become, and the words "oh" and "ah". "er" stays, because of the ER.
    *Unified*: ok, okay; mum, mam, mom; cannot, can not.

    Applied twice it changes nothing more.
    """
    text = _BRACKETED.sub(" ", unicodedata.normalize("NFKC", _fractions(text)).lower())
    for pattern, replacement in _SYMBOLS:
        text = pattern.sub(replacement, text)
    words = [word for phrase in _PHRASE_END.split(text) for word in _phrase(basic(phrase))]
    text = " ".join(words)
    for pattern, replacement in _UNITS:
        text = pattern.sub(replacement, text)
    return text


def _fractions(text: str) -> str:
    # Before NFKC, which makes "2½" a 21 and a 2.
    text = re.sub(r"(?<=\d)\s?[½¼¾]", lambda m: {"½": ".5", "¼": ".25", "¾": ".75"}[m[0][-1]], text)
    return text.replace("½", " half ")


def _phrase(text: str) -> list[str]:
    text = _plain(text)
    text = re.sub(r"(?<=\d)'s\b", "s", text)
    text = _LETTER_BESIDE_DIGIT.sub(" ", text)
    for pattern, replacement in _contractions():
        text = pattern.sub(replacement, text)
    text = " ".join(re.findall(r"\d+(?:\.\d+)*(?:(?:st|nd|rd|th|s)\b)?|[^\W\d]+", text))
    for pattern, replacement in _WORDS:
        text = pattern.sub(replacement, text)
    text = _NUMBERS.sub(_in_digits, " ".join(text.split()))
    spelling = _library().standardize_spellings.mapping
    return [_canonical(_SAME.get(word, spelling.get(word, word))) for word in text.split()]


def _plain(text: str) -> str:
    """No diacritics, ASCII digits."""
    from whisper_normalizer.basic import remove_symbols_and_diacritics

    text = text if text.isascii() else remove_symbols_and_diacritics(text, keep="'.")
    return text if text.isascii() else re.sub(r"\d", lambda m: str(int(m[0])), text)


def _canonical(word: str) -> str:
    """A number without leading zeros, nor trailing ones after the point; any other word as is."""
    if not word[0].isdigit() or word.count(".") > 1:
        return word
    if "." in word:
        word = word.rstrip("0").rstrip(".")
    return re.sub(r"^0+(?=\d)", "", word)


@cache
def _library() -> Any:
    from whisper_normalizer.english import EnglishTextNormalizer  # 0.2 s

    return EnglishTextNormalizer()


@cache
def _contractions() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), new) for pattern, new in _library().replacers.items()]


# Numbers ---------------------------------------------------------------------------------------

_ONES = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_ONES |= {"six": 6, "seven": 7, "eight": 8, "nine": 9}
_TEENS = {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14}
_TEENS |= {"fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_TENS |= {"sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SMALL = {**_ONES, **_TEENS, **_TENS, "zero": 0, "a": 1}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_ORDINALS = {"first": "1st", "second": "2nd", "third": "3rd", "fifth": "5th", "eighth": "8th"}
_ORDINALS |= {"ninth": "9th", "twelfth": "12th"}
_ORDINALS |= {
    f"{word}th": f"{number}th"
    for word, number in {**_ONES, **_TEENS}.items()
    if number not in (1, 2, 3, 5, 8, 9, 12)
}
_TENTHS = {word[:-1] + "ieth": f"{number}th" for word, number in _TENS.items()}
_DECADES = {word[:-1] + "ies": f"{number}s" for word, number in _TENS.items()}


def _any(words: dict[str, Any]) -> str:
    return "(?:" + "|".join(words) + ")"


_UNDER_100 = rf"(?:{_any(_TENS)}(?: {_any(_ONES)})?|{_any(_TEENS)}|{_any(_ONES)}|zero)\b"
_FACTOR = r"(?:a|\d+(?:\.\d+)?)"
_HUNDREDS = rf"(?:(?:{_UNDER_100}|{_FACTOR}) )?hundred\b(?:(?: and)? {_UNDER_100})?"
_GROUP = rf"(?:{_HUNDREDS}|{_UNDER_100})"
_SCALE = rf"{_any(_SCALES)}\b"
_SCALED = (
    rf"(?:(?:{_GROUP}|{_FACTOR}) )?{_SCALE}"
    rf"(?:(?: and)? {_GROUP} {_SCALE})*(?:(?: and)? {_GROUP}(?! {_SCALE}))?"
)
_CARDINAL = rf"(?:{_SCALED}|{_HUNDREDS})"
_DECIMALS = rf"(?: (?:{_UNDER_100}|oh?\b))+"
# In a row, a word that begins a larger number is not of the row: "one five hundred mg tablet".
_ITEM = rf"{_UNDER_100}(?! (?:hundred|thousand|million|billion|point)\b)"
_NUMBERS = re.compile(
    rf"(?<!\S)(?:(?P<tens>{_any(_TENS)} )?(?P<ordinal>{_any(_ORDINALS)})"
    rf"|(?P<ready>{_any({**_TENTHS, **_DECADES})})"
    rf"|(?P<whole>{_CARDINAL}|{_UNDER_100}|\d+) point(?P<decimals>{_DECIMALS})"
    rf"|(?P<cardinal>{_CARDINAL})"
    rf"|(?P<row>{_ITEM}(?:(?: oh?)* {_ITEM})*|{_UNDER_100}))(?!\S)"
)


def _in_digits(match: re.Match[str]) -> str:
    if match["ordinal"]:
        ordinal = _ORDINALS[match["ordinal"]]
        if not match["tens"]:
            return ordinal
        tens = _TENS[match["tens"].strip()]
        # "twenty twelfth" is no number.
        return f"{tens // 10}{ordinal}" if ordinal[1].isalpha() else f"{tens} {ordinal}"
    if match["ready"]:
        return (_TENTHS | _DECADES)[match["ready"]]
    if match["cardinal"]:
        return _value(match["cardinal"])
    if match["decimals"]:
        return f"{_value(match['whole'])}.{''.join(_items(match['decimals']))}"
    return _row(_items(match["row"]))


def _value(words: str) -> str:
    total, group = Fraction(0), Fraction(0)
    for word in words.split():
        if word in _SCALES:
            total, group = total + (group or Fraction(1)) * _SCALES[word], Fraction(0)
        elif word == "hundred":
            group = (group or Fraction(1)) * 100
        elif word != "and":
            group += _SMALL[word] if word in _SMALL else Fraction(word)
    total += group
    # Finite in decimal: no more than literals times powers of ten.
    digits = len(str(total.denominator))
    return f"{total:.{digits}f}" if total.denominator > 1 else str(total)


def _items(words: str) -> list[str]:
    """The numbers under 100 of a row, each in digits: "twenty five oh two" is 25, 0, 2."""
    found = re.findall(rf"{_UNDER_100}|oh?\b", words)
    return ["0" if item in ("o", "oh") else _value(item) for item in found]


def _row(items: list[str]) -> str:
    """Numbers spoken one after the other: joined, or left apart."""
    digits = all(len(item) == 1 for item in items)
    if "0" in items or (digits and len(items) > 2):
        return "".join(items)
    out: list[str] = []
    rest = [int(item) for item in items]
    while rest:
        first, rest = rest[0], rest[1:]
        second = rest[0] if rest else 0
        digit_first = first < 10 and second >= (10 if first <= 2 else 20)
        if digit_first or (first in (19, 20) and second >= 10):
            rest = rest[1:]
            out.append(f"{first}{second}")
        else:
            out.append(str(first))
    return " ".join(out)


# Words and units -------------------------------------------------------------------------------


def _compiled(*rules: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


_BRACKETED = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\([^()]*\)")
_PHRASE_END = re.compile(r"[.,;:!?…]+(?=\s|$)")
_LETTER_BESIDE_DIGIT = re.compile(
    r"(?<=\d)(?=[^\W\d])(?!(?:st|nd|rd|th|s)\b)|(?<=[^\W\d])(?=\d)",
)
_SLASHED = r"mg|mcg|μg|ug|g|kg|ml|l|units?|mmol|milligrams?|micrograms?|grams?"
_SYMBOLS = _compiled(
    (r"(?<![\w.])\.(?=\d)", "0."),
    (r"(?<![^\s])[-\u2212](?=\d)", "minus "),
    (r"%", " percent "),
    (r"°\s?c\b", " degrees celsius "),
    (r"°\s?f\b", " degrees fahrenheit "),
    (r"°", " degrees "),
    (r"\$\s?(\d[\d,]*(?:\.\d+)?)", r"\1 dollars "),
    (r"£\s?(\d[\d,]*(?:\.\d+)?)", r"\1 pounds "),
    (r"€\s?(\d[\d,]*(?:\.\d+)?)", r"\1 euros "),
    (rf"(?<![^\W\d])({_SLASHED})/(?=[^\W\d])", r"\1 per "),
)

_NUMBER_WORD = rf"(?:\d+(?:\.\d+)?|{_any(_SMALL)}|hundred|thousand|million)"
_DOSE_UNIT = (
    r"(?:mgs?|mcgs?|μg|ug|kgs?|g|mls?|l|cc|percent|per cent"
    r"|(?:milli|micro|kilo)?gram(?:me)?s?|(?:milli)?lit(?:er|re)s?)\b"
)
_NOT_AFTER_NUMBER = "".join(
    rf"(?<!{word} )" for word in (r"\d", *_SMALL, "oh", "hundred", *_SCALES)
)
_WORDS = _compiled(
    (r"\b(?:mm|hm|uh) h+m+\b|\buh huh\b|\bmmhmm\b", "mhm"),
    (rf"\b({_NUMBER_WORD}) mm\b", r"\1 millimeters"),  # not the filler
    (r"\b(?:uh|uhm|um|erm|hmm?|mmm?)\b", ""),
    (r" +", " "),
    (r"\bnought\b|\bnaught\b", "zero"),
    (r"\bcannot\b", "can not"),
    (rf"(?<!\S){_NOT_AFTER_NUMBER}point(?= (?:{_UNDER_100} ){{1,3}}{_DOSE_UNIT})", "zero point"),
)
# Before the library's spellings, which make "mhm" a "hmm".
_SAME = {"mhm": "mhm", "ok": "okay", "mum": "mom", "mam": "mom", "mums": "moms"}

_AFTER_NUMBER = r"(?<![\w.])(\d+(?:\.\d+)?) "
_UNITS = _compiled(
    (r"\bper cent\b", "percent"),
    (r"(?<![\w.])(\d+) and a half\b", r"\1.5"),
    (r"\bmilligram(?:me)?s?\b|\bmgs\b", "mg"),
    (r"\bmicrogram(?:me)?s?\b|\bmcgs\b|\bμg\b", "mcg"),
    (r"\bkilogram(?:me)?s?\b|\bkgs\b", "kg"),
    (r"\bmillilit(?:er|re)s?\b|\bmls\b", "ml"),
    (_AFTER_NUMBER + r"(?:mils|cc|ccs)\b", r"\1 ml"),
    (_AFTER_NUMBER + r"ug\b", r"\1 mcg"),
    (_AFTER_NUMBER + r"(?:gram(?:me)?s?|gms?)\b", r"\1 g"),
    (_AFTER_NUMBER + r"kilos?\b", r"\1 kg"),
    (_AFTER_NUMBER + r"lit(?:er|re)s?\b", r"\1 l"),
    (_AFTER_NUMBER + r"centimet(?:er|re)s?\b", r"\1 cm"),
    (_AFTER_NUMBER + r"millimet(?:er|re)s?\b", r"\1 millimeters"),
    (_AFTER_NUMBER + r"(?:pound|lbs?)\b", r"\1 pounds"),
    (_AFTER_NUMBER + r"degree\b", r"\1 degrees"),
)
