"""Spoken English forms of digits, units and symbols, for aligners that only know letters.

The transcript is unchanged: only the aligner sees "twenty five milligrams" for "25 mg". A number
with several readings (1984, 120, 0) has several forms, likeliest first; the aligner picks the one
that fits the audio.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_PIECES = re.compile(
    rf"(?P<money>[$£€])(?P<amount>{_NUMBER})(?P<scale>[kKmM]|bn)?\b"
    r"|(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
    r"|(?P<ordinal>\d+)(?:st|nd|rd|th)\b"
    r"|(?P<decade>\d\d(?:\d\d)?)[’']?s\b"
    rf"|(?P<number>{_NUMBER})"
    r"|(?P<word>[^\W\d_½¼¾]+(?:['’][^\W\d_½¼¾]+)*)"
    r"|(?P<symbol>\S)"
)
_MONEY = {"$": "dollars", "£": "pounds", "€": "euros"}
_SCALES = {"k": "thousand", "m": "million", "bn": "billion"}
_MAGNITUDES = {"hundred", "thousand", "million", "billion", "trillion"}
_UNITS = {
    "mg": "milligrams",
    "mcg": "micrograms",
    "µg": "micrograms",
    "μg": "micrograms",
    "g": "grams",
    "kg": "kilograms",
    "ml": "milliliters",
    "dl": "deciliters",
    "l": "liters",
    "mmol": "millimoles",
    "meq": "milliequivalents",
    "mmhg": "millimeters of mercury",
    "iu": "international units",
    "mm": "millimeters",
    "cm": "centimeters",
    "km": "kilometers",
    "m": "meters",
    "in": "inches",
    "ft": "feet",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "h": "hours",
    "hr": "hours",
    "hrs": "hours",
    "min": "minutes",
    "s": "seconds",
    "sec": "seconds",
    "hz": "hertz",
    "khz": "kilohertz",
    "mhz": "megahertz",
    "ghz": "gigahertz",
    "gb": "gigabytes",
    "mb": "megabytes",
    "mph": "miles per hour",
    "bpm": "beats per minute",
    "c": "celsius",
    "f": "fahrenheit",
}
_AMBIGUOUS = {"in", "m", "g", "s", "c", "f", "l", "h", "min"}
"""Units that are also words or letters, unless joined to a number."""
_SYMBOLS = {
    "%": "percent",
    "&": "and",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "#": "number",
    "§": "section",
    "°": "degrees",
    "×": "times",
    "±": "plus or minus",
    "<": "less than",
    ">": "greater than",
    "½": "half",
    "¼": "a quarter",
    "¾": "three quarters",
}
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Reading = Callable[[str], str]


def needs_saying(text: str) -> bool:
    """Whether a text has anything that is spoken differently from how it is written."""
    return any(c.isdecimal() or c in _SYMBOLS or c in _MONEY for c in text)


def ways_to_say(text: str) -> list[tuple[str, ...]]:
    """The spoken forms of each white-space word of a text, likeliest first."""
    words = text.split()
    found = []
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        after = words[i + 1] if i + 1 < len(words) else ""
        found.append(tuple(dict.fromkeys(_said(word, before, after, way) for way in _READINGS)))
    return found


def _said(word: str, before: str, after: str, read: Reading) -> str:
    if _follows_money(before, word):
        return f"{word} {_MONEY[before.lstrip('(')[0]]}"
    if _is_plain(word) and not _is_unit_after(before, word):
        return word
    pieces = list(_PIECES.finditer(word))
    said = [_piece(pieces, i, before, after, read) for i in range(len(pieces))]
    return " ".join(filter(None, said)) or word


def _piece(pieces: Sequence[re.Match[str]], i: int, before: str, after: str, read: Reading) -> str:
    """The spoken form of a part of a word: a number, letters or a symbol."""
    piece = pieces[i]
    kind, text = str(piece.lastgroup), piece.group()
    numeric = i > 0 and pieces[i - 1]["number"] is not None
    if piece["money"]:
        scale = _SCALES.get((piece["scale"] or "").lower(), "")
        unit = "" if _follows_money(piece.group(), after) else _MONEY[piece["money"]]
        if unit and piece["amount"] == "1" and not scale:
            unit = unit[:-1]
        return " ".join(filter(None, (_money(piece["amount"], read), scale, unit)))
    if piece["hour"]:
        return _clock(piece)
    if piece["ordinal"] and len(piece["ordinal"]) < 10:
        return _words(int(piece["ordinal"]), to="ordinal")
    if piece["decade"]:
        return _decade(piece["decade"])
    if kind == "number":
        # With a comma it is a count, not a year.
        return _as_number(text.replace(",", "")) if "," in text else read(text)
    if kind == "word":
        glued = numeric and piece.start() == pieces[i - 1].end()
        if text.lower() in _UNITS and (
            glued or _is_unit_after(before, text) or _is_rate(pieces, i)
        ):
            return _unit(text, pieces[i - 1].group() if glued or i else before)
        return text
    if text in "-–/" and numeric and i + 1 < len(pieces) and pieces[i + 1]["number"]:
        return "over" if text == "/" else ("to" if text == "–" else "")
    if text == "/" and _is_rate(pieces, i + 1):
        return "per"
    return _SYMBOLS.get(text, "")


def _is_plain(word: str) -> bool:
    return not needs_saying(word)


def _follows_money(before: str, word: str) -> bool:
    """Whether "million" follows "$5", so that "dollars" comes after it."""
    bare = before.lstrip("(")
    return bare[:1] in tuple(_MONEY) and word.strip(".,;:!?)").lower() in _MAGNITUDES


def _is_unit_after(before: str, word: str) -> bool:
    """Whether a word by itself is the unit of the number before it: "25 mg", "140 mg/dL"."""
    first = re.split(r"[^\w]", word)[0].lower()
    known = first in _UNITS and first not in _AMBIGUOUS
    return known and before[-1:].isdigit()


def _is_rate(pieces: Sequence[re.Match[str]], i: int) -> bool:
    """Whether a piece is the "dL" of "mg/dL"."""
    if not 2 <= i < len(pieces) or pieces[i - 1].group() != "/":
        return False
    names = (pieces[i].group().lower(), pieces[i - 2].group().lower())
    return all(name in _UNITS for name in names)


def _unit(text: str, number: str) -> str:
    """In the singular after 1, and after "per"."""
    said = _UNITS[text.lower()]
    if number in ("1", "/") and said.endswith("s") and " " not in said:
        return "foot" if said == "feet" else said[:-1]
    return said


def _clock(piece: re.Match[str]) -> str:
    hour, minute = int(piece["hour"]), int(piece["minute"])
    if not minute and piece["second"] is None:
        return f"{_words(hour)} o'clock" if 0 < hour <= 12 else f"{_words(hour)} hundred"
    said = f"{_words(hour)} {'oh ' if minute < 10 else ''}{_words(minute)}"
    return said + (f" {_words(int(piece['second']))}" if piece["second"] else "")


def _decade(digits: str) -> str:
    year = _words(int(digits), to="year") if len(digits) == 4 else _words(int(digits))
    return f"{year[:-1]}ies" if year.endswith("y") else f"{year}s"


def _money(amount: str, read: Reading) -> str:
    whole, _, cents = amount.replace(",", "").partition(".")
    return f"{read(whole)} {_words(int(cents))}" if len(cents) == 2 and whole else read(amount)


# Readings --------------------------------------------------------------------------------


def _as_year(number: str) -> str:
    """1984 as a year, the rest as Americans count: no "and"."""
    if len(number) == 4 and number.isdigit() and "1100" <= number <= "2099":
        return _words(int(number), to="year").replace(" and ", " ")
    return _as_number(number).replace(" and ", " ")


def _as_number(number: str) -> str:
    """British style, "one hundred and five"; numbers with leading 0 digit by digit."""
    whole, point, decimals = number.partition(".")
    if (len(whole) > 1 and whole[0] == "0") or len(whole) > 12:
        said = _as_digits(whole)
    else:
        said = _words(int(whole)) if whole else ""
    return f"{said} point {_as_digits(decimals)}".strip() if point else said


def _in_pairs(number: str) -> str:
    """120 as "one twenty", 1250 as "twelve fifty", with "oh" for zeros."""
    if len(number) < 3 and number.isdigit():
        return _as_number(number)
    if not number.isdigit() or not 3 <= len(number) <= 4 or number.endswith("00"):
        return _as_digits(number, "oh")
    first, last = number[:-2], number[-2:]
    return f"{_words(int(first))} {'oh ' if last[0] == '0' else ''}{_words(int(last))}"


def _as_digits(number: str, zero: str = "zero") -> str:
    said = {"0": zero, ".": "point"}
    return " ".join(said.get(c) or _DIGITS[int(c)] for c in number if c.isdecimal() or c == ".")


_READINGS: tuple[Reading, ...] = (_as_year, _as_number, _in_pairs, _as_digits)


@cache
def _words(number: int, **how: Any) -> str:
    from num2words import num2words

    return re.sub(r"[-,]", " ", num2words(number, **how)).replace("  ", " ")
