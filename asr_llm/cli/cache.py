"""The commands ``cache list`` and ``clear``."""

from __future__ import annotations

from typing import Annotated

import typer

from asr_llm.cli.console import size
from asr_llm.errors import number_of

cache_app = typer.Typer(
    help="Inspect and clear the cache of synthesised speech.", no_args_is_help=True
)


@cache_app.command("list")
def cache_list() -> None:
    """List the contents of the cache by kind."""
    from asr_llm.corpus.speech import cache

    for entry in cache.entries():
        typer.echo(f"{entry.kind}\t{number_of(entry.count, 'file')}\t{size(entry.bytes)}")
    typer.echo(f"in {cache.location()}")


@cache_app.command("clear")
def cache_clear(
    kind: Annotated[
        str | None,
        typer.Argument(help="Only this kind; default: everything that can be regenerated."),
    ] = None,
) -> None:
    """Clear the cache."""
    from asr_llm.corpus.speech import cache

    for entry in cache.clear(kind):
        typer.echo(f"deleted {entry.kind}: {number_of(entry.count, 'file')}, {size(entry.bytes)}")
