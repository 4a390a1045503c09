"""Words that must not be lost or reversed: negations, sides, amounts, dose changes.

They are searched for in text normalised with ``medical-en``, which expands contractions, writes
numbers as digits and unifies units. By rules, not a model: one function per kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["negation", "side", "amount", "dose"]


class SafetyWord(NamedTuple):
    """Words ``start`` to ``stop`` (exclusive); ``value`` is what the hypothesis must say."""

    kind: Kind
    start: int
    stop: int
    value: str


def spot(words: Sequence[str]) -> list[SafetyWord]:
    """Find the safety words of a text, in order."""
    finders = (_negations, _sides, _amounts, _doses)
    return sorted((one for find in finders for one in find(words)), key=lambda one: one.start)


def _all(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Negations -------------------------------------------------------------------------------------

NEGATIONS = _all(
    "no nope not never none nothing nobody nowhere neither nor without nil deny denies denied "
    "denying negative unable"
)
_COURTESIES = _all("problem problems worries worry")  # "no problem" denies nothing


def _negations(words: Sequence[str]) -> Iterator[SafetyWord]:
    for i, word in enumerate(words):
        if word in NEGATIONS and not (word == "no" and _at(words, i + 1) in _COURTESIES):
            yield SafetyWord("negation", i, i + 1, "no")


# Sides -----------------------------------------------------------------------------------------

SIDES = {"left": "left", "right": "right", "bilateral": "both", "bilaterally": "both"}
_BODY = _all(
    "side sided hand handed foot feet arm leg eye ear knee hip shoulder elbow wrist ankle breast "
    "lung kidney chest groin thigh calf calves shin toe thumb finger heel cheek jaw temple nostril "
    "buttock flank loin ovary testicle testis lobe ventricle ventricular atrium atrial hemisphere "
    "quadrant abdomen tonsil tooth forearm armpit collarbone rib iliac fossa bundle bunion nipple "
    "femur tibia fibula humerus radius ulna carotid kneecap eyelid eyebrow lid limb bicep neck half"
)
_BETWEEN = _all("upper lower front back inner outer middle big little index ring main whole entire")
_PLACES = _all("on in to from of at down over towards behind under around near")
_OWNERS = _all("the your my his her their our")
_AFTER_SIDE = _all(
    "and or but is it was so then here there yeah yes no okay only mostly more than as when if "
    "at i you he she they did does do are have has that which where because for too also"
)


def _sides(words: Sequence[str]) -> Iterator[SafetyWord]:
    for i, word in enumerate(words):
        if word in SIDES and (word not in ("left", "right") or _is_side(words, i)):
            yield SafetyWord("side", i, i + 1, SIDES[word])


def _is_side(words: Sequence[str], i: int) -> bool:
    """Whether "left" or "right" refers to the body: "left knee", "on the right"."""
    after = i + 1
    while _at(words, after) in _BETWEEN:
        after += 1
    if _singular(_at(words, after)) in _BODY:
        return True
    placed = _at(words, i - 1) in _OWNERS and _at(words, i - 2) in _PLACES
    return placed and (_at(words, i + 1) == "" or _at(words, i + 1) in _AFTER_SIDE)


# Amounts ---------------------------------------------------------------------------------------

NUMBER = re.compile(r"\d+(?:\.\d+)?")
UNITS = _all(
    "mg mcg g kg ml l cm mm millimeter percent degree pound unit tablet pill capsule puff drop "
    "spoonful teaspoon dose time hour hourly day week month year minute second stone mmhg mmol iu "
    "inch feet meter mile pint patch sachet injection ampoule vial cigarette"
)
_RANGE = _all("to or and")
_FREQUENCIES = {"once": "1", "twice": "2", "thrice": "3"}
_EVERY = _all("a per every daily each")


def _amounts(words: Sequence[str]) -> Iterator[SafetyWord]:
    for i, word in enumerate(words):
        following = _at(words, i + 1)
        if word in _FREQUENCIES and following in _EVERY:
            yield SafetyWord("amount", i, i + 1, _FREQUENCIES[word])
        elif NUMBER.fullmatch(word):
            if unit(following):
                yield SafetyWord("amount", i, i + 2, f"{word} {unit(following)}")
            elif (pressure := _pressure(words, i)) is not None:
                yield pressure
            elif _begins_range(words, i):
                yield SafetyWord("amount", i, i + 1, word)


def _pressure(words: Sequence[str], i: int) -> SafetyWord | None:
    """Match 120/80, which a normaliser may turn into "120 80", or "120 over 80"."""
    second = i + 2 if _at(words, i + 1) == "over" else i + 1
    told = second == i + 2 or "pressure" in words[max(0, i - _NEAR) : i]
    if not told or not NUMBER.fullmatch(_at(words, second)):
        return None
    return SafetyWord("amount", i, second + 1, f"{words[i]} over {words[second]}")


def _begins_range(words: Sequence[str], i: int) -> bool:
    """Whether a number starts a range, like the 5 of "5 to 10 mg"."""
    between, number, of = (_at(words, i + k) for k in (1, 2, 3))
    return between in _RANGE and NUMBER.fullmatch(number) is not None and unit(of) is not None


def unit(word: str) -> str | None:
    """Return the unit that a word stands for, in the singular."""
    return next((w for w in (word, _singular(word)) if w in UNITS), None)


# Changes of a dose -----------------------------------------------------------------------------

_CHANGES = {
    "up": "increase increases increased increasing raise raised raising double doubled doubling",
    "down": "decrease decreases decreased decreasing reduce reduces reduced reducing lower lowered "
    "lowering halve halved halving taper tapered tapering",
    "start": "start starts started starting restart restarted resume resumed begin began",
    "stop": "stop stops stopped stopping discontinue discontinued withhold withheld cease ceased",
    "continue": "continue continues continued continuing keep keeps keeping",
}
CHANGES = {word: change for change, words in _CHANGES.items() for word in words.split()}
_MEDICINE = _all(
    "dose dosage mg mcg ml tablet pill capsule medication medicine med drug insulin inhaler "
    "steroid antibiotic prescription painkiller statin contraceptive antidepressant chemotherapy "
    "infusion aspirin paracetamol acetaminophen warfarin digoxin lithium furosemide prednisone "
    "prednisolone treatment therapy injection"
)
_NEAR = 6  # words
_DRUG = re.compile(
    r"\w{2,}(?:pril|sartan|olol|statin|mycin|cillin|azole|formin|gliptin|floxacin|triptan|dipine"
    r"|oxetine|azepam|zolam|parin|xaban|cycline|codone|profen|thiazide|tidine|setron|lukast|asone)"
)


def _doses(words: Sequence[str]) -> Iterator[SafetyWord]:
    for i, word in enumerate(words):
        if word in CHANGES and any(
            _is_medicine(w) for w in words[max(0, i - _NEAR) : i + 1 + _NEAR]
        ):
            yield SafetyWord("dose", i, i + 1, CHANGES[word])


def _is_medicine(word: str) -> bool:
    return _singular(word) in _MEDICINE or _DRUG.fullmatch(word) is not None


def _at(words: Sequence[str], i: int) -> str:
    return words[i] if 0 <= i < len(words) else ""


def _singular(word: str) -> str:
    return word if word.endswith("ss") else word.removesuffix("s")
