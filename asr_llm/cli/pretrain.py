"""The command ``pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm.cli.options import Resume


def pretrain(
    recipe: Annotated[Path, typer.Argument(help="YAML.", metavar="RECIPE")],
    run: Annotated[
        Path | None, typer.Option("-o", "--run", help="Run folder; default: runs/NAME.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Train by a recipe that needs no domain folder."""
    from asr_llm.jobs import pretrain as job
    from asr_llm.jobs.training_run import notes_of
    from asr_llm.recipe import Recipe

    done = job.pretrain(Recipe.load(recipe), run=run, resume=resume, progress=True)
    for note in notes_of(done):
        typer.echo(note, err=True)
    typer.echo(f"The model is in {done.model or done.adapter}")
