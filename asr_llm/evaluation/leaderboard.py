"""Many systems in one table, best first, with ranks that their differences support."""

from __future__ import annotations

import csv
import html
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from asr_llm.evaluation.figures import Counts
from asr_llm.evaluation.significance import pooled_draws, told_apart

Format = Literal["txt", "md", "csv", "json", "html"]

WIDTH = 80


def standings(
    counts: Mapping[str, Counts],
    grouped: Mapping[str, Sequence[str]],
    *,
    ranked: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Systems by one figure, best first.

    Args:
        counts: of each system.
        grouped: utterance ids by the block that the bootstrap draws.
        ranked: whether there are blocks enough to tell systems apart at all.

    Returns:
        For each system ``rank``, ``system``, ``rate``, ``low``, ``high`` (95% interval). The rank
        is one more than the number of systems that are better beyond chance (two-sided p < 0.05
        of each pair, not corrected for their number): systems that cannot be told apart share
        one. It is None where nothing can be told, and so is a rate without anything to count.
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
    return sorted(rows, key=lambda row: (row["rate"] is None, row["rate"] or 0.0, row["system"]))


def records(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The leaderboard of ``scores.json``, all figures of a system in its row; fractions."""
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


def write(scores: Mapping[str, Any], form: Format) -> str:
    """The leaderboard as a table: of text (80 columns at most), Markdown, CSV, JSON or HTML."""
    found = records(scores)
    writers: dict[Format, Callable[[list[dict[str, Any]]], str]] = {
        "txt": _text,
        "md": _markdown,
        "csv": _csv,
        "json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False) + "\n",
        "html": _html,
    }
    return writers[form](found)


def compared_in(scores: Mapping[str, Any]) -> list[str]:
    """The system that the others were compared with, then the others, in the table's order."""
    others = scores["comparisons"]
    names = [row["system"] for row in scores["leaderboard"]["rows"]]
    return sorted(names, key=lambda name: name in others)


def differences(scores: Mapping[str, Any]) -> str:
    """How each system differs from the one that all are compared with: a line each, in points."""
    first, *others = compared_in(scores)
    metrics = {"wer": "WER"}
    if "eer" in scores["comparison"]:
        normalized = scores["headline"] == "normalized"
        eer = {"eer_normalized": "EER"} if normalized else {"eer": "EER raw"}
        metrics = eer | metrics
    rows = [[f"against {first}", *metrics.values()]]
    for name in others:
        compared = scores["comparisons"][name]
        rows.append([name, *(_difference(compared[metric]) for metric in metrics)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(metrics))
    return "".join(_folded(row, widths, left=0) for row in rows)


def _difference(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return "–" if found["difference"] is None else f"{100 * found['difference']:+.1f}"
    low, high = (f"{100 * found[key]:+.1f}" for key in ("low", "high"))
    p = "" if found["p"] is None else f" p {found['p']:.3f}"
    return f"{100 * found['difference']:+.1f} ({low} to {high}){p}"


def _folded(row: Sequence[str], widths: Sequence[int], *, left: int) -> str:
    """A line of a table; the text of column ``left``, where it is too long, over several."""
    parts = textwrap.wrap(row[left], widths[left]) or [""]
    cells = [
        parts[0].ljust(width) if k == left else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(row, widths))
    ]
    before = " " * sum(width + 2 for width in widths[:left])
    lines = ["  ".join(cells).rstrip(), *(before + part for part in parts[1:])]
    return "".join(f"{line}\n" for line in lines)


def cells(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Heading and rows: rank, system, the figure ranked by with its interval, the others."""
    by = found[0]["by"].replace("-", "_")
    twin = by.removesuffix("_raw") if by.endswith("_raw") else f"{by}_raw"
    columns = [key for key in _SHOWN if key in found[0] and key != by]
    columns.sort(key=lambda key: key != twin)
    rows = [["rank", "system", f"{_heading(by)} (95%)", *(_SHOWN[key] for key in columns)]]
    for record in found:
        interval = ""
        if record["low"] is not None:
            interval = f" ({100 * record['low']:.1f}–{100 * record['high']:.1f})"
        rank = "–" if record["rank"] is None else str(record["rank"])
        figure = _percent(record["rate"]) + interval
        rows.append([rank, record["system"], figure, *(_percent(record[k]) for k in columns)])
    return rows


def _heading(by: str) -> str:
    name, _, label = by.partition(":")
    known = _SHOWN | {"term_wer_raw": "T-WER raw", "mean_wer": "mean WER", "cer": "CER"}
    heading = known.get(name, name.replace("_", " "))
    return f"{heading} {label}" if label else heading


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def _text(found: Sequence[Mapping[str, Any]]) -> str:
    rows = cells(found)
    widths = [max(map(len, column)) for column in zip(*rows)]
    room = WIDTH - sum(widths) + widths[1] - 2 * (len(widths) - 1)
    widths[1] = min(widths[1], max(8, room))
    return "".join(_folded(row, widths, left=1) for row in rows)


def _markdown(found: Sequence[Mapping[str, Any]]) -> str:
    heading, *rows = ([cell.replace("|", "\\|") for cell in row] for row in cells(found))
    rule = ["---:", "---"] + ["---:"] * (len(heading) - 2)
    return "".join(f"| {' | '.join(row)} |\n" for row in [heading, rule, *rows])


def _csv(found: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def _html(found: Sequence[Mapping[str, Any]]) -> str:
    heading, *rows = cells(found)
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in heading)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
