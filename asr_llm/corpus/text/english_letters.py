"""Joins spelled letters: "N H S" → "nhs", "x ray" → "xray", "e mail" → "email"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# "A" and "I" are also words. Inside spelled letters they are letters; at an end, only in these.
_BEGINS_OR_ENDS = _set(
    "aaa abc abg abi ace acl acs acth add adhd aed afp aids aki alp als alt am ana anca aot api "
    "arb ards asa asd aso ast ct "
    "ibd ibs icd icp icu id ie igg iga ige igm ii iii im inr iq it iu iud iui iv ivf itp "
    "ai bmi dsi fbi gi hpi lri lrti mi mri ppi snri ssri sti tmi uri urti uti "
    "aka bka ca cea cpa cta dexa dka dna dva fda hla mra mrsa nda oa pa pca psa pta ra rna tia uka "
    "aia ada ama apa asia ira ida"
)
_AFTER = {"x": ("ray", "rays"), "e": ("mail", "mails", "mailed", "mailing")}


def joined(words: list[str], normalized: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Join spelled letters in lower-case words.

    An "a" or "i" next to the letters is a word ("a c t scan", "vitamin d i think") unless it is
    part of a known abbreviation ("a c e", "m r i"). "g" and "l" after a number are units.

    Args:
        normalized: rewrites a joined word: "o k" becomes "okay", like "ok".
    """
    at = 0
    while at < len(words):
        end = at
        while end < len(words) and len(words[end]) == 1 and words[end].isalpha():
            end += 1
        after = words[end] if end < len(words) else ""
        whole = end > at and after in _AFTER.get(words[end - 1], ())
        end -= whole
        for word in _written(words[at:end], words[at - 1] if at else ""):
            yield from normalized(word) if len(word) > 1 else (word,)
        if whole:
            yield words[end] + after
            end += 1
        elif end < len(words):
            yield after
        at = end + 1


def _written(letters: list[str], before: str) -> list[str]:
    """Split a run of letters into leading words, the joined letters, and trailing words."""
    if len(letters) < 2:
        return letters
    first, last = 0, len(letters)
    if letters[0] in "gl" and before[:1].isdigit():
        first = 1

    def known() -> bool:
        return "".join(letters[first:last]) in _BEGINS_OR_ENDS

    while last - first > 1 and letters[last - 1] in "ai" and not known():
        last -= 1
    while last - first > 1 and letters[first] == "a" and not known():
        first += 1
    if last - first == 2 and letters[first] == "i" and not known():
        first += 1
    run = ["".join(letters[first:last])] if first < last else []
    return [*_written(letters[:first], before), *run, *_written(letters[last:], "")]
