"""Joins the texts of two overlapping chunks."""

from __future__ import annotations

from difflib import SequenceMatcher

_LEEWAY = 2  # tolerance, in words, of the estimated position in the overlap


def stitch(left: str, right: str, shared_of_left: float, shared_of_right: float) -> tuple[str, str]:
    """Decide what to keep of each text, so that the overlap is written once.

    Words that both texts share are searched for near the seam, which is placed between shared words
    nearest the middle of the overlap, because chunks are least accurate at their edges, where words
    are cut off. Without shared words, each keeps its half.

    Args:
        shared_of_left: share, 0 to 1, of the left chunk's audio that the right one has too.
        shared_of_right: share of the right chunk's audio.
    """
    a, b = left.split(), right.split()
    if not a or not b:
        return left, right
    in_a, in_b = round(shared_of_left * len(a)), round(shared_of_right * len(b))
    begin = len(a) - in_a  # first word of the overlap in a; in b it is 0
    first = max(0, begin - _LEEWAY)
    tail, head = [_plain(w) for w in a[first:]], [_plain(w) for w in b[: in_b + _LEEWAY]]
    blocks = SequenceMatcher(None, tail, head, autojunk=False).get_matching_blocks()
    seams = [(first + x + k, y + k) for x, y, size in blocks for k in range(1, size + 1)]
    seams = [(x, y) for x, y in seams if abs((x - begin) - y) <= _LEEWAY]
    if not seams:
        return " ".join(a[: begin + (in_a + 1) // 2]), " ".join(b[(in_b + 1) // 2 :])
    x, y = min(seams, key=lambda seam: abs(seam[0] - begin - in_a / 2))
    return " ".join(a[:x]), " ".join(b[y:])


def _plain(word: str) -> str:
    """The word without case and punctuation; punctuation alone is kept."""
    return "".join(c for c in word.casefold() if c.isalnum()) or word
