"""Join the texts of two chunks that share some seconds of audio."""

from __future__ import annotations

from difflib import SequenceMatcher

_LEEWAY = 2  # words by which an estimate of where a word is in the overlap may be wrong


def stitch(left: str, right: str, shared_of_left: float, shared_of_right: float) -> tuple[str, str]:
    """What to keep of each text, so that what both chunks heard is written once.

    The words that both wrote alike are looked for near the seam; it is put where such words
    meet in the middle of the overlap, since a chunk hears worst at its edge, where a word is
    cut. Where they agree on nothing, each keeps its half.

    Args:
        shared_of_left: share, 0 to 1, of the left chunk's audio that the right one has too.
        shared_of_right: share of the right chunk's audio.
    """
    a, b = left.split(), right.split()
    if not a or not b:
        return left, right
    in_a, in_b = round(shared_of_left * len(a)), round(shared_of_right * len(b))
    begin = len(a) - in_a  # the first word of the overlap in a; in b it is 0
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
    """The word without case and punctuation; a mark alone is itself."""
    return "".join(c for c in word.casefold() if c.isalnum()) or word
