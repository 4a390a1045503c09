"""Rank the systems of a public medical benchmark, next to its published figures.

    python eval/medical_stt.py FOLDER [--normalizer medical-en]

FOLDER holds ref.jsonl, terms/<LABEL>.tsv, hyp/<system>.jsonl and published.tsv (system, wer, m_wer,
drug_m_wer as fractions), made from Omi-Health/medical-STT-eval: PriMock57, 55 mock consultations.
Prints a Markdown table, Kendall's tau with the published ranks, and processor seconds of one core.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

from scipy.stats import kendalltau

from asr_llm.jobs.score import Options, score_files

COLUMNS = {
    "mean_wer": "wer",
    "term_wer": "m_wer",
    "term_wer DRUGS": "drug_m_wer",
}
"""Ours, and the published figure that counts the same."""


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--normalizer", default="medical-en")
    given = parser.parse_args()

    with (given.folder / "published.tsv").open(encoding="utf-8", newline="") as file:
        published = {row["system"]: row for row in csv.DictReader(file, delimiter="\t")}
    options = Options(
        entities=str(given.folder / "terms"),
        normalizer=given.normalizer,
        sort="term-wer",
        safety=True,
    )
    began = time.process_time()
    done = score_files(
        given.folder / "ref.jsonl",
        {name: given.folder / "hyp" / f"{name}.jsonl" for name in published},
        options,
    )
    seconds = time.process_time() - began
    print(_table(done.scores, published))
    print(f"\n{len(published)} systems in {seconds:.0f} processor seconds")


def _table(scores: dict[str, Any], published: dict[str, dict[str, str]]) -> str:
    from asr_llm.evaluation.leaderboard import records

    rows = records(scores)
    lines = [
        "| rank | system | WER pooled | WER mean | published | T-WER (95%) | published | T-WER of "
        "drugs | published | EER | safety |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        theirs = {ours: float(published[row["system"]][name]) for ours, name in COLUMNS.items()}
        cells = [
            str(row["rank"]),
            row["system"],
            _percent(row["wer"]),
            _percent(row["mean_wer"]),
            _percent(theirs["mean_wer"]),
            f"{_percent(row['term_wer'])} ({_percent(row['low'])}–{_percent(row['high'])})",
            _percent(theirs["term_wer"]),
            _percent(row["term_wer DRUGS"]),
            _percent(theirs["term_wer DRUGS"]),
            _percent(row["eer"]),
            _percent(row["safety"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for ours, name in COLUMNS.items():
        tau = kendalltau(
            [row[ours] for row in rows], [float(published[row["system"]][name]) for row in rows]
        )
        lines.append(f"Kendall's tau of {ours} with the published {name}: {tau.statistic:.3f}")
    return "\n".join(lines)


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


if __name__ == "__main__":
    main()
