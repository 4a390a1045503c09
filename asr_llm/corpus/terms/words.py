"""The words of a sentence, and what their places and capitals say of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from asr_llm.corpus.terms.phrases import key as folded

_REFERENCES = (
    r"\d+ U\.S\.C\. (?:§+ ?)?\d+\w*(?:\(\w+\))*",  # 42 U.S.C. § 1983
    r"\d+ (?:U\.S\.|S\. ?Ct\.|F\.(?:\dd|4th)?|F\. ?Supp\.(?: \dd)?) \d+",  # 347 U.S. 483
    r"Rule \d+(?:\.\d+)*(?:\(\w+\))*",  # Rule 12(b)(6)
    r"§+ ?\d+[\w.-]*\b(?:\(\w+\))*",
)
_TOKEN = re.compile(
    rf"(?P<reference>(?<!\w)(?:{'|'.join(_REFERENCES)}))"
    r"|\bvs?\.|\b(?:[A-Z]\.){2,}|[^\W_]+(?:['’.&/‐‑-][^\W_]+)*"
)
# A point after one or two letters ("Dr.", "v.") ends no sentence.
_SENTENCE_END = re.compile(r"(?<![\W\d_])[^\W_]{3,}[\"'”’)]*[.?!][\"'”’)]* |[?!:] ")

FUNCTION = 5.6
"""Zipf frequency (log10 of occurrences in 10^9 words) of function words: "have", "will"."""


@cache
def english_zipf(word: str) -> float:
    """Zipf frequency of a word in English; 0 if it is unknown."""
    from wordfreq import zipf_frequency  # 0.2 s

    return zipf_frequency(word, "en")


@dataclass(frozen=True)
class Token:
    """A word of a sentence, characters ``start`` to ``end`` (exclusive) of it."""

    text: str
    key: str  # how words are told apart, see ``phrases``: case does not count
    start: int
    end: int
    initial: bool  # begins a sentence, where a capital says nothing
    joined: bool  # only a space before it
    capital: bool  # and that says something
    reference: bool


def tokens_of(sentence: str) -> list[Token]:
    """The words of a sentence, its white space evened out; a reference (Rule 12(b)(6)) is one."""
    sentence = " ".join(sentence.split())
    starts = {0} | {match.end() for match in _SENTENCE_END.finditer(sentence)}
    found = list(_TOKEN.finditer(sentence))
    in_capitals = sum(match.group()[0].isupper() for match in found)
    prose = 2 * in_capitals <= len(found) + 1  # no heading
    tokens, end = [], -1
    for match in found:
        text, start = match.group(), match.start()
        before = sentence[max(end, 0) : start]
        initial = end < 0 or any(end <= at <= start for at in starts)
        tokens.append(
            Token(
                text=text,
                key=folded(text),
                start=start,
                end=match.end(),
                initial=initial,
                joined=before == " " and end >= 0 and not initial,
                capital=prose and not initial and text[0].isupper(),
                reference=match["reference"] is not None,
            )
        )
        end = match.end()
    return tokens
