"""Named text normalisers, applied to references and hypotheses alike.

The rules of a named version never change; new rules get a new version number, which reports state
with their figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

from asr_llm.corpus.text import english, openai
from asr_llm.corpus.text.basic import basic
from asr_llm.errors import AsrLlmError

Normalizer = str | Callable[[str], str]
"""The name of one (see ``NORMALIZERS``), or a function."""


def normalize(text: str, normalizer: Normalizer = "none") -> str:
    """Apply a normaliser to ``text``.

    Raises:
        AsrLlmError: no normaliser has that name.
    """
    return _named(normalizer)(text)


def version(normalizer: str) -> str:
    """What to state beside figures: "basic 1", "whisper-en 1 (whisper_normalizer 0.1.15)".

    Raises:
        AsrLlmError: no normaliser has that name.
    """
    _named(normalizer)
    name = f"{normalizer} {_VERSIONS[normalizer]}"
    if normalizer in _OF_THE_LIBRARY:
        from importlib import metadata  # 60 ms

        name += f" (whisper_normalizer {metadata.version('whisper_normalizer')})"
    return name


def groups(text: str, normalizer: Normalizer = "none") -> list[tuple[range, range]]:
    """Map words of ``text`` to normalised words.

    Pairs of ranges, over ``text.split()`` and over ``normalize(text, normalizer).split()``. They
    partition both, in order: "give five hundred milligrams" → "give 500 mg" is (0-1, 0-1), (1-3,
    1-2), (3-4, 2-3). A dropped word has an empty second range.

    The smallest word groups are used that, normalised alone, give what the whole text has; if no
    group of up to 12 words does (a long bracket), one group spans the difficult part. Nothing is
    assumed about the normaliser. Time grows with the length of the text.

    Raises:
        AsrLlmError: no normaliser has that name.
    """
    return _Search(text.split(), normalize(text, normalizer).split(), _named(normalizer)).run()


def _named(normalizer: Normalizer) -> Callable[[str], str]:
    if not isinstance(normalizer, str):
        return normalizer
    try:
        return NORMALIZERS[normalizer]
    except KeyError:
        known = ", ".join(NORMALIZERS)
        raise AsrLlmError(f"unknown normalizer {normalizer!r}; expected one of: {known}") from None


def _none(text: str) -> str:
    return text


NORMALIZERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"none": _none, "basic": basic, "whisper-en": openai.whisper, "medical-en": english.medical}
)
"""Every normaliser by name."""

_VERSIONS = {"none": 1, "basic": 2, "whisper-en": 2, "medical-en": 3}
_OF_THE_LIBRARY = {"whisper-en", "medical-en"}

_LONGEST = 12  # words in a stretch
_ANCHOR = 4  # normalised words that tell a place in the text


@lru_cache(maxsize=50_000)  # words that come again, in this text and in others
def _normalized(function: Callable[[str], str], text: str) -> list[str]:
    return function(text).split()


class _Search:
    """Depth-first search for groups, shortest first.

    A state is (words read, normalised words written). Backtracking further than a group cannot
    help; the search then skips to the next position that can be identified.
    """

    def __init__(self, words: list[str], whole: list[str], function: Callable[[str], str]) -> None:
        self.words, self.whole, self.function = words, whole, function
        self.dead: set[tuple[int, int]] = set()
        self.anchors: dict[tuple[str, ...], list[int]] = {}
        for i in range(len(whole) - _ANCHOR + 1):
            self.anchors.setdefault(tuple(whole[i : i + _ANCHOR]), []).append(i)

    def run(self) -> list[tuple[range, range]]:
        end = (len(self.words), len(self.whole))
        path, best = [(0, 0)], [(0, 0)]
        while path[-1] != end:
            following = self._step(*path[-1])
            if following:
                path.append(following)
                continue
            if path[-1][0] > best[-1][0]:
                best = path.copy()
            self.dead.add(path.pop())
            if not path or path[-1][0] < best[-1][0] - _LONGEST:
                path = [*best, self._leap(*best[-1])]
                best = path.copy()
        return [(range(a, c), range(b, d)) for (a, b), (c, d) in pairwise(path)]

    def _normalized(self, start: int, stop: int) -> list[str]:
        return _normalized(self.function, " ".join(self.words[start:stop]))

    def _step(self, i: int, j: int) -> tuple[int, int] | None:
        for stop in range(i + 1, min(i + _LONGEST, len(self.words)) + 1):
            piece = self._normalized(i, stop)
            following = (stop, j + len(piece))
            if following not in self.dead and self.whole[j : following[1]] == piece:
                return following
        return None

    def _leap(self, i: int, j: int) -> tuple[int, int]:
        """The next position whose words are unchanged in the text; its end if there is none."""
        for start in range(i + 1, len(self.words)):
            ahead = tuple(self._normalized(start, start + 2 * _ANCHOR)[:_ANCHOR])
            furthest = j + 2 * (start - i) + _LONGEST
            for at in self.anchors.get(ahead, []):
                if j <= at <= furthest and (start, at) not in self.dead:
                    return start, at
        return len(self.words), len(self.whole)
