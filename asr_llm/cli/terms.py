"""The command ``terms``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.console import terms_text, to_json
from asr_llm.cli.options import AsJson, Model


def terms(
    text: Annotated[
        list[Path], typer.Argument(help="Text files or domain folders.", metavar="TEXT")
    ],
    model: Model = defaults.MODEL,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="More general text, whose words are not proposed; repeatable."),
    ] = None,
    least: Annotated[int, typer.Option(min=1, help="Minimum count in the text.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of terms; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose domain terms from text, most likely first, as a draft to edit. Writes no files."""
    from asr_llm.corpus.terms.propose import propose_from_files
    from asr_llm.model import checkpoints

    replay = checkpoints.locate(model) / "replay"
    general = [*([replay] if replay.is_dir() else []), *(against or [])]
    found = propose_from_files(text, general, least)[:limit]
    typer.echo(to_json(found) if as_json else terms_text(found))
