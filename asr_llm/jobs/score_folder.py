"""Output files of scoring: ``scores.json``, mentions, recordings, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.files import write_text

if TYPE_CHECKING:
    from asr_llm.evaluation.report import Shown
    from asr_llm.evaluation.scores import Scored


def write(scored: Scored, place: Path) -> None:
    """Write ``scores.json``, ``mentions.jsonl`` and ``recordings.csv`` atomically.

    With safety words also ``safety.jsonl``.
    """
    from asr_llm.evaluation.recordings import recordings_csv

    place.mkdir(parents=True, exist_ok=True)
    text = json.dumps(scored.scores, indent=2, ensure_ascii=False)
    write_text(place / "scores.json", text + "\n")
    write_text(place / "mentions.jsonl", _lines(scored.mentions))
    write_text(place / "recordings.csv", recordings_csv(scored.scores))
    if any("safety" in figures for figures in scored.scores["systems"].values()):
        write_text(place / "safety.jsonl", _lines(scored.safety))


def write_report(path: Path, scored: Scored, shown: Shown) -> None:
    """Write an HTML file atomically, creating its folder if needed."""
    from asr_llm.evaluation.report import render

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(scored, shown))


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
