"""Outcomes of the safety words of a reference: kept, lost, turned (reversed) or added.

*Kept*: recognised, or a word with the same meaning in its place ("not" for "no"). *Turned*: the
opposite, or something else of its kind: "no pain" → "pain", "left" → "right", "15 mg" → "50 mg",
"stop the tablets" → "start the tablets". *Lost*: nothing of its kind is there, and what it refers
to is missing or garbled as well. *Added*: a negation that nobody said, next to words that were
said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from asr_llm.evaluation.normalized import normalize
from asr_llm.evaluation.safety_words import (
    CHANGES,
    NEGATIONS,
    NUMBER,
    SIDES,
    Kind,
    SafetyWord,
    spot,
    unit,
)
from asr_llm.evaluation.words import AlignedPair, align

NORMALIZER = "medical-en"

Status = Literal["kept", "lost", "turned", "added"]
_REACH = 3  # alignment steps around a word in which to look for its replacement


@dataclass(frozen=True)
class SafetyOutcome:
    """Outcome of one safety word; ``said`` and ``heard`` are the normalised words in its place."""

    kind: Kind
    status: Status
    said: str
    heard: str


def safety_outcomes(*, reference: str, hypothesis: str) -> list[SafetyOutcome]:
    """Outcome of each safety word, in order, followed by added negations."""
    said, heard = (normalize(text, NORMALIZER).split() for text in (reference, hypothesis))
    found = spot(said)
    if not found and not NEGATIONS.intersection(heard):
        return []
    aligned = _Aligned(said, heard)
    return [*(aligned.outcome(word) for word in found), *aligned.added()]


class _Aligned:
    """A reference and a hypothesis aligned."""

    def __init__(self, said: Sequence[str], heard: Sequence[str]) -> None:
        self.said, self.heard = said, heard
        self.steps = align(reference_words=said, hypothesis_words=heard)
        self.step_of = {s.reference: k for k, s in enumerate(self.steps) if s.reference is not None}

    def outcome(self, word: SafetyWord) -> SafetyOutcome:
        first, last = self.step_of[word.start], self.step_of[word.stop - 1]
        context = self._context(word)
        said = " ".join(self.said[word.start : word.stop + context])
        if all(step.op == "hit" for step in self.steps[first : last + 1]):
            return SafetyOutcome(word.kind, "kept", said, said)
        window = self._window(first, last)
        heard = [self.heard[s.hypothesis] for s in window if s.hypothesis is not None]
        status = _STATUS[word.kind](word, heard, self._still_said(word))
        return SafetyOutcome(
            word.kind, status, said, " ".join([*heard, *self._after(window, word)])
        )

    def added(self) -> Iterable[SafetyOutcome]:
        """Negations without one in the reference, if the next word was said."""
        for k, step in enumerate(self.steps):
            if step.hypothesis is None or step.op == "hit":
                continue
            word = self.heard[step.hypothesis]
            if word not in NEGATIONS or self.steps[k + 1 : k + 2] == []:
                continue
            window = self._window(k, k)
            replaced = [self.said[s.reference] for s in window if s.reference is not None]
            if self.steps[k + 1].op == "hit" and not NEGATIONS.intersection(replaced):
                beside = self.said[self.steps[k + 1].reference or 0]
                yield SafetyOutcome("negation", "added", beside, f"{word} {beside}")

    def _window(self, first: int, last: int) -> list[AlignedPair]:
        """The steps from first to last, plus a few adjacent errors."""
        start, stop = first, last + 1
        while start > max(0, first - _REACH) and self.steps[start - 1].op != "hit":
            start -= 1
        while stop < min(len(self.steps), last + 1 + _REACH) and self.steps[stop].op != "hit":
            stop += 1
        return self.steps[start:stop]

    def _still_said(self, word: SafetyWord) -> bool:
        """Whether the following text was recognised: at least one of the next two words."""
        following = range(word.stop, min(word.stop + 2, len(self.said)))
        return any(self.steps[self.step_of[i]].op == "hit" for i in following)

    def _after(self, window: Sequence[AlignedPair], word: SafetyWord) -> list[str]:
        """The recognised form of the context words shown after it."""
        shown = range(word.stop, word.stop + self._context(word))
        after = (self.steps[self.step_of[i]] for i in shown)
        return [
            self.heard[step.hypothesis]
            for step in after
            if step.hypothesis is not None and step not in window
        ]

    def _context(self, word: SafetyWord) -> int:
        """Number of words to show after it, because "no" alone says nothing."""
        return 0 if word.kind == "amount" else min(2, len(self.said) - word.stop)


_AFFIRMATIONS = frozenset(("yes", "yeah", "yep", "yup", "mhm", "positive"))


def _negation(word: SafetyWord, heard: Sequence[str], still: bool) -> Status:
    if NEGATIONS.intersection(heard):
        return "kept"
    return "turned" if still or _AFFIRMATIONS.intersection(heard) else "lost"


def _one_of(meanings: Mapping[str, str], word: SafetyWord, heard: Sequence[str]) -> Status:
    """Of words with few meanings, such as left and right."""
    found = {meanings[w] for w in heard if w in meanings}
    return "kept" if word.value in found else "turned" if found else "lost"


def _side(word: SafetyWord, heard: Sequence[str], still: bool) -> Status:
    return _one_of(SIDES, word, heard)


def _amount(word: SafetyWord, heard: Sequence[str], still: bool) -> Status:
    number, *rest = word.value.split()
    numbers = [w for w in heard if NUMBER.fullmatch(w)]
    units = {unit(w) for w in heard} - {None}
    if rest[:1] == ["over"]:
        return "kept" if numbers[:2] == [number, rest[1]] else "turned" if numbers else "lost"
    frequencies = {"once": "1", "twice": "2", "thrice": "3"}
    numbers += [frequencies[w] for w in heard if w in frequencies]
    if number not in numbers:
        return "turned" if numbers else "lost"
    if not rest or rest[0] in units:
        return "kept"
    return "turned" if units else "lost"


def _dose(word: SafetyWord, heard: Sequence[str], still: bool) -> Status:
    return _one_of(CHANGES, word, heard)


_STATUS = {"negation": _negation, "side": _side, "amount": _amount, "dose": _dose}


def summary(outcomes: Iterable[SafetyOutcome]) -> dict[str, Any]:
    """The ``safety`` block of scores.json. ``rate`` is lost and reversed words over words said."""
    found = list(outcomes)
    return _counts(found) | {
        "by_kind": {kind: _counts([o for o in found if o.kind == kind]) for kind in get_args(Kind)}
    }


def _counts(found: Sequence[SafetyOutcome]) -> dict[str, Any]:
    counts = Counter(outcome.status for outcome in found)
    said = len(found) - counts["added"]
    wrong = counts["lost"] + counts["turned"]
    return {
        "said": said,
        **{status: counts[status] for status in get_args(Status)},
        "rate": wrong / said if said else None,
    }


def safety_rows(
    system: str, outcomes: Mapping[str, Iterable[SafetyOutcome]]
) -> Iterable[dict[str, Any]]:
    """A row for each safety word that a system did not keep, reversed ones first."""
    rank = {"turned": 0, "added": 1, "lost": 2}
    wrong = [(i, o) for i, found in outcomes.items() for o in found if o.status != "kept"]
    for i, o in sorted(wrong, key=lambda pair: rank[pair[1].status]):
        yield {
            "system": system, "utterance": i, "kind": o.kind, "status": o.status,
            "said": o.said, "heard": o.heard,
        }  # fmt: skip
