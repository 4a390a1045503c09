"""The command ``corpus shar``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm.cli.bar import Bar
from asr_llm.cli.console import to_json
from asr_llm.cli.options import AsJson
from asr_llm.errors import number_of
from asr_llm.progress import Feedback

corpus_app = typer.Typer(help="Prepare large corpora for training.", no_args_is_help=True)


@corpus_app.callback()
def corpus() -> None:
    """A group, though of one command."""


@corpus_app.command("shar")
def corpus_shar(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="Recordings with transcripts: JSON lines, Lhotse cuts, trans.txt.",
            metavar="MANIFEST",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    shard_size: Annotated[int, typer.Option(min=1, help="Recordings per shard.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Pack a manifest of any length into a Lhotse Shar folder, which training reads shard by shard.

    A run that was killed goes on when it is run again. Exit status 3: recordings were left out.
    """
    from asr_llm.jobs.shar import pack

    bar = Bar()
    with bar as progress:
        tell = Feedback(progress, tell=lambda line: bar.echo(f"{line}\n", err=True))
        done = pack(manifest, output, shard_size, tell)
    if as_json:
        typer.echo(to_json(done))
    else:
        typer.echo(
            f"{done.path}: {number_of(done.cuts, 'recording')}, {done.seconds / 3600:.1f} h, in "
            f"{number_of(done.shards, 'shard')}; {done.dropped} left out"
        )
    if done.dropped:
        raise typer.Exit(3)
