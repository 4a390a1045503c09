"""What is too long to learn from, in pieces: recordings cut between words, text at sentences."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asr_llm.corpus.alignment import alignment_items, word_items
from asr_llm.corpus.synthesis import Word

if TYPE_CHECKING:
    from lhotse.cut import Cut

LONGEST_SECONDS = 24.0
"""Of speech in one training sequence."""

LONGEST_TEXT = 180
"""Characters of text in one: in short sentences, slowly spoken, as long."""

_MARGIN = 0.25  # seconds around the words of a piece, where it is quiet there


def text_pieces(text: str, longest: int = LONGEST_TEXT) -> list[str]:
    """A text in pieces of at most so many characters: sentences, together while they fit.

    A sentence that is longer is cut between words; a word that is longer is left whole.
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
    """Runs of words (first, after), in order, each of at most so many seconds.

    A run ends at the longest pause in the last third before the limit. A word that is longer by
    itself, which a wrong transcript may make, is in none.
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
    """A recording with a transcript, in pieces of at most so many seconds, each with its words.

    One that is short enough stays as it is. Of a longer one whose words have no times there is
    no piece. Pieces are named ``<id>-1`` and so on.
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
                if key != "first_pass"  # it is of the whole
            },
            alignment={"word": alignment_items(said, scores[first:after])},
        )
    ]
    return piece
