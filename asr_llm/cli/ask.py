"""The command ``ask``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.options import Adapter, Cascade, Model


def ask(
    audio: Annotated[
        Path,
        typer.Argument(
            help="A recording of up to a minute; 30 s with --no-cascade.", metavar="AUDIO"
        ),
    ],
    question: Annotated[
        str | None, typer.Option(help="Default: the question is spoken in AUDIO.")
    ] = None,
    model: Model = defaults.MODEL,
    adapter: Adapter = None,
    cascade: Cascade = None,
) -> None:
    """Ask the model a question about a recording."""
    from asr_llm.jobs import ask as job

    typer.echo(job.ask(audio, question, model=model, adapter=adapter, cascade=cascade))
