"""The command ``qa``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.console import Bar, print_answers, to_json
from asr_llm.cli.options import (
    Adapter,
    AsJson,
    Model,
)


def qa(
    suite: Annotated[
        Path, typer.Argument(help="Suite in YAML, or questions (.jsonl).", metavar="SUITE")
    ],
    model: Model = defaults.MODEL,
    adapter: Adapter = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for answers.jsonl, scores.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the same questions as text and as speech, and measure the gap.

    A question is a JSON object with question and answer (or answers), and optionally id, passage,
    choices and audio (a recording of the question). A suite in YAML sets how they are asked: name,
    questions (the file), scoring (contains, exact, choice), spoken (passage, question), voices.
    """
    from asr_llm.jobs import qa as job

    with Bar() as progress:
        done = job.qa(suite, model=model, adapter=adapter, output=output, progress=progress)
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_answers(done.scores)
