"""Which terms a system gained, lost and missed, and what it wrote instead."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from asr_llm.evaluation.entities import term_of
from asr_llm.evaluation.scores import Scored


def term_changes(
    scored: Scored, names: Sequence[str]
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Lists of terms, each with a heading and what was recognised instead.

    For two systems: terms the second found more often, less often, and missed as before; for one:
    terms missed.
    """
    headline = scored.scores["headline"]
    found = [scored.scores["systems"][n].get("entities", {}).get(headline, {}) for n in names]
    if not all(found):
        return []
    first, last = found[0]["by_term"], found[-1]["by_term"]
    heard = [_heard_instead(scored, name) for name in (names[0], names[-1])]
    written = _written(scored)
    gained, lost, missed = [], [], []
    for term, counts in last.items():
        before, after, mentions = first[term]["found"], counts["found"], counts["mentions"]
        row = {"term": written.get(term, term), "label": counts["label"], "mentions": mentions}
        row |= {"before": before, "after": after}
        by_first, by_last = ("; ".join(texts.get(term, [])[:3]) for texts in heard)
        if after > before:
            gained.append(row | {"weight": after - before, "heard": by_first})
        elif after < before:
            lost.append(row | {"weight": before - after, "heard": by_last})
        elif after < mentions:
            missed.append(row | {"weight": mentions - after, "heard": by_last})
    lists = [
        ("Most improved", f"{names[0]} heard", gained),
        ("Lost", f"{names[-1]} heard", lost),
        ("Still missed" if len(names) > 1 else "Missed", f"{names[-1]} heard", missed),
    ]
    for *_, rows in lists:
        rows.sort(key=lambda row: (-row["weight"], row["term"]))
    return [entry for entry in lists if entry[2]]


def _written(scored: Scored) -> dict[str, str]:
    """The most frequent spelling of each term in the references, including capitals."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in scored.mentions:
        counts[" ".join(term_of(row["text"]))][row["text"]] += 1
    return {term: texts.most_common(1)[0][0] for term, texts in counts.items()}


def _heard_instead(scored: Scored, system: str) -> dict[str, list[str]]:
    """What was written instead of each missed term, most frequent first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in scored.mentions:
        if row["system"] == system and row[scored.scores["headline"]] != "found":
            counts[" ".join(term_of(row["text"]))][row["heard"] or "(nothing)"] += 1
    return {term: [text for text, _ in heard.most_common()] for term, heard in counts.items()}
