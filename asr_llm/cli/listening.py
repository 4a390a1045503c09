"""Commands that listen to recordings: transcribe, align, ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from asr_llm.cli.options import Adapter, AsJson, BeamSize, Fusion, Model
from asr_llm.console import Bar, to_json
from asr_llm.transcription import NUM_BEAMS


def transcribe(
    audio: Annotated[list[Path], typer.Argument(help="wav, flac, mp3, ogg, …", metavar="AUDIO")],
    model: Model = "mini",
    adapter: Adapter = None,
    fusion: Fusion = None,
    beam_size: BeamSize = NUM_BEAMS,
    output_format: Annotated[
        str, typer.Option("-f", "--output-format", help="txt or json.")
    ] = "txt",
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Tell when each word is said (in json).")
    ] = False,
    aligner: Annotated[
        str | None,
        typer.Option(
            "--aligner",
            help="What finds the words in place of the model's CTC head: a checkpoint with one, "
            "or a NeMo CTC model (.nemo). Brings --word-timestamps.",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("-o", "--output-dir", help="Write a file for each; default: print."),
    ] = None,
) -> None:
    """Transcribe audio files. Exit status 3: some could not be read; 2: none could."""
    from asr_llm import jobs
    from asr_llm.errors import AudioError
    from asr_llm.transcription import formats

    if output_dir is None:
        formats.check_format(output_format)
    else:
        formats.check_names(audio, output_format)
    failed = 0
    with Bar() as progress:
        results = jobs.transcribe(
            audio,
            model=model,
            adapter=adapter,
            fusion=fusion,
            num_beams=beam_size,
            confidence=output_format == "json",
            word_timestamps=word_timestamps or aligner is not None,
            aligner=aligner,
            progress=progress,
            tell=lambda line: typer.echo(line, err=True),
        )
        for path, result in zip(audio, results):
            if isinstance(result, AudioError):
                failed += 1
                typer.echo(f"error: {result}", err=True)
                continue
            if result.note:
                typer.echo(f"{path}: {result.note}", err=True)
            if output_dir is not None:
                typer.echo(formats.write(result, output_format, output_dir))
            elif len(audio) == 1:
                typer.echo(formats.render(result, output_format), nl=False)
            elif output_format == "json":
                row = {"path": str(path)} | json.loads(formats.render(result, "json"))
                typer.echo(json.dumps(row, ensure_ascii=False))
            else:
                typer.echo(f"{path}: {result.text}")
    if failed:
        raise typer.Exit(2 if failed == len(audio) else 3)


def align(
    manifest: Annotated[
        Path, typer.Argument(help="Recordings with transcripts.", metavar="MANIFEST")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Lhotse cuts with word times, .jsonl.gz.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A checkpoint with a CTC head, or a NeMo CTC model (.nemo).")
    ] = "mini",
    timings: Annotated[
        Path | None,
        typer.Option(
            help="Word times made elsewhere, in place of a model: .ctm, .TextGrid or a folder "
            "of them, Lhotse cuts."
        ),
    ] = None,
    backend: Annotated[
        Literal["auto", "viterbi", "k2"],
        typer.Option(help="Search; auto: k2 where installed, else NeMo's Viterbi."),
    ] = "auto",
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Drop recordings aligned with less.")
    ] = 0.2,
    as_json: AsJson = False,
) -> None:
    """Find out when each word of a manifest is said. Exit status 3: some were dropped."""
    from asr_llm.aligning import align_manifest

    with Bar() as progress:
        done = align_manifest(
            manifest,
            output,
            model=model,
            timings=timings,
            backend=backend,
            min_confidence=min_confidence,
            progress=progress,
        )
    for dropped in done.dropped:
        typer.echo(f"dropped {dropped.id}: {dropped.reason}", err=True)
    if as_json:
        typer.echo(to_json(done))
    else:
        typer.echo(
            f"{done.path}: {done.aligned} recordings, {done.words} words; "
            f"{len(done.dropped)} dropped"
        )
    if done.dropped:
        raise typer.Exit(3)


def ask(
    audio: Annotated[Path, typer.Argument(help="A recording of up to a minute.", metavar="AUDIO")],
    question: Annotated[
        str | None, typer.Option(help="Default: the question is what is said in AUDIO.")
    ] = None,
    model: Model = "mini",
    adapter: Adapter = None,
) -> None:
    """Ask the model a question about a recording."""
    from asr_llm import asking

    typer.echo(asking.ask(audio, question, model=model, adapter=adapter))
