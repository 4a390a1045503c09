"""Alternatives of GLM rules: each of ``{A / B}`` counts as right, on either side.

A rule writes its first alternative. If the other side has a different alternative there, the
hypothesis is rewritten to match the reference, so that the number of reference words is the same
for all systems.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from asr_llm.evaluation.words import align

Words = tuple[str, ...]


class Piece(NamedTuple):
    """Words of a text as a rule writes them, and the alternatives it allows."""

    words: Words
    others: tuple[Words, ...] = ()


class _Edit(NamedTuple):
    """Replace hypothesis words ``start`` to ``stop`` with ``words``."""

    start: int
    stop: int
    words: Words


def nearest(said: Sequence[Piece], heard: Sequence[Piece]) -> str:
    """Return the hypothesis with the alternatives nearest to the reference."""
    search = _Search(said, heard)
    if any(piece.others for piece in (*said, *heard)):
        search.edit()
    return " ".join(search.heard)


class _Search:
    def __init__(self, said: Sequence[Piece], heard: Sequence[Piece]) -> None:
        self.pieces = said, heard
        self.said, self.heard = ([w for p in side for w in p.words] for side in self.pieces)

    def edit(self) -> None:
        """Write other alternatives into the hypothesis where that reduces errors."""
        steps = align(reference_words=self.said, hypothesis_words=self.heard)
        self._hits = [
            (step.reference or 0, step.hypothesis or 0) for step in steps if step.op == "hit"
        ]
        edits: list[_Edit] = []
        for side, pieces in enumerate(self.pieces):
            at = 0
            for piece in pieces:
                if piece.others and (edit := self._best(side, piece, at)):
                    edits.append(edit)
                at += len(piece.words)
        stop = len(self.heard)
        for edit in sorted(edits, reverse=True):
            if edit.stop <= stop:  # else the place is already edited
                self.heard[edit.start : edit.stop] = edit.words
                stop = edit.start

    def _best(self, side: int, piece: Piece, at: int) -> _Edit | None:
        """The edit that leaves the fewest errors around a piece, if any reduces them."""
        ours, theirs = self._around(side, at, at + len(piece.words))
        said = self.said[ours.start : ours.stop]

        def errors(edit: _Edit) -> int:
            before, after = (
                self.heard[theirs.start : edit.start],
                self.heard[edit.stop : theirs.stop],
            )
            return Levenshtein.distance(said, [*before, *edit.words, *after])

        if side == 0:
            found = self._as_said(piece, theirs)
        else:
            found = [_Edit(at, at + len(piece.words), other) for other in piece.others]
        best = min(found, key=errors, default=None)
        same = _Edit(theirs.start, theirs.start, ())
        return best if best is not None and errors(best) < errors(same) else None

    def _as_said(self, piece: Piece, theirs: range) -> list[_Edit]:
        """Replace another alternative in the hypothesis by that of the reference."""
        return [
            _Edit(start, start + len(other), piece.words)
            for other in piece.others
            for start in range(theirs.start, theirs.stop - len(other) + 1)
            if tuple(self.heard[start : start + len(other)]) == other
        ]

    def _around(self, side: int, start: int, stop: int) -> tuple[range, range]:
        """Reference and hypothesis words between the nearest hits around the given words."""
        first = bisect_left(self._hits, start, key=lambda hit: hit[side]) - 1
        last = bisect_left(self._hits, stop, key=lambda hit: hit[side])
        before = self._hits[first] if first >= 0 else (-1, -1)
        ends = len(self.said), len(self.heard)
        after = self._hits[last] if last < len(self._hits) else ends
        return range(before[0] + 1, after[0]), range(before[1] + 1, after[1])
