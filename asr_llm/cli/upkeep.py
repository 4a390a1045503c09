"""Commands for what is installed and kept: doctor, cache."""

from __future__ import annotations

from typing import Annotated

import typer

from asr_llm.cli.options import AsJson
from asr_llm.console import diagnosis_text, size, to_json

cache_app = typer.Typer(help="Look at and empty the cache of spoken text.", no_args_is_help=True)


def doctor(
    voices: Annotated[
        bool, typer.Option("--voices", help="List the voices that speak text.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what is missing, and what that costs you."""
    if voices:
        from asr_llm.corpus.synthesis import installed_voices

        names = installed_voices()
        typer.echo(to_json(names) if as_json else "\n".join(names))
        return
    from asr_llm.doctor import diagnose

    found = diagnose()
    typer.echo(to_json(found) if as_json else diagnosis_text(found))


@cache_app.command("list")
def cache_list() -> None:
    """What the cache holds, by kind."""
    from asr_llm.corpus import cache

    for entry in cache.entries():
        typer.echo(f"{entry.kind}\t{entry.count} files\t{size(entry.bytes)}")
    typer.echo(f"in {cache.location()}")


@cache_app.command("clear")
def cache_clear(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind; default: all that can be made again.")
    ] = None,
) -> None:
    """Empty the cache."""
    from asr_llm.corpus import cache

    for entry in cache.clear(kind):
        typer.echo(f"deleted {entry.kind}: {entry.count} files, {size(entry.bytes)}")
