"""What a vocabulary audit says of each term: how often it was right, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from asr_llm.evaluation.entities import MentionOutcome, Term, TermCounter, term_of

Help = Literal["spoken form", "list", "text"]


@dataclass(frozen=True)
class Listed:
    """A term as it is listed, and how it is said where its spelling does not tell."""

    text: str
    label: str
    spoken: str | None = None


@dataclass(frozen=True)
class AuditedTerm:
    """A listed term, and what was written where it was said.

    Args:
        right: times that every word of it was written as listed, of ``said``.
        right_with_list: the same with all terms preferred.
        misheard: whether it was wrong at least half of the times.
        heard: what was written instead, the most frequent first.
        sounds_like: a listed term among these.
        sentences: of the domain's text for training that have it.
        helps: what would help, the cheapest first: a ``spoken form`` where its spelling does not
            tell how it is said, a ``list`` if it was right more often than not with one, else
            ``text`` to learn from.
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
    """The terms, the worst first, and among equals in their order.

    Args:
        times: what became of each term, each time that it was said.
        with_list: the same with all terms preferred.
        listed: all terms of the domain, ``terms`` or more.
        sentences: those that there are to learn from.
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
                helps=_helps(term, 2 * listed_right > len(became)) if misheard else (),
            )
        )
    return sorted(found, key=lambda term: term.right / term.said)


def _helps(term: Listed, list_helps: bool) -> tuple[Help, ...]:
    helps: list[Help] = []
    if term.spoken is None and hides_its_sound(term.text):
        helps.append("spoken form")
    helps.append("list" if list_helps else "text")
    return tuple(helps)


def hides_its_sound(term: str) -> bool:
    """Whether a term has digits, symbols, foreign letters or capitals in a row: "5-FU", "BNP"."""
    words = term.replace("-", " ").split()
    plain = all(char.isascii() and (char.isalpha() or char in "-'. ") for char in term)
    return not plain or any(len(word) > 1 and word.isupper() for word in words)


def _occurrences(keys: Iterable[Term], sentences: Iterable[str]) -> Counter[Term]:
    """How many sentences have each term; within a longer term it does not count."""
    counter = TermCounter(keys)
    counts: Counter[Term] = Counter()
    for sentence in sentences:
        counts.update(counter.count(term_of(sentence)).keys())
    return counts
