"""Terminal output: tables and reports."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from asr_llm.cli.bar import clock
from asr_llm.errors import number_of

if TYPE_CHECKING:
    from pathlib import Path

    from asr_llm.corpus.domain.folder import CheckReport
    from asr_llm.corpus.terms.propose import Candidate
    from asr_llm.evaluation.table import Row
    from asr_llm.jobs.audit import Audit
    from asr_llm.jobs.destinations import Outcome
    from asr_llm.jobs.doctor import Diagnosis
    from asr_llm.model.store import Stored


def summary(outcomes: list[Outcome], seconds: float, folder: Path | None) -> list[str]:
    """Summarise the results of all audio in a few lines.

    Args:
        seconds: time since the model was loaded.
        folder: where the transcripts are, if not on stdout.
    """
    lines = []
    left_out = [outcome.left_out for outcome in outcomes if outcome.left_out]
    if left_out:
        more = f"; so for {len(left_out) - 1} more" if left_out[1:] else ""
        lines.append(f"left out: {left_out[0]}{more}")
    if done := sum(outcome.done_before for outcome in outcomes):
        lines.append(f"{number_of(done, 'file')} done already, in {folder}")
    heard = [outcome.seconds for outcome in outcomes if outcome.seconds is not None]
    if heard:
        audio = f"{number_of(len(heard), 'file')}, {clock(sum(heard))} of audio"
        if any(outcome.resumed for outcome in outcomes):
            lines.append(f"{audio}; what was left of it took {seconds:.1f} s")
        else:
            lines.append(f"{audio} in {seconds:.1f} s, RTFx {sum(heard) / seconds:.1f}")
    return lines


def print_scores(scores: dict[str, Any]) -> None:
    """Print the table of ``scores.json`` to stdout, with the intervals of its changes.

    With more than two systems, each is shown next to the first.
    """
    from asr_llm.evaluation.scores import base_first

    first, *others = base_first(scores["systems"])
    for names in [[first, other] for other in others] or [[first]]:
        print_pair(scores, names)
    print_warnings(scores)


def print_warnings(scores: dict[str, Any]) -> None:
    """Print on stderr what makes the figures unreliable."""
    for warning in scores["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def print_pair(scores: dict[str, Any], names: list[str]) -> None:
    """Print one system's figures, or a second's next to the baseline's."""
    from asr_llm.evaluation.table import table

    rows = table(scores, names)
    _print_table(rows, names)
    for row in rows if names[1:] else []:
        if row.interval:
            p = f", p = {row.p}" if row.p else ""
            typer.echo(f"{row.metric}: {row.change} points, 95% interval {row.interval}{p}")


def _print_table(rows: list[Row], names: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    columns = ["count", *names, "change" if names[1:] else "95% interval"]
    shown = Table("metric", box=box.SIMPLE)
    for column in columns:
        # Long names are wrapped, never truncated.
        shown.add_column(column, justify="right", overflow="fold", min_width=6)
    shown.columns[1].no_wrap = shown.columns[-1].no_wrap = True
    for row in rows:
        shown.add_row(*(row[:5] if names[1:] else [*row[:3], row.interval or "–"]))
    # Without a terminal, tables are as wide as needed.
    Console(width=None if sys.stdout.isatty() else 120 if names[1:] else 80).print(shown)


def print_audit(found: Audit) -> None:
    """Print the misrecognised terms and their number to stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table("term", "label", "right", "heard instead", "right with list", box=box.SIMPLE)
    shown.add_column("sentences in text")
    shown.add_column("would help")
    for term in found.misheard:
        heard = "; ".join(term.heard)
        if term.sounds_like:
            heard += f" (listed: {term.sounds_like})"
        counts = f"{term.right}/{term.said}", f"{term.right_with_list}/{term.said}"
        shown.add_row(
            term.text, term.label, counts[0], heard, counts[1], str(term.sentences),
            ", ".join(term.helps),
        )  # fmt: skip
    if found.misheard:
        Console(width=None if sys.stdout.isatty() else 140, markup=False).print(shown)
    by_list = sum("list" in term.helps for term in found.misheard)
    typer.echo(
        f"{len(found.misheard)} of {len(found.terms)} terms "
        f"{'is' if len(found.misheard) == 1 else 'are'} likely to be misheard by {found.model}; "
        f"a list helps {by_list} of them"
    )


def report_text(report: CheckReport) -> str:
    """One line per problem, then the contents of the folder."""
    lines = []
    for problem in report.problems:
        place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
        fix = f"; {problem.fix}" if problem.fix else ""
        lines.append(f"{place}: {problem.severity}: {problem.message}{fix}")
    for split, sentences in report.sentences.items():
        line = (
            f"{split}: {number_of(sentences, 'sentence')}, {number_of(report.words[split], 'word')}"
        )
        if report.recordings[split]:
            recordings = number_of(report.recordings[split], "recording")
            line += f"; {recordings}, {report.seconds[split]:.0f} s"
        lines.append(line)
    for file, count in report.comments.items():
        lines.append(f"{file}: {number_of(count, 'comment line')} (# …) left out")
    if report.terms:
        lines.append("terms: " + ", ".join(f"{label} {n}" for label, n in report.terms.items()))
    lines.append(
        f"{number_of(len(report.errors), 'error')}, {number_of(len(report.warnings), 'warning')}"
    )
    return "\n".join(lines)


def diagnosis_text(found: Diagnosis) -> str:
    """What is installed in a few lines, then a line for each missing part."""
    memory = "unknown" if found.memory is None else size(found.memory)
    lines = [
        f"asr-llm {found.asr_llm}, Python {found.python}, {found.system}",
        f"device: {found.device}; {found.cores} cores, {memory} memory",
        f"mini: {found.mini or 'its weights are missing; reinstall the package or give --model'}",
        *(f"{model.name}: {_whereabouts(model)}" for model in found.models),
        f"cache: {found.cache}, {size(found.cache_size)}",
        "installed: " + ", ".join(str(part) for part in found.parts if part.version),
        *(str(part) for part in found.missing),
    ]
    return "\n".join(lines)


def models_text(found: list[Stored]) -> str:
    """One line per model: name, location, parts, licences."""
    return "\n".join(
        f"{model.name}\t{_whereabouts(model)}\t{model.source}\t{model.licence}" for model in found
    )


def _whereabouts(model: Stored) -> str:
    if model.folder is not None:
        return f"{model.folder}, {size(model.bytes)}"
    return (
        f"not fetched yet: its first use, or 'asr-llm model get {model.name}', fetches "
        f"{size(model.to_fetch)}"
    )


def terms_text(candidates: list[Candidate]) -> str:
    """Proposed terms as TSV; lines that start with '#' are comments."""
    lines = [
        "# Proposed terms, most likely first: a draft to edit. Delete non-terms, split by label.",
        "# term\tcount\twhy\tcontext",
    ]
    for found in candidates:
        why, contexts = ", ".join(found.why), " | ".join(found.contexts)
        lines.append(f"{found.term}\t{found.count}\t{why}\t{contexts}")
    if not candidates:
        lines.append("# None found: every word is as frequent in general text. Try more text.")
    return "\n".join(lines)


def to_json(record: Any) -> str:
    """Format a data class, a list of them, or plain data as JSON."""
    if isinstance(record, list):
        data: Any = [asdict(r) if hasattr(r, "__dataclass_fields__") else r for r in record]
    else:
        data = asdict(record) if hasattr(record, "__dataclass_fields__") else record
    return json.dumps(data, indent=2, default=str, ensure_ascii=False)


def size(count: int) -> str:
    """Format bytes in readable units."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
