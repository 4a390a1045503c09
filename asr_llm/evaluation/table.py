"""A table of one system's figures, or of two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asr_llm.evaluation.scores import base_first


class Row(NamedTuple):
    """One line of the table, formatted. ``change`` is in percentage points."""

    metric: str
    counts: str
    base: str
    adapted: str
    change: str


def table(scores: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    """The rows of a table: entity error rates, then word error rates, base beside adapted.

    EER is of the headline's texts first, overall and for each label, then of the others, and so is
    the term word error rate; WER is of normalised text, and split by a biasing list if there was
    one.
    ``names`` are the one or two systems shown; default: the base and the first other. Counts read
    errors/total, of base → adapted (of the only system where there is one).
    """
    names = names or base_first(scores["systems"])[:2]
    chosen = [scores["systems"][name] for name in names]
    rows = []
    if all("entities" in system for system in chosen):
        text = scores["headline"]
        other = "raw" if text == "normalized" else "normalized"
        shown = [system["entities"][text] for system in chosen]
        rows.append(_row(f"EER ({text})", shown))
        for label in shown[0]["by_label"]:
            rows.append(_row(f"EER ({text}) {label}", [r["by_label"][label] for r in shown]))
        rows.append(_row(f"EER ({other})", [s["entities"][other] for s in chosen]))
        rows.append(_row(f"T-WER ({text})", [r["term_wer"] for r in shown]))
    rows.append(_row("WER domain (normalized)", [s["wer"]["normalized"] for s in chosen]))
    for key, name in (("cpwer", "cpWER (normalized)"), ("tcpwer", "tcpWER (normalized)")):
        if all("speakers" in system for system in chosen):
            rows.append(_row(name, [s["speakers"][key] for s in chosen]))
    if all("biasing" in system for system in chosen):
        rows.append(_row("B-WER (listed words)", [s["biasing"]["b_wer"] for s in chosen]))
        rows.append(_row("U-WER (all others)", [s["biasing"]["u_wer"] for s in chosen]))
    general = [scores["general"].get(name) for name in names]
    if any(general):
        counts = [g and g["wer"]["normalized"] for g in general]
        rows.append(_row("WER general (normalized)", counts))
    return rows


def _row(metric: str, counts: Sequence[Mapping[str, Any] | None]) -> Row:
    fractions: list[str] = []
    rates: list[float | None] = []
    for c in counts:
        if c is None:
            fractions.append("–")
            rates.append(None)
        elif "mentions" in c:
            fractions.append(f"{c['mentions'] - c['found']}/{c['mentions']}")
            rates.append(c["eer"])
        else:
            fractions.append(f"{c['errors']}/{c['words']}")
            rates.append(c["rate"])
    cells = ["–" if rate is None else f"{100 * rate:.1f}%" for rate in rates]
    change = ""
    if len(rates) == 2:
        base, adapted = rates
        change = "–"
        if base is not None and adapted is not None:
            change = f"{100 * (adapted - base):+z.1f}"
    return Row(metric, " → ".join(fractions), cells[0], cells[1] if cells[1:] else "", change)
