"""The command ``adapt``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import print_scores
from asr_llm.cli.options import General, NoAudio, NoText, Resume


def adapt(
    domain: Annotated[Path, typer.Argument(help="A domain folder.", metavar="DOMAIN")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe in YAML; default: text only, as in adapt/text.yaml.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="'small', 'mini', a checkpoint folder or a hub name; overrides the recipe."
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("-o", "--run", help="Run folder; default: runs/NAME.")
    ] = None,
    resume: Resume = False,
    general: General = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; overrides the recipe.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps; override the recipe.")
    ] = None,
    no_audio: NoAudio = False,
    no_text: NoText = False,
) -> None:
    """Adapt a model to a domain, then evaluate base and adapted model on its test set."""
    from asr_llm.jobs import adapt as job
    from asr_llm.jobs.measurement import REPORT
    from asr_llm.recipe import Recipe

    alone = "LOCAL_RANK" not in os.environ  # not one of several processes that would all say so
    if alone and resume and run is not None and not (run / "recipe.yaml").is_file():
        typer.echo(f"no run in {run} yet: starting one", err=True)
    with Bar() as progress:
        done = job.adapt(
            domain,
            Recipe.load(recipe) if recipe else None,
            model=model,
            seed=seed,
            steps=steps,
            run=run,
            resume=resume,
            general=general,
            report_audio=not no_audio,
            report_text=not no_text,
            progress=progress,
        )
    for note in done.notes:
        typer.echo(note, err=True)
    if done.scores is not None:
        print_scores(done.scores)
        typer.echo(f"The report is in {done.run / REPORT}")
    else:
        typer.echo(f"{domain} has no test set, so nothing was measured; add test/text.txt")
    if done.adapter is not None:
        how = f"--adapter {shlex.quote(str(done.adapter))}"
        if done.model != defaults.MODEL:
            how = f"--model {shlex.quote(done.model)} {how}"
        typer.echo(f"The adapter is in {done.adapter}")
    else:
        how = f"--model {shlex.quote(str(done.trained_model))}"
        typer.echo(f"The model is in {done.trained_model}")
    typer.echo(f"Transcribe with it:  asr-llm transcribe AUDIO {how}")
    typer.echo(f"Evaluate again:      asr-llm evaluate {shlex.quote(str(domain))} {how}")
