"""The command ``qa``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import print_warnings, to_json
from asr_llm.cli.options import Adapter, AsJson, Cascade, Model, Output
from asr_llm.cli.tables import print_answers

Scoring = Literal["contains", "exact", "choice", "likelihood"]


def qa(
    suite: Annotated[
        Path, typer.Argument(help="Suite in YAML, or questions (.jsonl).", metavar="SUITE")
    ],
    model: Model = defaults.MODEL,
    adapter: Adapter = None,
    scoring: Annotated[
        Scoring | None, typer.Option(help="How answers are found and scored; default: the suite's.")
    ] = None,
    cascade: Cascade = False,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Ask the same questions as text and as speech, and measure the gap.

    A question is a JSON object with question and answer (or answers), and optionally id, passage,
    choices and audio (a recording of the question). A suite in YAML sets how they are asked: name,
    questions (the file), scoring (contains, exact, choice, likelihood), spoken (passage, question),
    voices.
    """
    from asr_llm.jobs import qa as job

    options = job.QaOptions(scoring, bool(cascade))
    with Bar() as progress:
        done = job.qa(
            suite,
            model=model,
            adapter=adapter,
            output=output,
            options=options,
            progress=progress,
        )
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_answers(done.scores)
        print_warnings(done.scores)
