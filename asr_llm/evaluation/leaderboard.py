"""Leaderboard: many systems in one table, best first, with ranks that respect significance."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from asr_llm.evaluation import comparison, grids
from asr_llm.evaluation.blocks import FEW_BLOCKS
from asr_llm.evaluation.figures import Counts, heading_of
from asr_llm.evaluation.significance import pooled_draws, told_apart
from asr_llm.evaluation.table import side_by_side

Format = Literal["txt", "md", "csv", "json", "html"]


def standings(
    counts: Mapping[str, Counts],
    grouped: Mapping[str, Sequence[str]],
    *,
    ranked: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rank systems by one figure, best first.

    Args:
        counts: counts of each system.
        grouped: utterance ids by bootstrap block.
        ranked: whether there are enough blocks for ranks.

    Returns:
        For each system ``rank``, ``system``, ``rate``, ``low``, ``high`` (95% interval). The rank
        is one more than the number of significantly better systems (two-sided p < 0.05 per pair,
        not corrected for multiple comparisons), so systems that cannot be told apart share it. It
        is None without ranking; a rate is None if there is nothing to count.
    """
    names = list(counts)
    errors, sizes = (
        [[sum(counts[n][i][k] for i in ids) for ids in grouped.values()] for n in names]
        for k in (0, 1)
    )
    totals = [(sum(e), sum(s)) for e, s in zip(errors, sizes)]
    rates = [e / s if s else None for e, s in totals]
    draws = pooled_draws(errors=errors, sizes=sizes, resamples=resamples, seed=seed)
    enough = len(draws) > 0 and all(np.count_nonzero(s) > 1 for s in sizes)
    bounds = np.percentile(draws, [2.5, 97.5], axis=0).T.tolist() if enough else None
    ranks = 1 + told_apart(draws).sum(axis=0) if enough and ranked else None
    rows = [
        {
            "rank": None if ranks is None else int(ranks[k]),
            "system": name,
            "rate": rates[k],
            "low": bounds[k][0] if bounds else None,
            "high": bounds[k][1] if bounds else None,
        }
        for k, name in enumerate(names)
    ]
    _share_ranks(rows)
    # A stable sort: systems with equal rates keep their order.
    return sorted(rows, key=lambda row: (row["rate"] is None, row["rate"] or 0.0))


def _share_ranks(rows: Sequence[dict[str, Any]]) -> None:
    """Give systems with exactly the same rate the best of their ranks."""
    best: dict[float, int] = {}
    for row in rows:
        if row["rank"] is not None and row["rate"] is not None:
            best[row["rate"]] = min(row["rank"], best.get(row["rate"], row["rank"]))
    for row in rows:
        row["rank"] = best.get(row["rate"], row["rank"])


