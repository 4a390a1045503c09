"""Commands that measure: evaluate, score, qa."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from asr_llm.cli.options import (
    Adapter,
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
)
from asr_llm.console import Bar, print_answers, print_scores, to_json
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import AsrLlmError


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="A domain folder, or a manifest.", metavar="DOMAIN|MANIFEST")
    ],
    model: Model = "mini",
    adapter: Adapters = None,
    fusion: Fusion = None,
    beam_size: BeamSize = NUM_BEAMS,
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
        _tell_written(output, report)
    if max_general_wer_increase is not None:
        from asr_llm.evaluation.scores import general_wer_increase

        rise = 100 * general_wer_increase(done.scores)
        if rise > max_general_wer_increase:
            typer.echo(
                f"general WER rose by {rise:.1f} points; allowed are {max_general_wer_increase:g}",
                err=True,
            )
            raise typer.Exit(4)


def score(
    reference: Annotated[Path, typer.Option("--reference", help="What was said.")],
    hypothesis: Annotated[
        list[str],
        typer.Option(
            "--hypothesis",
            metavar="[NAME=]FILE",
            help="What a system wrote; several times to compare systems with the first.",
        ),
    ],
    entities: Annotated[
        str | None,
        typer.Option(
            help="Words that matter: EntityRuler patterns (.jsonl), terms (.tsv, .csv, or a "
            "folder), a domain folder, or a spaCy pipeline (its name or folder). Default: what "
            "the reference marks."
        ),
    ] = None,
    biasing_list: Annotated[
        Path | None,
        typer.Option(help="As --entities: words by which WER is split into U- and B-WER."),
    ] = None,
    normalizer: Annotated[
        str, typer.Option(help="Of the normalised figures: basic, whisper-en, medical-en or none.")
    ] = "basic",
    alignment: Annotated[
        Literal["unit", "sclite"], typer.Option(help="Costs 1, 1, 1 or sclite's 4, 3, 3.")
    ] = "unit",
    bootstrap_by: Annotated[
        Literal["auto", "speaker", "recording", "utterance"],
        typer.Option(help="What is drawn as one; auto: speakers where known, else recordings."),
    ] = "auto",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Count a missing hypothesis as nothing heard.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder: scores.json, mentions.jsonl.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    no_text: NoText = False,
    as_json: AsJson = False,
) -> None:
    """Score what any recogniser wrote: words, and the entities that matter."""
    from asr_llm.scoring import Options, score_files

    options = Options(
        entities=entities,
        biasing_list=biasing_list,
        normalizer=normalizer,
        costs=alignment,
        allow_missing=allow_missing,
        bootstrap_by=bootstrap_by,
    )
    done = score_files(
        reference, _named(hypothesis), options, output, report=report, report_text=not no_text
    )
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_scores(done.scores)
        _tell_written(output, report)


def _tell_written(*made: Path | None) -> None:
    for path in made:
        if path is not None:
            typer.echo(f"Written: {path}")


def _named(hypotheses: list[str]) -> dict[str, str]:
    """NAME=FILE by name; a file without a name is called by its own."""
    found: dict[str, str] = {}
    for given in hypotheses:
        name, equals, path = given.partition("=")
        if not equals or not name or Path(given).exists():
            name, path = Path(given).stem, given
        if name in found:
            raise AsrLlmError(
                f"two hypotheses are called {name!r}; expected a name for each: "
                "--hypothesis NAME=FILE"
            )
        found[name] = path
    return found


def qa(
    suite: Annotated[Path, typer.Argument(help="YAML, or questions (.jsonl).", metavar="SUITE")],
    model: Model = "mini",
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
