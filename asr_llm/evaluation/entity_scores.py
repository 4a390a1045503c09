"""The ``entities`` block of `scores.json`: outcomes of one system's mentions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

from asr_llm.evaluation.entities import MentionOutcome, Term, term_of
from asr_llm.evaluation.measured import Measured
from asr_llm.evaluation.term_words import Key, term_counts, term_rate, term_words
from asr_llm.evaluation.words import WordErrors


def entity_scores(measured: Measured, text: str) -> dict[str, Any]:
    """Pool outcomes, overall, by label and by term; ``text`` is raw or normalized."""
    results = list(chain.from_iterable(measured.entities[text].values()))
    bag: Counter[Key] = Counter()
    inserted: Counter[Key] = Counter()
    for one in measured.bags[text].values():
        bag.update(one.found)
        inserted.update(one.inserted)
    added: Counter[Key] = Counter()
    for more in measured.inserted[text].values():
        added.update(more)
    words = term_words(results, added)
    words_of: dict[Term, list[WordErrors]] = defaultdict(list)
    for key, errors in words.items():
        words_of[key[1]].append(errors)
    listed = measured.listed

    def of_label(label: str) -> dict[str, Any]:
        in_bag, more = (sum(n for key, n in c.items() if key[0] == label) for c in (bag, inserted))
        errors = [e for key, e in words.items() if key[0] == label]
        return _recall([r for r in results if r.mention.label == label], in_bag, more) | {
            "term_wer": term_rate(errors, listed)
        }

    labels = sorted({r.mention.label for r in results} | {label for label, _ in inserted})
    by_term: dict[Term, list[MentionOutcome]] = defaultdict(list)
    for result in results:
        by_term[term_of(result.mention.text)].append(result)
    return {
        **_recall(results, bag.total(), inserted.total()),
        "term_wer": term_rate(words.values(), listed),
        "by_label": {label: of_label(label) for label in labels},
        "by_term": {
            " ".join(term): {
                "label": found[0].mention.label,
                "mentions": len(found),
                "found": sum(r.found for r in found),
                **term_counts(words_of[term]),
            }
            for term, found in sorted(by_term.items())
        },
    }


def _recall(results: Sequence[MentionOutcome], in_bag: int, inserted: int) -> dict[str, Any]:
    mentions, found = len(results), sum(r.found for r in results)
    words = sum((r.words for r in results), start=WordErrors())
    characters = sum((r.characters for r in results), start=WordErrors())
    return {
        "mentions": mentions,
        "found": found,
        "partial": sum(r.status == "partial" for r in results),
        "recall": found / mentions if mentions else None,
        "eer": (mentions - found) / mentions if mentions else None,
        "ne_wer": words.rate if mentions else None,
        "ne_errors": words.errors,
        "ne_words": words.words,
        "ne_cer": characters.rate if mentions else None,
        "bag_found": in_bag,
        "bag_recall": in_bag / mentions if mentions else None,
        "false_insertions": inserted,
        "precision": in_bag / (in_bag + inserted) if in_bag + inserted else None,
    }
