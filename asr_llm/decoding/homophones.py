"""Misspelt words that sound like a listed phrase, written as listed.

A recogniser spells by ear what it does not know: "Verlock" for Verloc, "a lendronate" for
alendronate. A score bonus changes that only where the listed spelling is among the hypotheses. So
words of the final text that are in no dictionary, and are read aloud exactly as a listed phrase is,
become that phrase (eval/RESULTS.md#misspelt-terms). Words of English are never changed: "Steven"
stays beside a listed Stephen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from asr_llm.decoding.results import DecodedWord

_LONGEST = 3
"""Words that may stand for a phrase, such as "a lendronate"."""

_SHORTEST = 4
"""Phonemes of a phrase: shorter ones sound like parts of other words."""

_KNOWN = 1.5
"""Zipf frequency from which on a word counts as known: once in thirty million words."""

_WORD = re.compile(r"(\W*)([^\W\d_]+(?:['’-](?!s\b)[^\W\d_]+)*)(['’]s)?(\W*)")
"""Punctuation, letters, perhaps a possessive, punctuation."""

_UNHEARD = re.compile(r"[ˈˌːʔ\s-]|\([a-z-]+\)")
_ALIKE = str.maketrans({"ɚ": "ə", "ɐ": "ə", "ᵻ": "ɪ", "ɾ": "t", "ɔ": "ɑ"})
"""Vowels that many accents, and espeak-ng in other words, do not tell apart."""


@dataclass(frozen=True)
class Respelt:
    """Words ``first`` to ``last`` (exclusive) of a text, and what they become."""

    first: int
    last: int
    words: tuple[str, ...]


class Homophones:
    """Listed phrases by their sound, in American English.

    Args:
        phrases: of those that sound the same, none is used: which was said is not known.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self.phrases = tuple(phrases)

    def respell(
        self, text: str, words: tuple[DecodedWord, ...] = ()
    ) -> tuple[str, tuple[DecodedWord, ...]]:
        """A text with misspelt phrases written as listed, and its words, if given.

        Each word of a phrase has the least confidence of those that it replaces.
        """
        written, kept = text.split(), list(words)
        found = self.find(written)
        if not found:
            return text, words
        for one in reversed(found):
            written[one.first : one.last] = one.words
            if kept:
                before = kept[one.first : one.last]
                least = min(before, key=lambda own: own.confidence)
                kept[one.first : one.last] = [replace(least, text=word) for word in one.words]
        return " ".join(written), tuple(kept)

    def find(self, words: Sequence[str]) -> list[Respelt]:
        """The misspelt phrases among the words of a text, from left to right."""
        if not self.phrases:
            return []
        parts = [_WORD.fullmatch(word) for word in words]
        known = [part is None or self._is_known(part[2]) for part in parts]
        # From left to right, at each word the longest first.
        spans = [
            (i, last)
            for i in range(len(words))
            for last in range(min(i + _LONGEST, len(words)), i, -1)
            if not all(known[i:last])
        ]
        whole = {span: _unbroken(parts[slice(*span)]) for span in spans}
        spans = [span for span in spans if whole[span]]
        sounds = _sounds([" ".join(part[2] for part in whole[span]) for span in spans])
        found: list[Respelt] = []
        for (first, last), sound in zip(spans, sounds):
            phrase = self._by_sound.get(sound)
            if phrase is not None and (not found or found[-1].last <= first):
                found.append(Respelt(first, last, _fitted(phrase, whole[first, last])))
        return found

    def _is_known(self, word: str) -> bool:
        from wordfreq import zipf_frequency  # 0.2 s

        return word.lower() in self._listed or zipf_frequency(word, "en") >= _KNOWN

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(word for phrase in self.phrases for word in phrase.lower().split())

    @cached_property
    def _by_sound(self) -> dict[str, str]:
        spoken = [phrase for phrase in self.phrases if not re.search(r"\d", phrase)]
        found: dict[str, str] = {}
        alike = set()
        for phrase, sound in zip(spoken, _sounds(spoken)):
            if found.setdefault(sound, phrase).lower() != phrase.lower():
                alike.add(sound)
        return {s: p for s, p in found.items() if len(s) >= _SHORTEST and s not in alike}


def _unbroken(parts: Sequence[re.Match[str] | None]) -> list[re.Match[str]]:
    """Words with no mark between them; none if there is one, or a digit in a word."""
    words = [part for part in parts if part]
    marks = [part[3] or part[4] for part in words[:-1]] + [part[1] for part in words[1:]]
    return [] if len(words) < len(parts) or any(marks) else words


def _fitted(phrase: str, parts: list[re.Match[str]]) -> tuple[str, ...]:
    """A phrase in the place of words: with the marks around them, and an initial capital."""
    if parts[0][2][0].isupper():  # it may start a sentence
        phrase = phrase[0].upper() + phrase[1:]
    return tuple(f"{parts[0][1]}{phrase}{parts[-1][3] or ''}{parts[-1][4]}".split())


def _sounds(texts: Sequence[str]) -> list[str]:
    """Their phonemes, without stress, length and what few speakers tell apart."""
    from asr_llm.corpus.speech.espeak import espeak

    if not texts:
        return []
    return [_UNHEARD.sub("", said).translate(_ALIKE) for said in espeak().phonemes(texts)]
