"""Vocabulary audit: how often each term was recognised, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from asr_llm.evaluation.entities import MentionOutcome, Term, TermCounter, term_of

Help = Literal["spoken form", "list", "text"]


@dataclass(frozen=True)
class Listed:
    """A listed term, and its spoken form if the spelling does not show it."""

    text: str
    label: str
    spoken: str | None = None


@dataclass(frozen=True)
class AuditedTerm:
    """Audit result of a listed term.

    Args:
        right: how many of the ``said`` times every word was written as listed.
        right_with_list: the same with all terms on a biasing list.
        misheard: whether it was wrong at least half of the time.
        heard: what was written instead, most frequent first.
        sounds_like: a listed term among these.
        sentences: number of training sentences that contain it.
        helps: what would help, cheapest first: a ``spoken form`` if the spelling hides the
            pronunciation, a ``list`` if that made it right more often than before, ``text`` to
            train on if it was still wrong at least half of the time.
    """

    text: str
    label: str
    spoken: str | None
    right: int
    said: int
    right_with_list: int
    misheard: bool
    heard: tuple[str, ...] = ()
    sounds_like: str | None = None
    sentences: int = 0
    helps: tuple[Help, ...] = ()


def judge(
    terms: Sequence[Listed],
    times: Mapping[str, Sequence[MentionOutcome]],
    with_list: Mapping[str, Sequence[MentionOutcome]],
    listed: Sequence[Listed],
    sentences: Iterable[str],
) -> list[AuditedTerm]:
    """Rank the terms, worst first; ties keep their order.

    Args:
        times: the outcome of each time that a term was spoken.
        with_list: the same with all terms on a biasing list.
        listed: all terms of the domain, a superset of ``terms``.
        sentences: the training sentences.
    """
    keys = {term_of(term.text): term.text for term in listed}
    counts = _occurrences(keys, sentences)
    found = []
    for term in terms:
        became = times[term.text]
        right = sum(one.found for one in became)
        listed_right = sum(one.found for one in with_list[term.text])
        heard = Counter(one.heard or "(nothing)" for one in became if not one.found)
        others = [keys[key] for key in map(term_of, heard) if key in keys]
        misheard = 2 * right <= len(became)
        found.append(
            AuditedTerm(
                text=term.text,
                label=term.label,
                spoken=term.spoken,
                right=right,
                said=len(became),
                right_with_list=listed_right,
                misheard=misheard,
                heard=tuple(text for text, _ in heard.most_common()),
                sounds_like=next((other for other in others if other != term.text), None),
                sentences=counts[term_of(term.text)],
                helps=_helps(term, right, listed_right, len(became)) if misheard else (),
            )
        )
    return sorted(found, key=lambda term: term.right / term.said)


def _helps(term: Listed, right: int, right_with_list: int, said: int) -> tuple[Help, ...]:
    helps: list[Help] = []
    if term.spoken is None and hides_its_sound(term.text):
        helps.append("spoken form")
    if right_with_list > right:
        helps.append("list")
    if 2 * right_with_list <= said:
        helps.append("text")
    return tuple(helps)


def hides_its_sound(term: str) -> bool:
    """Whether a term has digits, symbols, foreign letters or capitals in a row: "5-FU", "BNP"."""
    words = term.replace("-", " ").split()
    plain = all(char.isascii() and (char.isalpha() or char in "-'. ") for char in term)
    return not plain or any(len(word) > 1 and word.isupper() for word in words)


def _occurrences(keys: Iterable[Term], sentences: Iterable[str]) -> Counter[Term]:
    """Count the sentences with each term; occurrences inside a longer term do not count."""
    counter = TermCounter(keys)
    counts: Counter[Term] = Counter()
    for sentence in sentences:
        counts.update(counter.count(term_of(sentence)).keys())
    return counts
