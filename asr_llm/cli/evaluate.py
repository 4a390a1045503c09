"""The command ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import print_scores, to_json
from asr_llm.cli.options import (
    Adapters,
    AsJson,
    BeamSize,
    Bias,
    BiasingFile,
    BiasingStrength,
    Fusion,
    General,
    Model,
    NoAudio,
    NoText,
    RayActors,
    RayAddress,
    cluster_of,
    tell_written,
)
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import AsrLlmError
from asr_llm.transcription.options import TranscribeOptions


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="A domain folder, or a manifest.", metavar="DOMAIN|MANIFEST")
    ],
    model: Model = defaults.MODEL,
    adapter: Adapters = None,
    fusion: Fusion = None,
    beam_size: BeamSize = NUM_BEAMS,
    biasing_list: BiasingFile = None,
    bias: Bias = None,
    biasing_strength: BiasingStrength = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Adapter to compare with, instead of the model alone.")
    ] = None,
    general: General = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for hypotheses and scores.json.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML report; with -o it is report.html in that folder by default."),
    ] = None,
    no_audio: NoAudio = False,
    no_text: NoText = False,
    max_general_wer_increase: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Exit with status 4 if general WER rises by more than this many points (for CI).",
        ),
    ] = None,
    as_json: AsJson = False,
    ray: RayAddress = None,
    ray_actors: RayActors = None,
) -> None:
    """Evaluate a model, with and without adapters, on a test set."""
    from asr_llm.corpus.terms.biasing_list import make_list
    from asr_llm.jobs import evaluate as job

    if max_general_wer_increase is not None and not adapter:
        raise AsrLlmError(
            "--max-general-wer-increase compares an adapter with its base, and there is none: give "
            "it with --adapter, or leave the option out"
        )

    with Bar() as progress:
        done = job.evaluate(
            data,
            model=model,
            adapter=adapter,
            options=TranscribeOptions(
                fusion=fusion,
                num_beams=beam_size,
                biasing=make_list(biasing_list, bias or [], biasing_strength),
            ),
            baseline=baseline,
            general=general,
            output=output,
            report=report,
            report_audio=not no_audio,
            report_text=not no_text,
            progress=progress,
            cluster=cluster_of(ray, ray_actors),
        )
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_scores(done.scores)
        tell_written(output, report)
    if max_general_wer_increase is not None:
        from asr_llm.evaluation.scores import general_wer_increase

        rise = 100 * general_wer_increase(done.scores)
        if rise > max_general_wer_increase:
            typer.echo(
                f"general WER rose by {rise:.1f} points; the limit is {max_general_wer_increase:g}",
                err=True,
            )
            raise typer.Exit(4)
