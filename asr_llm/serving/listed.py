"""Finds listed phrases in a text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from asr_llm.corpus.terms.phrases import PhraseFinder


def listed(words: Sequence[str], phrases: Iterable[str]) -> list[range]:
    """Positions of listed phrases as ranges of indices into ``words``, in order.

    ``corpus.terms.phrases`` defines matches, as for scores. None overlap: of phrases joined in one
    word, the first counts.
    """
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    places: list[range] = []
    for found in PhraseFinder(phrases).find(" ".join(words)):
        first, stop = bisect_right(starts, found.start) - 1, bisect_left(starts, found.end)
        if not places or first >= places[-1].stop:
            places.append(range(first, stop))
    return places
