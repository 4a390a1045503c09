"""Splits what is too long for training: recordings between words, text at sentences."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.alignment import alignment_items, word_items
from asr_llm.corpus.speech.synthesis import Word

if TYPE_CHECKING:
    from lhotse.cut import Cut

LONGEST_SECONDS = 24.0
"""Maximum seconds of speech in a training sequence."""

LONGEST_TEXT = 180
"""Maximum characters of text in one, which take about as long when spoken slowly."""

_MARGIN = 0.25  # seconds around the words of a piece, where it is quiet there


def text_pieces(text: str, longest: int = LONGEST_TEXT) -> list[str]:
    """Split a text into pieces up to a number of characters, at sentences where possible.

    A longer sentence is split between words; a longer word is kept whole.
    """
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?…]) ", text):
        parts = textwrap.wrap(sentence, longest, break_long_words=False, break_on_hyphens=False)
        for part in parts:
            if pieces and len(pieces[-1]) + 1 + len(part) <= longest:
                pieces[-1] += f" {part}"
            else:
                pieces.append(part)
    return pieces


def word_runs(words: Sequence[Word], longest: float) -> list[tuple[int, int]]:
    """Runs of words (first, after), in order, each up to a number of seconds.

    A run ends at the longest pause in the last third before the limit. A single longer word, which
    a wrong transcript can cause, is dropped.
    """
    runs: list[tuple[int, int]] = []
    first = 0
    while first < len(words):
        limit = words[first].start + longest
        last = first
        while last + 1 < len(words) and words[last + 1].end <= limit:
            last += 1
        if words[last].end > limit:
            first += 1
            continue
        if last + 1 < len(words):
            late = [i for i in range(first, last) if words[i].end >= limit - longest / 3]
            last = max([*late, last], key=lambda i: (words[i + 1].start - words[i].end, i))
        runs.append((first, last + 1))
        first = last + 1
    return runs


def cut_pieces(cut: Cut, longest: float = LONGEST_SECONDS) -> list[Cut]:
    """Split a recording with a transcript into pieces with words, up to a number of seconds.

    A short recording is returned unchanged. A longer one without word times has no pieces. Pieces
    are named ``<id>-1`` etc.
    """
    if cut.duration <= longest:
        return [cut]
    items = word_items(cut)
    words = [Word(item.symbol, item.start, item.end) for item in items]
    scores = [item.score for item in items]
    return [
        _piece(cut, words, scores, first, after, f"{cut.id}-{number}")
        for number, (first, after) in enumerate(word_runs(words, longest - 3 * _MARGIN), start=1)
    ]


def _piece(
    cut: Cut, words: list[Word], scores: list[float | None], first: int, after: int, name: str
) -> Cut:
    """Words from ``first`` to before ``after``, up to half of the pause on either side."""
    from lhotse.utils import fastcopy

    begins, ends = words[first].start, words[after - 1].end
    before = words[first - 1].end if first else 0.0
    behind = words[after].start if after < len(words) else cut.duration
    start = max(begins - _MARGIN, (before + begins) / 2 if first else 0.0)
    end = min(ends + _MARGIN, (ends + behind) / 2 if after < len(words) else cut.duration)
    said = [Word(w.text, max(w.start - start, 0.0), w.end - start) for w in words[first:after]]
    piece = cut.truncate(offset=start, duration=end - start).with_id(name)
    piece.supervisions = [
        fastcopy(
            cut.supervisions[0],
            id=name,
            start=0.0,
            duration=piece.duration,
            text=" ".join(word.text for word in said),
            custom={
                key: value
                for key, value in (cut.supervisions[0].custom or {}).items()
                if key != "first_pass"  # it covers the whole recording
            },
            alignment={"word": alignment_items(said, scores[first:after])},
        )
    ]
    return piece
