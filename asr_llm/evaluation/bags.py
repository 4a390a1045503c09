"""Bag of mentions, which ignores positions, and falsely inserted terms.

The bag counts how many mentions of a text occur anywhere in the hypothesis, ignoring case, each at
most as often as in the reference. Listed terms that the hypothesis has in excess of the reference
are *falsely inserted*. Both are consistent with the strict rule: a mention found in place also
occurs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from asr_llm.corpus.terms.phrases import key
from asr_llm.corpus.text.normalizers import Normalizer
from asr_llm.evaluation.mentions import Mention
from asr_llm.evaluation.normalized import TextPair, normalize
from asr_llm.evaluation.tokens import Edges, Tokens, bare

Term = tuple[str, ...]
"""The words of a term, without case or surrounding punctuation."""


def term_of(text: str, normalizer: Normalizer = "none") -> Term:
    """Return the words of a text in the form in which terms are compared."""
    return _short(text, normalizer) if len(text) <= _SHORT else _term_of(text, normalizer)


def _term_of(text: str, normalizer: Normalizer) -> Term:
    return tuple(map(bare, key(normalize(text, normalizer)).split()))


_SHORT = 60  # characters: terms and single words, which recur often
_short = lru_cache(maxsize=20_000)(_term_of)


class TermCounter:
    """Counts how often each of many terms occurs in a text.

    The longest term at each position counts; occurrences do not overlap.
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        self._by_first: dict[str, list[Term]] = defaultdict(list)
        for term in sorted(set(terms), key=len, reverse=True):
            if term:
                self._by_first[term[0]].append(term)
        self._edges = Edges(term for here in self._by_first.values() for term in here)

    def count(self, words: Term) -> Counter[Term]:
        """Count each term in the words of a text."""
        words = tuple(Tokens.of(words, self._edges).bare)
        found: Counter[Term] = Counter()
        at = 0
        while at < len(words):
            here = self._by_first.get(words[at])
            if here is None:
                at += 1
                continue
            term = next((t for t in here if words[at : at + len(t)] == t), None)
            if term is not None:
                found[term] += 1
            at += len(term) if term else 1
        return found


@dataclass(frozen=True)
class Bag:
    """Mentions and false insertions of one utterance by (label, term), ignoring positions."""

    found: Counter[tuple[str, Term]]
    inserted: Counter[tuple[str, Term]]


def bag_of(
    texts: TextPair,
    mentions: Sequence[Mention],
    *,
    found: Sequence[bool],
    label_of: Mapping[Term, str],
    listed: TermCounter,
) -> Bag:
    """Build the bag of an utterance.

    Args:
        found: which mentions the strict rule found.
        label_of: the label of every listed term in normalised form.
        listed: counts the listed terms.
    """
    terms = [(m.label, term_of(m.text, texts.normalizer)) for m in mentions]
    wanted = Counter(terms)
    in_place = Counter(term for term, was in zip(terms, found) if was)
    said, heard = term_of(texts.said), term_of(texts.heard)
    there = TermCounter(term for _, term in wanted).count(heard)
    in_bag = Counter({k: min(n, max(there[k[1]], in_place[k])) for k, n in wanted.items()})
    # It was said at least as often as it is mentioned, whatever form the text has.
    mentioned = Counter(term for _, term in terms)
    more = listed.count(heard) - (listed.count(said) | mentioned)
    return Bag(in_bag, Counter({(label_of[term], term): n for term, n in more.items()}))
