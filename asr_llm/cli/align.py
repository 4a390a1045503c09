"""The command ``align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import to_json
from asr_llm.cli.options import (
    AsJson,
)
from asr_llm.corpus import MIN_CONFIDENCE, MIN_COVERAGE
from asr_llm.errors import number_of


def align(
    manifest: Annotated[
        Path, typer.Argument(help="Recordings with transcripts.", metavar="MANIFEST")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: next to the manifest.")
    ] = None,
    form: Annotated[
        Literal["jsonl", "ctm", "textgrid"],
        typer.Option(
            "-f",
            "--output-format",
            help="Lhotse cuts (.jsonl.gz), CTM, or a folder of TextGrids.",
        ),
    ] = "jsonl",
    model: Annotated[
        str, typer.Option(help="A checkpoint with a CTC head, or a NeMo CTC model (.nemo).")
    ] = defaults.MODEL,
    timings: Annotated[
        Path | None,
        typer.Option(
            help="Import word times instead of aligning with a model: .ctm, .TextGrid or a "
            "folder of them, Lhotse cuts."
        ),
    ] = None,
    backend: Annotated[
        Literal["auto", "viterbi", "k2"],
        typer.Option(help="Alignment search; auto: k2 if installed, else NeMo's Viterbi."),
    ] = "auto",
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Drop recordings aligned with lower confidence.")
    ] = MIN_CONFIDENCE,
    min_coverage: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Drop recordings whose transcript covers less of the speech."
        ),
    ] = MIN_COVERAGE,
    as_json: AsJson = False,
) -> None:
    """Align the transcripts of a manifest, word by word. Exit status 3: recordings were dropped."""
    from asr_llm.jobs.align import Thresholds, WordTimes, align_manifest

    with Bar() as progress:
        done = align_manifest(
            manifest,
            output,
            WordTimes(model, backend, timings),
            Thresholds(min_confidence, min_coverage),
            form=form,
            progress=progress,
        )
    for dropped in done.dropped:
        typer.echo(f"dropped {dropped.id}: {dropped.reason}", err=True)
    if as_json:
        typer.echo(to_json(done))
    else:
        typer.echo(
            f"{done.path}: {number_of(done.aligned, 'recording')}, "
            f"{number_of(done.words, 'word')}; {len(done.dropped)} dropped"
        )
    if done.dropped:
        raise typer.Exit(3)
