"""Where a text has words and phrases of a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

_ATTACHED = ".,;:!?…\"'“”‘’«»()[]{}"  # punctuation that stands beside a word and is not its own


def listed(words: Sequence[str], phrases: Iterable[str]) -> list[range]:
    """The places of listed phrases, as ranges of indices into ``words``, in order.

    Whatever their case and the punctuation around their words. At every place the longest phrase
    counts, and none overlap.
    """
    keys = [_key(word) for word in words]
    wanted = {tuple(map(_key, phrase.split())) for phrase in phrases} - {()}
    longest_first = sorted(wanted, key=lambda phrase: (phrase[0], -len(phrase)))
    by_first = {first: list(some) for first, some in groupby(longest_first, lambda p: p[0])}
    found, at = [], 0
    while at < len(keys):
        here = by_first.get(keys[at], [])
        length = next((len(p) for p in here if tuple(keys[at : at + len(p)]) == p), 0)
        if length:
            found.append(range(at, at + length))
        at += length or 1
    return found


def _key(word: str) -> str:
    return word.strip(_ATTACHED).casefold() or word