def records(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The leaderboard of ``scores.json`` with all figures of a system in its row, as fractions."""
    found = []
    for row in scores["leaderboard"]["rows"]:
        system = scores["systems"][row["system"]]
        record = {"rank": row["rank"], "system": row["system"], "by": scores["leaderboard"]["by"]}
        record |= {key: row[key] for key in ("rate", "low", "high")}
        record |= {
            "wer": system["wer"]["normalized"]["rate"],
            "wer_raw": system["wer"]["raw"]["rate"],
            "cer": system["cer"]["normalized"]["rate"],
            "mean_wer": system["mean_over_recordings"]["wer"],
        }
        if "entities" in system:
            raw, normalized = (system["entities"][text] for text in ("raw", "normalized"))
            record |= {"eer": normalized["eer"], "eer_raw": raw["eer"]}
            record |= {"term_wer": normalized["term_wer"]["rate"]}
            record |= {"term_wer_raw": raw["term_wer"]["rate"]}
            for label, one in normalized["by_label"].items():
                record |= {f"eer {label}": one["eer"], f"term_wer {label}": one["term_wer"]["rate"]}
        if "safety" in system:
            record["safety"] = system["safety"]["rate"]
        for name, one in system.get("speakers", {}).items():
            record[name] = one["rate"]
        found.append(record)
    return found


_SHOWN = {
    "wer": "WER",
    "wer_raw": "WER raw",
    "eer": "EER",
    "eer_raw": "EER raw",
    "term_wer": "T-WER",
    "safety": "safety",
    "cpwer": "cpWER",
    "tcpwer": "tcpWER",
}


def write(
    scores: Mapping[str, Any],
    form: Format,
    *,
    against: bool = False,
    pair: Sequence[str] | None = None,
) -> str:
    """Write the leaderboard as text (80 columns at most), Markdown, CSV, JSON or HTML.

    Args:
        against: whether to add each system's difference from the baseline.
        pair: two systems to show side by side; the first is the baseline.

    In CSV the differences are extra columns. JSON always has everything, as `scores.json` does.
    """
    if form == "json":
        ranked = {"by": scores["leaderboard"]["by"], "rows": records(scores)}
        shown = {"leaderboard": ranked} | {key: scores[key] for key in ("against", "comparisons")}
        return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    if form == "csv":
        others = list(pair[1:]) if pair else list(scores["comparisons"]) if against else []
        return _csv(_with_changes(scores, others) if others else records(scores))
    board = cells(records(scores))
    compared = _compared(scores, against, pair)
    why = why_unranked(scores)
    if form == "html":
        note = f"<p>{html.escape(why)}</p>\n" if why else ""
        return grids.html_table(board) + note + "".join(map(grids.html_table, compared))
    as_table = grids.text if form == "txt" else grids.markdown
    notes = [f"{why}\n"] if why else []
    below = "\n" if form == "md" else ""  # else Markdown would read it as a row
    tables = [as_table(board, 1) + "".join(below + note for note in notes)]
    return "\n".join([*tables, *(as_table(rows) for rows in compared)])


def _compared(
    scores: Mapping[str, Any], against: bool, pair: Sequence[str] | None
) -> list[list[list[str]]]:
    """The requested table of differences, if any."""
    if pair:
        return [side_by_side(scores, pair)]
    return [comparison.cells(scores)] if against and scores["comparisons"] else []


def why_unranked(scores: Mapping[str, Any]) -> str | None:
    """Explain missing ranks, if any."""
    if all(row["rank"] is not None for row in scores["leaderboard"]["rows"]):
        return None
    blocks, of = scores["bootstrap"]["blocks"], scores["bootstrap"]["of"]
    if blocks < FEW_BLOCKS:
        here = f"{blocks} {of} is" if blocks == 1 else f"{blocks} {of}s are"
        return f"–: no ranks: {here} too few to tell systems apart; it takes {FEW_BLOCKS} or more."
    return f"–: no ranks, since fewer than two {of}s have anything that is counted here."


def _with_changes(scores: Mapping[str, Any], others: Sequence[str]) -> list[dict[str, Any]]:
    """Records with columns for the differences from the baseline."""
    rows = []
    for record in records(scores):
        asked = record["system"] in others
        compared = scores["comparisons"][record["system"]] if asked else {}
        record["against"] = scores["against"] if asked else None
        for figure in comparison.compared_figures(scores):
            name, _, label = figure.partition(":")
            column = f"{name.replace('-', '_')} {label}".strip() + "_change"
            change = compared.get(comparison.key_of(figure), {})
            record[column] = change.get("difference")
            record |= {f"{column}_{end}": change.get(end) for end in ("low", "high", "p")}
        rows.append(record)
    return rows


def cells(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Heading and rows: rank, system, the ranking figure with its interval, the other figures."""
    figure = found[0]["by"]
    by = figure.replace("-", "_")
    twin = by.removesuffix("_raw") if by.endswith("_raw") else f"{by}_raw"
    columns = [key for key in _SHOWN if key in found[0] and key != by]
    columns.sort(key=lambda key: key != twin)
    shown = (_SHOWN[key] for key in columns)
    rows = [["rank", "system", f"{heading_of(figure)} (95%)", *shown]]
    for record in found:
        interval = ""
        if record["low"] is not None:
            interval = f" ({100 * record['low']:.1f}–{100 * record['high']:.1f})"
        rank = "–" if record["rank"] is None else str(record["rank"])
        ranked_by = _percent(record["rate"]) + interval
        rows.append([rank, record["system"], ranked_by, *(_percent(record[k]) for k in columns)])
    return rows


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def _csv(found: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()
