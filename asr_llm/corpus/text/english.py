"""The normaliser ``medical-en``: English dialogue about symptoms, doses and measurements."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from asr_llm.corpus.text import openai
from asr_llm.corpus.text.basic import basic
from asr_llm.corpus.text.english_letters import joined
from asr_llm.corpus.text.english_numbers import SCALES, SMALL, UNDER_100, any_of, in_digits, row
from asr_llm.corpus.text.english_spelling import american

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def medical(text: str) -> str:
    """For dialogue about doses.

    As OpenAI's, by its tables: contractions and titles written out, American spelling, no
    diacritics, nothing in round, square or angle brackets. Otherwise by rules of its own:

    *Numbers* are digits without leading or trailing zeros ("one" too), see ``english_numbers``.
    They end where the phrase does: "two. Five hundred" is two numbers. "point" is decimal only
    after a number ("at that point two"), or before a number with a unit ("point five milligrams").
    *Written and spoken*: "10:30" is "ten thirty", "120/80" "120 over 80", "1:1000" "1 to 1000",
    "$5 million" "five million dollars", "half a milligram" "0.5 mg", "5-10" "five to ten", "10:00"
    "ten o'clock", "1/2 tablet" "half a tablet", "&" "and".
    *Units* are mg, mcg, g, kg, ml (also cc), l, cm, millimeters, pounds, percent and degrees;
    letters and everyday words ("g", "gram", "l", "cc") only after a number. Letters and digits
    stand apart: "B12" is "b 12". "5 mg/kg" is "5 mg per kg"; any other slash is a space.
    *Spelling* is American, in medicine too, see ``english_spelling``; spelled letters are one
    word ("N H S"), see ``english_letters``.
    *Fillers* dropped: uh, uhm, um, erm, hm, mm, however long. Answers are kept: "mhm", which
    "mm-hmm" and "uh-huh" become, and the words "oh" and "ah". "er" stays, because of the ER.
    *Unified*: ok, okay, a lone "K."; alright, all right; mum, mam, mom; cannot, can not; 'cause,
    cos, coz, because. "Yes", "yeah" and "yep" are different words, and stay apart.

    Applied twice it changes nothing more.
    """
    text = unicodedata.normalize("NFKC", _fractions(text)).lower().translate(_APOSTROPHES)
    text = _applied(_SYMBOLS, _BRACKETED.sub(" ", text))
    text = "\n".join(map(basic, _PHRASE_END.split(text)))
    text = _plain(text)
    text = openai.expanded(_applied(_BEFORE, text))
    text = " ".join(_TOKEN.findall(text))
    text = in_digits(" ".join(_applied(_WORDS, text).split(" ")))
    spelled = (_canonical(_SAME.get(word) or american(word)) for word in text.split())
    words = joined(_applied(_UNITS, " ".join(spelled)).split(), _word)
    return " ".join(words)


@lru_cache(maxsize=10_000)
def _word(word: str) -> tuple[str, ...]:
    return tuple(medical(word).split())


def _applied(rules: tuple[_Rule, ...], text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def _fractions(text: str) -> str:
    # Before NFKC, which makes "2½" a 21 and a 2.
    if text.isascii():
        return text
    text = re.sub(r"(?<=\d)\s?[½¼¾]", lambda m: {"½": ".5", "¼": ".25", "¾": ".75"}[m[0][-1]], text)
    return text.replace("½", " half ").replace("™", " ")


def _plain(text: str) -> str:
    """No diacritics, ASCII digits."""
    if text.isascii():
        return text
    from whisper_normalizer.basic import remove_symbols_and_diacritics

    lines = text.split("\n")
    text = "\n".join(remove_symbols_and_diacritics(line, keep="'.") for line in lines)
    return text if text.isascii() else re.sub(r"\d", lambda m: str(int(m[0])), text)


def _canonical(word: str) -> str:
    """A number without leading zeros, nor trailing ones after the point; any other word as is."""
    if not word[0].isdigit() or word.count(".") > 1:
        return word
    if "." in word:
        word = word.rstrip("0").rstrip(".")
    return re.sub(r"^0+(?=\d)", "", word)


def _rules(*rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[_Rule, ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


# Before anything is dropped --------------------------------------------------------------


def _time(match: re.Match[str]) -> str:
    """As it is spoken: "10:30" ten thirty, "7:05" seven oh five, "9:00" nine."""
    hour, minute = match[1].lstrip("0") or "0", match[2]
    if int(hour) > 24:
        return f"{match[1]} to {minute}"
    minutes = ["0", minute[1]] if minute[0] == "0" else [minute]
    return hour if minute == "00" else row([hour, *minutes])


def _pressure(match: re.Match[str]) -> str:
    high, low = int(match[1]), int(match[2])
    over = 60 <= high < 300 and 20 <= low < min(high, 200)
    return f"{high} over {low}" if over else match[0]


def _range(match: re.Match[str]) -> str:
    """As it is spoken: "5-10" five to ten; not "15-3", which is a name."""
    rises = float(match[1]) < float(match[2])
    return f"{match[1]} to {match[2]}" if rises else match[0]


def _money(match: re.Match[str]) -> str:
    scale = {"k": " thousand", "m": " million", "bn": " billion"}.get(match[3], f" {match[3]}")
    name = {"$": "dollars", "£": "pounds", "€": "euros"}[match[1]]
    return f"{match[2]}{scale if match[3] else ''} {name} "


_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\u2032\u00b4`", "'"))
_BRACKETED = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\((?!e?s\))[^()]*\)")
# A space may be missing after the mark: "worse.You"; not in G.P. and 1.5.
_PHRASE_END = re.compile(
    r"[.,;:!?…]+(?=\s|$)|(?<=[^\W\d_])[.,;:!?…]+(?=[^\W_]{2})|(?<=[^\W_]{2})[.,;:!?…]+(?=[^\W\d_])"
    r"|[,;!?…]+(?=[^\W\d_])|(?<=[^\W\d_])[,;!?…]+"
)
_SLASHED = (
    r"mg|mcg|μg|ug|g|kg|ml|dl|l|units?|m?mol|meq|iu|milligrams?|micrograms?|grams?|m?millimoles?"
)
_UP_TO_999 = r"(\d{1,3}(?:\.\d+)?)"
_AMOUNT = r"(\d[\d,]*(?:\.\d+)?)"
_SYMBOLS = _rules(
    (r"(?:^|(?<=[.,;!?…]\s)(?<!\b[a-z][.]\s))k(?=[.,!?]+(?:\s|$))", "okay"),
    (r"(?<!\w)'(?=cause\b)", "be"),
    (r"&", " and "),
    (r"(?<![\w.])\.(?=\d)", "0."),
    (r"(?<![^\s])[-\u2212](?=\d)", "minus "),
    (r"%", " percent "),
    (r"°\s?c\b", " degrees celsius "),
    (r"°\s?f\b", " degrees fahrenheit "),
    (r"°", " degrees "),
    (rf"([$£€])\s?{_AMOUNT}(?:\s?(hundred|thousand|million|billion|[km](?![^\W_])|bn)\b)?", _money),
    (r"¢", " cents "),
    (rf"(?<![^\W\d])({_SLASHED})/(?=[^\W\d])", r"\1 per "),
    (r"(?<![\d:.,/])(\d{1,2}):([0-5]\d)(?![\d:/]|[.,]\d)", _time),
    (r"(?<![\d:.,/])(\d{1,2})\.([0-5]\d)(?=\s?[ap]\.?m\b)", _time),
    (r"(?<![\d:.,/])(\d[\d,]*) ?: ?(\d[\d,]*)(?![\d:/]|\.\d)", r"\1 to \2"),
    (r"(?<![\d:.,/])(\d{2,3})\s?/\s?(\d{2,3})(?![\d/]|[.,]\d)", _pressure),
    (r"(?<![\d:.,/])(\d+)(?: |-| and )1/2(?![\d/])", r"\1.5"),
    (rf"(?<![\w:.,/-]){_UP_TO_999} ?[-\u2013] ?{_UP_TO_999}(?![\d:/-]|[.,]\d)", _range),
    (r"(?<![\d:.,/])1/2(?![\d/])", " half "),
)

# Words -----------------------------------------------------------------------------------

_BEFORE = _rules(
    (r"(?<=\d)'s\b", "s"),
    (r"(?<=\d)(?=[^\W\d])(?!(?:st|nd|rd|th|s)\b)|(?<=[^\W\d])(?=\d)", " "),  # B12
)
_TOKEN = re.compile(r"\n|\d+(?:\.\d+)*(?:(?:st|nd|rd|th|s)\b)?|[^\W\d]+")
_NUMBER_WORD = rf"(?:\d+(?:\.\d+)?|{any_of(SMALL)}|hundred|thousand|million)"
_DOSE_UNIT = (
    r"(?:mgs?|mcgs?|μg|ug|kgs?|g|mls?|l|cc|percent|per cent"
    r"|(?:milli|micro|kilo)?gram(?:me)?s?|(?:milli)?lit(?:er|re)s?)\b"
)
_NOT_AFTER_NUMBER = "".join(rf"(?<!{word} )" for word in (r"\d", *SMALL, "oh", "hundred", *SCALES))
_WORDS = _rules(
    (r"\b(?:mm+|hm|uh) h+m+\b|\buh huh\b|\bmm+hmm+\b|\bm+hm+\b", "mhm"),
    (rf"\b({_NUMBER_WORD}) mm\b", r"\1 millimeters"),  # not the filler
    (r"\b(?:u+h+|u+h*m+|er+m+|h+m+|mm+)\b", ""),
    (r" +", " "),
    (r"\boh+\b", "oh"),
    (r"\bah+\b", "ah"),
    (r"\bnought\b|\bnaught\b", "zero"),
    (r"\bcannot\b", "can not"),
    (r"\balright\b", "all right"),
    (r"\bcos\b|\bcoz\b", "because"),
    (r"\b(gastro|tracheo|angio|cardio|naso|phyto|xeno) o?e(?=soph|dem|str)", r"\1e"),
    (r"\b(kind|sort)a\b", r"\1 of"),
    (r"\bdunno\b", "do not know"),
    (rf"(?<!\S){_NOT_AFTER_NUMBER}point(?= (?:{UNDER_100} ){{1,3}}{_DOSE_UNIT})", "zero point"),
)
# Before the tables of spellings, which make "mhm" a "hmm".
_SAME = {"mhm": "mhm", "ok": "okay", "mum": "mom", "mam": "mom", "mums": "moms"}


# Units -----------------------------------------------------------------------------------


def _cents(match: re.Match[str]) -> str:
    return f"{_canonical(f'{match[1]}.{int(match[3]):02}')} {match[2]}"


_AFTER_NUMBER = r"(?<![\w.])(\d+(?:\.\d+)?) "
_HALVED = (
    r"(?=(?:mgs?|mcgs?|kgs?|mls?|g|l|cc|cm|mm|ug|μg|units?|mmol|pounds?|degrees?|percent"
    r"|(?:milli|micro|kilo)?grams?|kilos?|(?:milli|deci)?liters?|mils?|(?:centi|milli)meters?)\b)"
)
_UNITS = _rules(
    (r"\bper cent\b", "percent"),
    (_AFTER_NUMBER + r"o clock\b", r"\1"),
    (r"\bdegrees c\b", "degrees celsius"),
    (r"\bdegrees f\b", "degrees fahrenheit"),
    (r"(?<![\w.])(\d+) and a half\b", r"\1.5"),
    (r"(?<!\band a )(?<!\band )\bhalf (?:of )?(?:an? )?" + _HALVED, "0.5 "),
    (r"(?<!and )\b(?:a|1) half\b", "half"),
    (r"\bhalf (?:of )?an? (?=[a-z])", "half "),
    (r"\b(?:a|1) quarter (?:of )?(?:an? )?" + _HALVED, "0.25 "),
    (r"\b3 quarters (?:of )?(?:an? )?" + _HALVED, "0.75 "),
    (r"\bmilligram(?:me)?s?\b|\bmgs\b", "mg"),
    (r"\bmicrogram(?:me)?s?\b|\bmcgs\b|\bμg\b", "mcg"),
    (r"\bkilogram(?:me)?s?\b|\bkgs\b", "kg"),
    (r"\bmillilit(?:er|re)s?\b|\bmls\b", "ml"),
    (r"\bdecilit(?:er|re)s?\b", "dl"),
    (r"\bmillimoles?\b", "mmol"),
    (r"\bmillimeters? of mercury\b|\bmm hg\b", "mmhg"),
    (r"\bbeats (?:per|a) minute\b", "bpm"),
    (r"\bper (?:liter|gram)\b", lambda match: match[0][:5]),
    (_AFTER_NUMBER + r"(?:mils|cc|ccs)\b", r"\1 ml"),
    (_AFTER_NUMBER + r"ug\b", r"\1 mcg"),
    (_AFTER_NUMBER + r"(?:gram(?:me)?s?|gms?)\b", r"\1 g"),
    (_AFTER_NUMBER + r"kilos?\b", r"\1 kg"),
    (_AFTER_NUMBER + r"lit(?:er|re)s?\b", r"\1 l"),
    (_AFTER_NUMBER + r"centimet(?:er|re)s?\b", r"\1 cm"),
    (_AFTER_NUMBER + r"(?:millimet(?:er|re)s?|mm)\b(?! of mercury)", r"\1 millimeters"),
    (_AFTER_NUMBER + r"(?:pound|lbs?)\b", r"\1 pounds"),
    (_AFTER_NUMBER + r"(degree|dollar|euro|cent)\b", r"\1 \2s"),
    (_AFTER_NUMBER + r"(dollars|euros) (?:and )?(\d\d?) cents\b", _cents),
)
