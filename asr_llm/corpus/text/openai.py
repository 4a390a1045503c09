"""OpenAI's English normaliser, which published tables use, and its parts.

The package whisper_normalizer has OpenAI's code and spelling table, plus four extra replacements,
one of which changes the word "cause". They are removed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

_ADDED = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")
"""The library's extra replacements."""


def whisper(text: str) -> str:
    """OpenAI's normaliser, as published tables use it.

    Known harm: "oh" is 0, "1.5" is "one.5", "2.1" is "2 one", "5 mm" is 5, "positive two" is +2,
    and a contraction with a curly apostrophe (don’t) falls in two. Twice may change more than once
    does: "2 1" is "2 one", and that is 21.
    """
    made: str = normalizer()(text)
    return made.strip()


@cache
def normalizer() -> Any:
    """``EnglishTextNormalizer`` with OpenAI's rules and no others."""
    from whisper_normalizer.english import EnglishTextNormalizer  # 0.2 s

    made = EnglishTextNormalizer()
    for pattern in _ADDED:
        made.replacers.pop(pattern, None)
    return made


@cache
def spellings() -> Mapping[str, str]:
    """British spellings of general words, and the American ones."""
    table: Mapping[str, str] = normalizer().standardize_spellings.mapping
    return table


def expanded(text: str) -> str:
    """Lower-case text with its contractions and titles written out: "dr smith's" → "doctor ..." """
    apostrophes, words = _replacements()
    if "'" in text:
        for pattern, replacement in apostrophes:
            text = pattern.sub(replacement, text)
    return words[0].sub(lambda match: words[1][match[0]], text)


@cache
def _replacements() -> tuple[
    list[tuple[re.Pattern[str], str]], tuple[re.Pattern[str], dict[str, str]]
]:
    """OpenAI's replacements, those of whole words in one pattern."""
    apostrophes, words = [], {}
    for pattern, replacement in normalizer().replacers.items():
        word = re.fullmatch(r"\\b(\w+)\\b", pattern)
        if word:
            words[word[1]] = replacement.strip()
        else:
            apostrophes.append((re.compile(pattern), replacement))
    return apostrophes, (re.compile(rf"\b(?:{'|'.join(words)})\b"), words)
