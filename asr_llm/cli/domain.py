"""The commands ``domain init``, ``check`` and ``audit``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import print_audit, report_text, to_json
from asr_llm.cli.options import AsJson, BeamSize, Model
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.progress import Feedback

domain_app = typer.Typer(help="Create, check and audit domain folders.", no_args_is_help=True)


@domain_app.command("init")
def domain_init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    name: Annotated[str | None, typer.Option(help="Default: the name of the folder.")] = None,
) -> None:
    """Create a small example folder to edit into your own domain."""
    from asr_llm.corpus.domain.folder import create

    made = shlex.quote(str(create(folder, name)))
    typer.echo(f"Wrote {folder}. Edit its files, then:\n  asr-llm domain check {made}")
    typer.echo(f"  asr-llm adapt {made}")


@domain_app.command("check")
def domain_check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")], as_json: AsJson = False
) -> None:
    """Report what a domain folder contains and every problem in it. Exit status 1: errors."""
    from asr_llm.corpus.domain.folder import check

    report = check(folder)
    typer.echo(to_json(report) if as_json else report_text(report))
    if report.errors:
        raise typer.Exit(1)


@domain_app.command("audit")
def domain_audit(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    model: Model = defaults.MODEL,
    beam_size: BeamSize = NUM_BEAMS,
    voice: Annotated[
        list[str] | None,
        typer.Option(
            help="Voices, by name or pattern; repeatable. Default: two of the domain's "
            "held-out voices."
        ),
    ] = None,
    carrier: Annotated[
        list[str] | None,
        typer.Option(
            help="Carrier sentence with {term} in it; repeatable. Default: two English sentences."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also write an HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the listed terms that a model mishears, and what would help; needs no recordings."""
    from asr_llm.files import check_file
    from asr_llm.jobs import audit as job

    if report is not None:
        check_file(report, "--report")
    bar = Bar()
    with bar as progress:
        found = job.audit(
            folder,
            model=model,
            stimuli=job.Stimuli(voice or [], carrier or []),
            num_beams=beam_size,
            feedback=Feedback(progress, tell=lambda line: bar.echo(f"{line}\n", err=True)),
        )
    if report is not None:
        job.write_report(report, found)
    if as_json:
        typer.echo(to_json(found))
    else:
        print_audit(found)
