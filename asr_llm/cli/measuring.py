"""Commands that measure a model: evaluate, qa."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.options import (
    Adapter,
    Adapters,
    AsJson,
    BeamSize,
    Bias,
    BiasingFile,
    BiasingStrength,
    FirstPass,
    Fusion,
    General,
    Model,
    NoAudio,
    NoText,
    tell_written,
)
from asr_llm.console import Bar, print_answers, print_scores, to_json
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import AsrLlmError


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="A domain folder, or a manifest.", metavar="DOMAIN|MANIFEST")
    ],
    model: Model = defaults.MODEL,
    adapter: Adapters = None,
    fusion: Fusion = None,
    beam_size: BeamSize = NUM_BEAMS,
    first_pass: FirstPass = True,
    biasing_list: BiasingFile = None,
    bias: Bias = None,
    biasing_strength: BiasingStrength = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Adapter to compare with, in place of the model alone.")
    ] = None,
    general: General = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for hypotheses and scores.json.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML report; default with -o: report.html in there.")
    ] = None,
    no_audio: NoAudio = False,
    no_text: NoText = False,
    max_general_wer_increase: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Points; exit status 4 where general WER rises by more (for CI)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model, and adapters beside it, on a test set."""
    from asr_llm import jobs
    from asr_llm.corpus.biasing_list import make_list

    if max_general_wer_increase is not None and not adapter:
        raise AsrLlmError("--max-general-wer-increase compares an adapter: give --adapter too")

    with Bar() as progress:
        done = jobs.evaluate(
            data,
            model=model,
            adapter=adapter,
            fusion=fusion,
            num_beams=beam_size,
            first_pass=first_pass,
            biasing=make_list(biasing_list, bias or [], biasing_strength),
            baseline=baseline,
            general=general,
            output=output,
            report=report,
            report_audio=not no_audio,
            report_text=not no_text,
            progress=progress,
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
                f"general WER rose by {rise:.1f} points; allowed are {max_general_wer_increase:g}",
                err=True,
            )
            raise typer.Exit(4)


def qa(
    suite: Annotated[Path, typer.Argument(help="YAML, or questions (.jsonl).", metavar="SUITE")],
    model: Model = defaults.MODEL,
    adapter: Adapter = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for answers.jsonl, scores.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the same questions as text and as speech, and measure the gap.

    A question is a JSON object: question, answer or answers, and where there are any id, passage,
    choices, and audio (a recording of the question). A suite in YAML says how all are asked: name,
    questions (the file), scoring (contains, exact, choice), spoken (passage, question), voices.
    """
    from asr_llm import asking

    with Bar() as progress:
        done = asking.qa(suite, model=model, adapter=adapter, output=output, progress=progress)
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_answers(done.scores)
