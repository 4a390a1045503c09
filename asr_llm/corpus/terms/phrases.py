"""Finds listed phrases in a text: the single definition of what counts as a term.

Scores, the domain check, term proposals and biasing lists all use it, so that they agree. Phrases
are matched on characters:

- case, Unicode forms (NFKC), the kinds of apostrophes and of dashes, and how much white space
  stands between words make no difference; invisible characters are passed over;
- a phrase ends where a word does. "IgG" is found in "IgG." and "IgG-positive", not in "IgG4";
  "Crohn" in "Crohn's"; "vitamin B" not in "vitamin B-12", nor "FU" in "5-FU", "T" in "AT&T",
  "U.S." in "U.S.C." or "5" in "1.5" and "10:5"; but "mg" in "25mg".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_PLAIN = re.compile(r"[!-~]+(?=[\s!-~]|$)")
_SPACE = re.compile(r"\s+")
_UNEVEN = re.compile(r"[^\S ]|  ")
_PIECE = re.compile(r"[^\W_]+|\S")
_APOSTROPHES = frozenset("\u2019\u2018\u02bc\u02b9\u2032\u00b4`\u201b")
_DASHES = frozenset("\u2212\u2043\u02d7")  # beside those that Unicode calls dashes (Pd)
_SLASHES = frozenset("\u2044\u2215")
_KEPT = frozenset("™℠")  # letters after NFKC, which would end no word
_CLITIC = re.compile(r"'(?:s|ll|d|ve|re|m)?(?![^\W_])")
_UNIT = re.compile(
    r"(?:[munkμ]?g|mcg|[mdcμ]?l|cc|[munkμ]?mol|mmhg|meq|iu|bpm|[ckm]?m|hz|units?)(?![^\W_])"
)


class Found(NamedTuple):
    """Characters ``start`` to ``end`` (exclusive) of a text, and the phrase as listed."""

    start: int
    end: int
    phrase: str


@dataclass(frozen=True)
class Folded:
    """A text without insignificant differences, and the origin of its characters."""

    text: str
    starts: list[int] | None = None  # None: from the same place
    ends: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Characters of the original text, of characters of the folded one."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> Folded:
    """``text`` with case, Unicode form, apostrophes, dashes and spaces unified."""
    if text.isascii() and not _UNEVEN.search(text) and text.isprintable():
        return Folded(text.lower().replace("`", "'"))
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    while at < len(text):
        if plain := _PLAIN.match(text, at):
            pieces.append(plain[0].lower().replace("`", "'"))
            starts += range(at, plain.end())
            ends += range(at + 1, plain.end() + 1)
            at = plain.end()
            continue
        if space := _SPACE.match(text, at):
            end, piece = space.end(), " "
        else:
            end = at + 1
            while end < len(text) and unicodedata.category(text[end])[0] == "M":
                end += 1
            piece = _folded(text[at:end])
        if not (piece == " " and pieces and pieces[-1][-1:] in (" ", "§")):
            pieces += [piece] if piece else []
            starts += [at] * len(piece)
            ends += [end] * len(piece)
        at = end
    return Folded("".join(pieces), starts, ends)


def key(phrase: str) -> str:
    """The identity of a phrase: phrases with the same key match in the same places."""
    return fold(phrase).text.strip()


@lru_cache(maxsize=10_000)
def _folded(letter: str) -> str:
    """One letter with its marks."""
    category = unicodedata.category(letter[0])
    if letter[0] in _APOSTROPHES:
        return "'"
    if category == "Pd" or letter[0] in _DASHES:
        return "-"
    if letter[0] in _SLASHES:
        return "/"
    if letter in _KEPT:
        return letter
    if category in ("Cc", "Cf"):
        return ""
    once = unicodedata.normalize("NFKC", letter).casefold()
    return unicodedata.normalize("NFKC", once).replace("\u2044", "/")  # of "½"


class PhraseFinder:
    """Finds phrases in texts, in time nearly independent of their number.

    Of phrases with the same ``key``, the first is reported.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._listed: dict[str, str] = {}
        for phrase in phrases:
            if folded := key(phrase):
                self._listed.setdefault(folded, phrase)
        self._by_first: dict[str, list[str]] = defaultdict(list)
        for folded in sorted(self._listed, key=len, reverse=True):
            self._by_first[_PIECE.findall(folded)[0]].append(folded)

    def find(self, text: str) -> list[Found]:
        """The phrases in ``text``, in order. The longest match wins; none overlap."""
        folded = fold(text)
        taken = bytearray(len(folded.text))
        found = []
        for start, phrase in sorted(self._places(folded.text), key=lambda place: -len(place[1])):
            end = start + len(phrase)
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Found(*folded.span(start, end), self._listed[phrase]))
        return sorted(found)

    def count(self, texts: Iterable[str]) -> Counter[str]:
        """Occurrences of each phrase in the texts, by itself or inside another phrase."""
        counts: Counter[str] = Counter()
        for text in texts:
            ends: dict[str, int] = {}  # no phrase overlaps itself
            for start, phrase in self._places(fold(text).text):
                if start >= ends.get(phrase, 0):
                    ends[phrase] = start + len(phrase)
                    counts[self._listed[phrase]] += 1
        return counts

    def _places(self, text: str) -> list[tuple[int, str]]:
        found = []
        for match in _PIECE.finditer(text):
            at = match.start()
            pieces = [(at, match[0])]
            if match[0][0].isdigit() and (unit := _after_number(text, match)):
                pieces.append((unit, text[unit : match.end()]))
            for start, first in pieces:
                for phrase in self._by_first.get(first, ()):
                    if text.startswith(phrase, start) and _whole(text, start, len(phrase)):
                        found.append((start, phrase))
        return found


def _after_number(text: str, word: re.Match[str]) -> int | None:
    """Where the unit of "25mg" begins."""
    number = re.match(r"\d+", word[0])
    at = word.start() + (number.end() if number else 0)
    return at if at < word.end() and _UNIT.match(text, at) else None


def _whole(text: str, start: int, length: int) -> bool:
    return begins_word(text, start) and ends_word(text, start + length)


def begins_word(text: str, at: int) -> bool:
    """Whether a phrase that starts at ``at`` of a folded text starts a word."""
    first, before = text[at], text[at - 1 : at]
    if not before or before == " " or not (first.isalnum() or first in ".-+'"):
        return True
    if before.isalnum():
        return before.isdigit() and _UNIT.match(text, at) is not None
    further = text[at - 2 : at - 1]
    if not further.isalnum():
        return True
    if before == "'" or before == "&":
        return False
    if before == "-":
        return not (further.isdigit() or first.isdigit())
    if before in ".,:/" and first.isdigit() and further.isdigit():
        return False
    return not (before == "." and _single(text, at) and _single(text, at - 2))


def ends_word(text: str, at: int) -> bool:
    """Whether a phrase that ends before ``at`` of a folded text ends a word."""
    last, after = text[at - 1], text[at : at + 1]
    if not after or after == " " or not (last.isalnum() or last in ".-+'"):
        return True
    if after.isalnum():
        return False
    further = text[at + 1 : at + 2]
    if after == "'":
        return _CLITIC.match(text, at) is not None
    if not further.isalnum():
        return True
    if after == "&":
        return False
    if after == "-":
        return not further.isdigit()
    if after in ".,:/" and last.isdigit() and further.isdigit():
        return False
    return not (after == "." and _single(text, at - 1) and _single(text, at + 1))


def _single(text: str, at: int) -> bool:
    """Whether a letter stands alone, as in "G.P."."""
    beside = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    return text[at].isalpha() and not any(c.isalnum() for c in beside)
