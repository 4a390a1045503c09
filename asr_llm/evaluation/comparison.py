"""Comparisons between systems: ``comparisons`` of `scores.json`, and their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asr_llm.evaluation.blocks import Bootstrap
from asr_llm.evaluation.figures import (
    Counts,
    counted,
    counts_of,
    heading_of,
    missed,
    safety_counted,
    term_counted,
)
from asr_llm.evaluation.measured import Measured
from asr_llm.evaluation.significance import mcnemar

_KEYS = {"eer": "eer_normalized", "eer-raw": "eer", "term-wer": "term_wer"}


BASE = "base"
"""The name of the unadapted system."""


def base_first(systems: Iterable[str]) -> list[str]:
    """Names in the order of comparison: the baseline, then the others."""
    return sorted(systems, key=lambda name: name != BASE)


def key_of(figure: str) -> str:
    """Return the key of a ranking figure in ``comparison``."""
    name, colon, label = figure.partition(":")
    return _KEYS.get(figure, name.replace("-", "_") + colon + label)


def compare(
    base: Measured, other: Measured, drawn: Bootstrap, by: str, recordings: Mapping[str, str]
) -> dict[str, Any]:
    """Compare another system with the base: each headline figure, and McNemar's test on mentions.

    Args:
        by: the ranking figure, which is compared too.
        recordings: the recording of each utterance.
    """
    both = (base, other)
    counts: dict[str, list[Counts]] = {}
    if base.entities:
        counts["eer"] = [missed(m, "raw") for m in both]
        counts["eer_normalized"] = [missed(m, "normalized") for m in both]
        counts["term_wer"] = [term_counted(m, "normalized") for m in both]
    if base.safety:
        counts["safety"] = [safety_counted(m) for m in both]
    counts["wer"] = [counted(m.words["normalized"]) for m in both]
    for side in base.biasing:
        counts[side] = [counted(m.biasing[side]) for m in both]
    if key_of(by) not in counts:
        counts[key_of(by)] = [counts_of(m, by, recordings) for m in both]
    comparison: dict[str, Any] = {key: drawn.difference(pair) for key, pair in counts.items()}
    if base.entities:
        found = [[r.found for rs in m.entities["raw"].values() for r in rs] for m in both]
        comparison["mcnemar"] = mcnemar(base=found[0], adapted=found[1])
    return comparison


def compared_in(scores: Mapping[str, Any]) -> list[str]:
    """The baseline of the comparison, then the others in the table's order."""
    others = scores["comparisons"]
    names = [row["system"] for row in scores["leaderboard"]["rows"]]
    return sorted(names, key=lambda name: name in others)


def compared_figures(scores: Mapping[str, Any]) -> list[str]:
    """The figures in comparisons, starting with the one that systems are ranked by."""
    eer = "eer" if scores["headline"] == "normalized" else "eer-raw"
    figures = dict.fromkeys([scores["leaderboard"]["by"], eer, "term-wer", "wer", "safety"])
    known: Mapping[str, Any] = next(iter(scores["comparisons"].values()), {})
    return [figure for figure in figures if key_of(figure) in known]


def cells(scores: Mapping[str, Any]) -> list[list[str]]:
    """Heading and rows, one per system and figure, in points."""
    first, *others = compared_in(scores)
    rows = [[f"against {first}", "figure", "change", "95% interval", "p"]]
    for name in others:
        shown = name  # only in the first row
        for figure in compared_figures(scores):
            found = scores["comparisons"][name][key_of(figure)]
            rows.append([shown, heading_of(figure), *difference(found)])
            shown = ""
    return rows


def difference(found: Mapping[str, Any]) -> list[str]:
    """Format a difference in points, its interval and p; a dash for unknown values."""
    if found["difference"] is None:
        return ["–", "–", "–"]
    change = f"{100 * found['difference']:+z.1f}"
    if found["low"] is None:
        return [change, "–", "–"]
    low, high = (f"{100 * found[end]:+z.1f}" for end in ("low", "high"))
    return [change, f"{low} to {high}", "–" if found["p"] is None else f"{found['p']:.3f}"]
