"""Tables of one system's figures, or of two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asr_llm.evaluation.comparison import base_first, difference, key_of
from asr_llm.evaluation.figures import heading_of


class Row(NamedTuple):
    """One formatted line of the table. ``change`` is in percentage points.

    ``interval`` (95%) is that of the change, or of the rate for a single system; ``p`` is that of
    the change.
    """

    metric: str
    counts: str
    base: str
    adapted: str
    change: str
    interval: str = ""
    p: str = ""


def table(scores: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    """Rows of the table: entity error rates, then word error rates, base next to adapted.

    EER comes first for the headline's text, overall and by label, then for the other. T-WER and WER
    are normalised; WER is split by a biasing list if there is one. Then come the ranking figure if
    it is none of these, safety words and the general set. ``names`` are the one or two systems
    shown; default: the base and the first other. Counts are errors/total, base → adapted (or of the
    only system).
    """
    names = names or base_first(scores["systems"])[:2]
    chosen = [scores["systems"][name] for name in names]
    compared = scores["comparisons"].get(names[1], {}) if names[1:] else {}

    keys: set[str] = set()

    def row(metric: str, counts: Sequence[Mapping[str, Any] | None], key: str = "") -> Row:
        keys.add(key)
        return _row(metric, counts, compared.get(key))

    rows = []
    if all("entities" in system for system in chosen):
        rows += _of_terms(scores, chosen, row)
    general = [scores["general"].get(name) for name in names]
    wer = "WER domain (normalized)" if any(general) else "WER (normalized)"
    rows.append(row(wer, [s["wer"]["normalized"] for s in chosen], "wer"))
    for key, name in (("cpwer", "cpWER (normalized)"), ("tcpwer", "tcpWER (normalized)")):
        if all("speakers" in system for system in chosen):
            rows.append(row(name, [s["speakers"][key] for s in chosen]))
    if all("biasing" in system for system in chosen):
        for key, name in (("b_wer", "B-WER (listed words)"), ("u_wer", "U-WER (all others)")):
            rows.append(row(name, [s["biasing"][key] for s in chosen], key))
    if all("safety" in system for system in chosen):
        rows.append(row("safety words", [_of_safety(s["safety"]) for s in chosen], "safety"))
    by = scores["leaderboard"]["by"]
    if key_of(by) not in keys:
        rates = {one["system"]: one for one in scores["leaderboard"]["rows"]}
        rows.append(row(heading_of(by), [rates[name] for name in names], key_of(by)))
    if any(general):
        counts = [g and g["wer"]["normalized"] for g in general]
        rows.append(row("WER general (normalized)", counts, "general_wer"))
    return rows


def _of_terms(
    scores: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]], row: Any
) -> list[Row]:
    text = scores["headline"]
    other = "raw" if text == "normalized" else "normalized"
    figures = {"raw": "eer-raw", "normalized": "eer"}
    keys = {name: key_of(figure) for name, figure in figures.items()}
    shown = [system["entities"][text] for system in chosen]
    rows = [row(f"EER ({text})", shown, keys[text])]
    for label in shown[0]["by_label"]:
        found = [r["by_label"][label] for r in shown]
        rows.append(row(f"EER ({text}) {label}", found, key_of(f"{figures[text]}:{label}")))
    rows.append(row(f"EER ({other})", [s["entities"][other] for s in chosen], keys[other]))
    words = [system["entities"]["normalized"]["term_wer"] for system in chosen]
    return [*rows, row("T-WER (normalized)", words, "term_wer")]


def _of_safety(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, "errors": found["lost"] + found["turned"], "words": found["said"]}


def _row(
    metric: str,
    counts: Sequence[Mapping[str, Any] | None],
    compared: Mapping[str, Any] | None,
) -> Row:
    fractions = [_fraction(c) for c in counts]
    rates = [None if c is None else c["eer"] if "eer" in c else c["rate"] for c in counts]
    cells = ["–" if rate is None else f"{100 * rate:.1f}%" for rate in rates]
    shown = " → ".join(filter(None, fractions))
    if len(rates) == 1:
        return Row(metric, shown, cells[0], "", "", _interval(counts[0] or {}))
    change, interval, p = "–", "", ""
    if compared is not None:
        change, interval, p = (cell.replace("–", "") for cell in difference(compared))
    elif rates[0] is not None and rates[1] is not None:
        change = f"{100 * (rates[1] - rates[0]):+z.1f}"
    return Row(metric, shown, cells[0], cells[1], change or "–", interval, p)


def _fraction(counts: Mapping[str, Any] | None) -> str:
    """Errors and total; empty if only a rate is known."""
    if counts is None:
        return "–"
    if "mentions" in counts:
        return f"{counts['mentions'] - counts['found']}/{counts['mentions']}"
    return f"{counts['errors']}/{counts['words']}" if "errors" in counts else ""


def _interval(found: Mapping[str, Any]) -> str:
    if found.get("low") is None:
        return ""
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"


def side_by_side(scores: Mapping[str, Any], names: Sequence[str]) -> list[list[str]]:
    """Heading and cells for two systems, with interval and p of each change."""
    heading = ["figure", "count", *names, "change", "95% interval", "p"]
    return [heading, *([cell or "–" for cell in row] for row in table(scores, names))]
