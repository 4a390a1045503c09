"""The command ``doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from asr_llm.cli.console import diagnosis_text, to_json
from asr_llm.cli.options import AsJson


def doctor(
    voices: Annotated[
        bool, typer.Option("--voices", help="List the installed text-to-speech voices.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report what is installed, what is missing, and what you lose without it."""
    if voices:
        from asr_llm.corpus.speech.synthesis import installed_voices

        names = installed_voices()
        typer.echo(to_json(names) if as_json else "\n".join(names))
        return
    from asr_llm.jobs.doctor import diagnose

    found = diagnose()
    typer.echo(to_json(found) if as_json else diagnosis_text(found))
