"""Figures per recording, and the means over recordings that others publish."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from asr_llm.evaluation.measured import Measured
from asr_llm.evaluation.words import WordErrors

COLUMNS = (
    "system", "recording", "words", "substitutions", "deletions", "insertions", "wer", "wer_raw",
    "mentions", "found", "found_raw",
)  # fmt: skip


def by_recording(measured: Measured, recordings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Count normalised text per recording, in the order of the references.

    ``mentions`` and ``found`` are None if no terms are scored; a rate is None if there are no
    words.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for i in measured.words["raw"]:
        members[recordings[i]].append(i)
    return {name: _row(measured, ids) for name, ids in members.items()}


def _row(measured: Measured, ids: Iterable[str]) -> dict[str, Any]:
    ids = list(ids)
    raw, normalized = (
        sum((measured.words[text][i] for i in ids), start=WordErrors())
        for text in ("raw", "normalized")
    )
    row = {
        "words": normalized.words,
        "substitutions": normalized.substitutions,
        "deletions": normalized.deletions,
        "insertions": normalized.insertions,
        "wer": normalized.rate if normalized.words else None,
        "wer_raw": raw.rate if raw.words else None,
    }
    if not measured.entities:
        return row | {"mentions": None, "found": None, "found_raw": None}
    found = {
        text: [r.found for i in ids for r in measured.entities[text][i]]
        for text in ("raw", "normalized")
    }
    return row | {
        "mentions": len(found["raw"]),
        "found": sum(found["normalized"]),
        "found_raw": sum(found["raw"]),
    }


def recordings_csv(scores: Mapping[str, Any]) -> str:
    """Format as CSV, one line per system and recording."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for system, figures in scores["systems"].items():
        for recording, row in figures["by_recording"].items():
            writer.writerow({"system": system, "recording": recording, **row})
    return out.getvalue()


def means(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Unweighted mean of the recordings' rates."""
    return {
        "recordings": len(rows),
        "wer": _mean(row["wer"] for row in rows.values()),
        "wer_raw": _mean(row["wer_raw"] for row in rows.values()),
        "recall": _mean(
            row["found"] / row["mentions"] if row["mentions"] else None for row in rows.values()
        ),
    }


def _mean(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return fmean(known) if known else None
