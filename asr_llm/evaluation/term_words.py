"""Term word error rate: errors on reference words that belong to a listed term.

Also known as M-WER (medical WER). The words of a term are those of its mentions in the reference;
each is a hit, a substitution or a deletion of the word alignment. Inserted words of listed terms
are counted separately, because published figures mostly exclude them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asr_llm.corpus.text.normalizers import Normalizer
from asr_llm.evaluation.entities import MentionOutcome, Term, TermCounter, term_of
from asr_llm.evaluation.words import AlignedPair, WordErrors

Key = tuple[str, Term]
"""A label, and a term as written."""


class ListedTerms:
    """The terms of a list as they appear in normalised text.

    Args:
        listed: a label for each phrase.
    """

    def __init__(self, listed: Mapping[str, str], normalizer: Normalizer = "none") -> None:
        self.label_of: dict[Term, str] = {}
        self._keys: dict[Term, Key] = {}
        for phrase, label in listed.items():
            term = term_of(phrase, normalizer)
            self.label_of.setdefault(term, label)
            self._keys.setdefault(term, (label, term_of(phrase)))
        self.counter = TermCounter(self.label_of)
        self._words = {word for term in self._keys for word in term}
        self._longest = max(map(len, self._keys), default=0)

    def inserted(self, heard: Sequence[str], steps: Iterable[AlignedPair]) -> Counter[Key]:
        """Count the inserted words that belong to each term, if the whole term is in the
        hypothesis.
        """
        added = [
            step.hypothesis
            for step in steps
            if step.reference is None and step.hypothesis is not None
        ]
        if not added or not self._words:
            return Counter()
        words = tuple(" ".join(term_of(word)) for word in heard)
        keys = (self._around(words, place) for place in added if words[place] in self._words)
        return Counter(key for key in keys if key is not None)

    def _around(self, words: Term, place: int) -> Key | None:
        """The longest term in the text that contains a word."""
        for length in range(self._longest, 0, -1):
            for start in range(max(0, place - length + 1), place + 1):
                if (key := self._keys.get(words[start : start + length])) is not None:
                    return key
        return None


def term_words(
    outcomes: Iterable[MentionOutcome], inserted: Counter[Key] | None
) -> dict[Key, WordErrors]:
    """Word errors by label and term; insertions count listed words anywhere."""
    found: dict[Key, WordErrors] = defaultdict(WordErrors)
    for one in outcomes:
        e = one.words
        found[one.mention.label, term_of(one.mention.text)] += WordErrors(
            e.hits, e.substitutions, e.deletions
        )
    for key, count in (inserted or {}).items():
        found[key] += WordErrors(insertions=count)
    return dict(found)


def term_counts(errors: Iterable[WordErrors]) -> dict[str, int]:
    """Counts of one term for scores.json; ``errors`` excludes insertions."""
    total = sum(errors, start=WordErrors())
    missed = total.substitutions + total.deletions
    return {"words": total.words, "errors": missed, "insertions": total.insertions}


def term_rate(errors: Iterable[WordErrors], listed: bool) -> dict[str, Any]:
    """The ``term_wer`` block of scores.json.

    ``listed`` says whether there is a term list: without one (annotated mentions, a spaCy
    pipeline), inserted words cannot be assigned to terms, and the insertion figures are None.
    """
    total = sum(errors, start=WordErrors())
    missed = total.substitutions + total.deletions
    return {
        "rate": missed / total.words if total.words else None,
        "errors": missed,
        "words": total.words,
        "substitutions": total.substitutions,
        "deletions": total.deletions,
        "insertions": total.insertions if listed else None,
        "rate_with_insertions": total.errors / total.words if total.words and listed else None,
    }
