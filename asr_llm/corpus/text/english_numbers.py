"""Spoken English numbers in digits: "one hundred and twenty" → 120, "nineteen oh five" → 1905."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

_ONES = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_ONES |= {"six": 6, "seven": 7, "eight": 8, "nine": 9}
_TEENS = {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14}
_TEENS |= {"fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_TENS |= {"sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SMALL = {**_ONES, **_TEENS, **_TENS, "zero": 0, "a": 1}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_ORDINALS = {"first": "1st", "second": "2nd", "third": "3rd", "fifth": "5th", "eighth": "8th"}
_ORDINALS |= {"ninth": "9th", "twelfth": "12th"}
_ORDINALS |= {
    f"{word}th": f"{number}th"
    for word, number in {**_ONES, **_TEENS}.items()
    if number not in (1, 2, 3, 5, 8, 9, 12)
}
_TENTHS = {word[:-1] + "ieth": f"{number}th" for word, number in _TENS.items()}
_DECADES = {word[:-1] + "ies": f"{number}s" for word, number in _TENS.items()}
_IN_CENTURY = {**_DECADES, "tens": "10s", "hundreds": "00s"}
_CENTURIES = {"sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20}


def any_of(words: dict[str, Any]) -> str:
    """A pattern of any of the words."""
    return "(?:" + "|".join(words) + ")"


UNDER_100 = rf"(?:{any_of(_TENS)}(?: {any_of(_ONES)})?|{any_of(_TEENS)}|{any_of(_ONES)}|zero)\b"
_FACTOR = r"(?:a|\d+(?:\.\d+)?)"
_HUNDREDS = rf"(?:(?:{UNDER_100}|{_FACTOR}) )?hundred\b(?:(?: and)? {UNDER_100})?"
_GROUP = rf"(?:{_HUNDREDS}|{UNDER_100})"
_SCALE = rf"{any_of(SCALES)}\b"
_SCALED = (
    rf"(?:(?:{_GROUP}|{_FACTOR}) )?{_SCALE}"
    rf"(?:(?: and)? {_GROUP} {_SCALE})*(?:(?: and)? {_GROUP}(?! {_SCALE}))?"
)
_CARDINAL = rf"(?:{_SCALED}|{_HUNDREDS})"
_DECIMALS = rf"(?: (?:{UNDER_100}|oh?\b))+"
# What is counted: "twenty thirty minutes" is no year.
_COUNTED = (
    r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|times|percent|"
    r"per cent|degrees?|pounds?|dollars?|euros?|cents?|kilos?|stone|feet|inches|miles?|people|"
    r"patients|units?|tablets?|pills?|capsules?|doses?|puffs?|drops?|sprays?|cigarettes|drinks|"
    r"mgs?|mcgs?|kgs?|mls?|cc|cm|(?:milli|micro|kilo)?gram(?:me)?s?|(?:centi|milli)?met(?:er|re)s?|"
    r"(?:milli)?lit(?:er|re)s?)\b"
)
# In a row, a word that begins a larger number is not of the row: "one five hundred mg tablet".
_ITEM = rf"{UNDER_100}(?! (?:hundred|thousand|million|billion|point)\b)"
# A zero before digits: "o seven seven"; "oh" only before three, since it is a word too.
_DIGIT = rf"(?:{any_of(_ONES)}|zero)\b(?! (?:hundred|thousand|million|billion|point)\b)"
_LEADING = rf"(?:o(?= {_DIGIT} {_DIGIT})|oh(?= {_DIGIT} {_DIGIT} {_DIGIT})) "
_NUMBERS = re.compile(
    rf"(?<!\S)(?:(?P<tens>{any_of(_TENS)} )?(?P<ordinal>{any_of(_ORDINALS)})"
    rf"|(?P<century>{any_of(_CENTURIES)}) (?P<decade>{any_of(_IN_CENTURY)})"
    rf"|(?P<ready>{any_of({**_TENTHS, **_DECADES})})"
    rf"|(?P<whole>{_CARDINAL}|{UNDER_100}|\d+(?= point {UNDER_100})) point(?P<decimals>{_DECIMALS})"
    rf"(?: (?P<scale>{_SCALE}))?"
    rf"|(?P<cardinal>{_CARDINAL})"
    rf"|(?P<row>(?:{_LEADING})?{_ITEM}(?:(?: oh?)* {_ITEM})*|{UNDER_100}))"
    rf"(?!\S)(?P<counted>(?= {_COUNTED}))?"
)


def in_digits(text: str) -> str:
    """Write the numbers in lower-case words as digits.

    Rows are joined where English joins them: "one twenty" (120), "seven fifty", years, and three or
    more digits; not "two three days", "ten fifteen", years before a counted noun ("twenty thirty
    minutes"), or counting up or down ("three two one"). "oh" and "o" are zero within a row.
    """
    return _NUMBERS.sub(_number, text)


def _number(match: re.Match[str]) -> str:
    if match["ordinal"]:
        ordinal = _ORDINALS[match["ordinal"]]
        if not match["tens"]:
            return ordinal
        tens = _TENS[match["tens"].strip()]
        # "twenty twelfth" is no number.
        return f"{tens // 10}{ordinal}" if ordinal[1].isalpha() else f"{tens} {ordinal}"
    if match["century"]:
        return f"{_CENTURIES[match['century']]}{_IN_CENTURY[match['decade']]}"
    if match["ready"]:
        return (_TENTHS | _DECADES)[match["ready"]]
    if match["cardinal"]:
        return _value(match["cardinal"])
    if match["decimals"]:
        number = f"{_value(match['whole'])}.{''.join(_items(match['decimals']))}"
        return _value(f"{number} {match['scale']}") if match["scale"] else number
    return row(_items(match["row"]), counted=match["counted"] is not None)


def _value(words: str) -> str:
    total, group = Fraction(0), Fraction(0)
    for word in words.split():
        if word in SCALES:
            total, group = total + (group or Fraction(1)) * SCALES[word], Fraction(0)
        elif word == "hundred":
            group = (group or Fraction(1)) * 100
        elif word != "and":
            group += SMALL[word] if word in SMALL else Fraction(word)
    total += group
    if total.denominator == 1:
        return str(total)
    # Finite in decimal: no more than literals times powers of ten.
    return f"{Decimal(total.numerator) / Decimal(total.denominator):f}"


def _items(words: str) -> list[str]:
    """The numbers under 100 of a row, each in digits: "twenty five oh two" is 25, 0, 2."""
    found = re.findall(rf"{UNDER_100}|oh?\b", words)
    return ["0" if item in ("o", "oh") else _value(item) for item in found]


def row(items: list[str], counted: bool = False) -> str:
    """Join consecutive numbers under 100, or keep them apart.

    Args:
        counted: whether a counted noun follows.
    """
    digits = all(len(item) == 1 for item in items)
    if "0" in items or (digits and len(items) > 2 and not _counting(items)):
        return "".join(items)
    out: list[str] = []
    rest = [int(item) for item in items]
    while rest:
        first, rest = rest[0], rest[1:]
        second = rest[0] if rest else 0
        digit_first = first < 10 and second >= (10 if first <= 2 else 20)
        year = first in (19, 20) and second >= 10 and not (counted and len(rest) == 1)
        if digit_first or year:
            rest = rest[1:]
            out.append(f"{first}{second}")
        else:
            out.append(str(first))
    return " ".join(out)


def _counting(items: list[str]) -> bool:
    """Whether the numbers count up or down by one."""
    return {int(b) - int(a) for a, b in pairwise(items)} in ({1}, {-1})
