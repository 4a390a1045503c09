"""Checkers of closed-ended instructions: was what was asked for done? No model judges.

Names and arguments are those of IFEval (arXiv 2311.07911), so that its data, and that of
SpeechInstructBench (arXiv 2503.02769), are read as they are published. Where they have nothing for
us, four names are our own: ``count:items``, ``keywords:any``, ``order:keywords`` and
``detectable_format:comma_list``. Sentences are counted by their final punctuation, where IFEval
uses a trained splitter, and the ``english_`` checkers look at case alone, not at the language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["count", "format", "include", "exclude", "case", "length", "order"]

Relation = Literal["less than", "at least", "at most", "exactly"]
_RELATIONS: Mapping[Relation, Callable[[int, int], bool]] = {
    "less than": lambda found, wanted: found < wanted,
    "at least": lambda found, wanted: found >= wanted,
    "at most": lambda found, wanted: found <= wanted,
    "exactly": lambda found, wanted: found == wanted,
}
_BULLET = re.compile(r"^\s*(?:\*(?!\*)|-|•)\s*\S.*$", re.MULTILINE)
_MARKED = re.compile(r"^\s*(?:\*(?!\*)|-|•|\(?\d+[.)])\s*\S.*$", re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?]*\w[^.!?]*(?:[.!?]+|$)")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|e\.g|i\.e)\.|(?<=\d)\.(?=\d)")


def words_in(text: str) -> list[str]:
    """The words of a text: letters, digits, and what joins them ("don't", "well-known")."""
    return re.findall(r"\w+(?:[-'’]\w+)*", text)


def items_in(text: str) -> list[str]:
    """The items of a list: its bullets or numbers; else its lines; else what commas and "and" part.

    What ends with a colon ("Here are three fruits:") introduces the list and is none of it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if marked := _MARKED.findall(text):
        return [item.strip() for item in marked]
    if lines and lines[0].endswith(":"):
        lines = lines[1:]
    if len(lines) != 1:
        return lines
    listed = lines[0].rpartition(": ")[2].rstrip(".!")
    return [item for item in re.split(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+", listed) if item.strip()]


def _related(found: int, wanted: int, relation: Relation) -> bool:
    return _RELATIONS[relation](found, wanted)


def _occurs(word: str, text: str) -> bool:
    return re.search(re.escape(word), text, re.IGNORECASE) is not None


def _keywords(text: str, keywords: list[str]) -> bool:
    return all(_occurs(word, text) for word in keywords)


def _any_keyword(text: str, keywords: list[str]) -> bool:
    return any(_occurs(word, text) for word in keywords)


def _frequency(text: str, keyword: str, frequency: int, relation: Relation = "at least") -> bool:
    found = re.findall(re.escape(keyword.strip()), text, re.IGNORECASE)
    return _related(len(found), frequency, relation)


def _forbidden(text: str, forbidden_words: list[str]) -> bool:
    return not any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
        for word in forbidden_words
    )


def _letters(
    text: str, letter: str, let_frequency: int, let_relation: Relation = "at least"
) -> bool:
    return _related(text.lower().count(letter.lower()), let_frequency, let_relation)


def _in_order(text: str, keywords: list[str]) -> bool:
    """Each keyword occurs as a word, the first occurrences one after the other."""
    found = [
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in keywords
    ]
    places = [match.start() for match in found if match is not None]
    return len(places) == len(keywords) and places == sorted(places)


def _items(text: str, num_items: int) -> bool:
    return len(items_in(text)) == num_items


def _comma_list(text: str, num_items: int) -> bool:
    line = text.strip()
    parts = line.rstrip(".").split(",")
    return "\n" not in line and len(parts) == num_items and all(part.strip() for part in parts)


def _words(text: str, num_words: int, relation: Relation = "at least") -> bool:
    return _related(len(words_in(text)), num_words, relation)


def _sentences(text: str, num_sentences: int, relation: Relation = "at least") -> bool:
    plain = _ABBREVIATION.sub("", text)
    return _related(len(_SENTENCE.findall(plain)), num_sentences, relation)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    inner = [part for part in parts[1:-1] if not part.strip()]
    return not inner and sum(bool(part.strip()) for part in parts) == num_paragraphs


def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts = [part for part in text.split("\n\n") if part.strip()]
    if len(parts) != num_paragraphs or not 1 <= nth_paragraph <= len(parts):
        return False
    return words_in(parts[nth_paragraph - 1].lower())[:1] == [first_word.lower()]


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    letters = [re.escape(x) for x in re.findall(r"\w", postscript_marker)]
    return re.search(rf"\b{r'[.]?[ ]?'.join(letters)}\b", text, re.IGNORECASE) is not None


def _bullets(text: str, num_bullets: int) -> bool:
    return len(_BULLET.findall(text)) == num_bullets


def _constrained(text: str) -> bool:
    options = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
    return any(option in text for option in options)


def _highlights(text: str, num_highlights: int) -> bool:
    found = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text)
    return sum(bool(one.strip("* ")) for one in found) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def _json(text: str) -> bool:
    inner = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        json.loads(inner)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    return any(one.strip("<> ") for one in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******") if part.strip()]
    return len(parts) == 2 and parts[0] != parts[1]


def _repeats(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _starts(text: str, starter: str) -> bool:
    """IFEval leaves it to chance that a line may begin so; here the whole text has to."""
    said = words_in(text.lower())
    return said[: len(words_in(starter))] == words_in(starter.lower())


def _ends(text: str, end_phrase: str) -> bool:
    said, wanted = words_in(text.lower()), words_in(end_phrase.lower())
    return bool(wanted) and said[-len(wanted) :] == wanted


def _quoted(text: str) -> bool:
    said = text.strip()
    return len(said) > 1 and said[0] in '"“' and said[-1] in '"”'


def _upper(text: str) -> bool:
    return text.isupper()


def _lower(text: str) -> bool:
    return text.islower()


def _no_comma(text: str) -> bool:
    return "," not in text


def _capital_words(
    text: str, capital_frequency: int, capital_relation: Relation = "at least"
) -> bool:
    found = sum(word.isupper() for word in words_in(text))
    return _related(found, capital_frequency, capital_relation)


def _language(text: str, language: str) -> bool:
    from langdetect import LangDetectException, detect  # type: ignore[import-not-found]

    try:
        return bool(detect(text) == language)
    except LangDetectException:
        return True  # as IFEval does


LANGUAGE = "language:response_language"


@dataclass(frozen=True)
class Checker:
    """What kind of instruction it is, and the function that checks a text, given its arguments."""

    kind: Kind
    check: Callable[..., bool]


CHECKERS: Mapping[str, Checker] = {
    "keywords:existence": Checker("include", _keywords),
    "keywords:any": Checker("include", _any_keyword),
    "keywords:frequency": Checker("count", _frequency),
    "keywords:forbidden_words": Checker("exclude", _forbidden),
    "keywords:letter_frequency": Checker("count", _letters),
    "order:keywords": Checker("order", _in_order),
    "count:items": Checker("count", _items),
    LANGUAGE: Checker("format", _language),
    "length_constraints:number_words": Checker("length", _words),
    "length_constraints:number_sentences": Checker("length", _sentences),
    "length_constraints:number_paragraphs": Checker("length", _paragraphs),
    "length_constraints:nth_paragraph_first_word": Checker("length", _first_word),
    "detectable_content:number_placeholders": Checker("include", _placeholders),
    "detectable_content:postscript": Checker("include", _postscript),
    "detectable_format:number_bullet_lists": Checker("format", _bullets),
    "detectable_format:comma_list": Checker("format", _comma_list),
    "detectable_format:constrained_response": Checker("format", _constrained),
    "detectable_format:number_highlighted_sections": Checker("format", _highlights),
    "detectable_format:multiple_sections": Checker("format", _sections),
    "detectable_format:json_format": Checker("format", _json),
    "detectable_format:title": Checker("format", _title),
    "combination:two_responses": Checker("format", _two_responses),
    "combination:repeat_prompt": Checker("order", _repeats),
    "startend:start_checker": Checker("order", _starts),
    "startend:end_checker": Checker("order", _ends),
    "startend:quotation": Checker("format", _quoted),
    "change_case:english_capital": Checker("case", _upper),
    "change_case:english_lowercase": Checker("case", _lower),
    "change_case:capital_word_frequency": Checker("case", _capital_words),
    "punctuation:no_comma": Checker("exclude", _no_comma),
}
"""Every checker by its name."""
