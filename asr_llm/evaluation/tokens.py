"""The words of a text, split further where a mention starts or ends inside one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from asr_llm.corpus.terms.phrases import begins_word, ends_word

# Punctuation that may be attached to a word. Not the hyphen, which joins words.
PUNCTUATION = ".,;:!?…\"'“”‘’«»()[]{}–—"
_ATTACHED = f"[{re.escape(PUNCTUATION)}]*"
_JOINT = re.compile(r"(?<=[^\W_])(?:['’](?=\w+$)|(?:[^\w\s'’]|_)+(?=[^\W_]))")
_ONE_KIND = str.maketrans({"’": "'", "‐": "-", "‑": "-", "–": "-", "—": "-"})


class Edges:
    """The first and last words of mentions, at which words are split on both sides.

    So "asthma" is found in "asthma's" and in "asthma-related".
    """

    def __init__(self, mentions: Iterable[Sequence[str]]) -> None:
        of_words = [[bare(word) for word in words] for words in mentions if words]
        self._first = {words[0] for words in of_words}
        self._last = {words[-1] for words in of_words}

    def cut(self, word: str) -> list[int]:
        """Positions in a word, without attached punctuation, at which further pieces start."""
        if word.isalnum():
            return []
        joints = [match.span() for match in _JOINT.finditer(word)]
        plain = word.translate(_ONE_KIND)
        begins, ends = [0, *(end for _, end in joints)], [*(start for start, _ in joints)]
        cuts = []
        for start, end in joints:
            left = any(word[at:start] in self._last for at in begins if at < start)
            right = any(word[end:at] in self._first for at in (*ends, len(word)) if at > end)
            if (left and ends_word(plain, start)) or (right and begins_word(plain, end)):
                cuts.append(start)
        return cuts


@dataclass(frozen=True)
class Tokens:
    """Words, or pieces of words, of a text.

    ``bare`` has them without attached punctuation, ``written`` with it, ``words`` the index of the
    first token of each white-space word, and of the end.
    """

    bare: list[str]
    written: list[str]
    words: list[int]

    @classmethod
    def of(cls, words: Sequence[str], edges: Edges) -> Tokens:
        """Split ``words`` at the edges."""
        if all(map(str.isalnum, words)):  # the common case: nothing to split or strip
            return cls([*words], [*words], [*range(len(words) + 1)])
        tokens = cls([], [], [])
        for word in words:
            tokens.words.append(len(tokens.bare))
            if word.isalnum():
                tokens.bare.append(word)
                tokens.written.append(word)
                continue
            inner = bare(word)
            cuts = edges.cut(inner)
            if not cuts:
                tokens.bare.append(inner)
                tokens.written.append(word)
                continue
            before = word.index(inner)
            places = [0, *(before + at for at in cuts), len(word)]
            for start, end in pairwise(places):
                piece = word[start:end]
                tokens.bare.append(bare(_unjoined(piece)) if start else bare(piece))
                tokens.written.append(piece)
        tokens.words.append(len(tokens.bare))
        return tokens

    def of_words(self, words: range) -> range:
        """The tokens of the given white-space words."""
        return range(self.words[words.start], self.words[words.stop])

    def text(self, span: range) -> str:
        """The written text of the tokens."""
        if not span:
            return ""
        starts = set(self.words)
        first, *others = span
        text = self.written[first] if first in starts else _unjoined(self.written[first])
        return text + "".join((" " if i in starts else "") + self.written[i] for i in others)

    def reads(self, span: range, text: str) -> bool:
        """Whether exactly this text is there, apart from punctuation attached outside."""
        return re.fullmatch(_ATTACHED + re.escape(text) + _ATTACHED, self.text(span)) is not None


def _unjoined(piece: str) -> str:
    """A piece without the marks that join it to the previous one; an apostrophe stays."""
    return re.sub(r"^(?:[^\w\s'’]|_)+", "", piece)


def bare(word: str) -> str:
    """A word without attached punctuation; a word of punctuation alone is kept."""
    return word.strip(PUNCTUATION) or word
