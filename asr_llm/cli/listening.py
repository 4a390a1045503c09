"""Commands that listen to recordings: transcribe, align, ask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
    Model,
)
from asr_llm.console import Bar, summary, to_json
from asr_llm.corpus import MIN_CONFIDENCE, MIN_COVERAGE
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.transcription.options import Recogniser, TranscribeOptions, VadKind
from asr_llm.transcription.subtitles import Layout


def transcribe(
    audio: Annotated[
        list[Path],
        typer.Argument(
            help="wav, flac, mp3, ogg, m4a, mp4, webm, …; folders of them, patterns such as "
            "'talks/*.mp3', or - for stdin.",
            metavar="AUDIO",
        ),
    ],
    model: Model = defaults.MODEL,
    adapter: Adapters = None,
    fusion: Fusion = None,
    beam_size: BeamSize = NUM_BEAMS,
    first_pass: FirstPass = True,
    biasing_list: BiasingFile = None,
    bias: Bias = None,
    biasing_strength: BiasingStrength = None,
    output_format: Annotated[
        list[str],
        typer.Option(
            "-f",
            "--output-format",
            help="txt, srt, vtt, tsv, json, ctm, trn, all of these, or rttm; several, by commas or "
            "by -f again, need -o.",
        ),
    ] = ["txt"],  # noqa: B006
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output-dir",
            help="Write NAME.FORMAT for each into this folder; default: print. Run again, it goes "
            "on where it stopped.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace files in -o that you changed, or that are of other settings or origin.",
        ),
    ] = False,
    chunk_seconds: Annotated[
        float | None,
        typer.Option(min=4.0, help="Cut longer audio, at pauses; default: what the model takes."),
    ] = None,
    vad: Annotated[
        VadKind,
        typer.Option(help="What tells speech from the rest: a network, or how loud it is."),
    ] = "silero",
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Tell when each word is said.")
    ] = False,
    aligner: Annotated[
        str | None,
        typer.Option(
            help="What finds the words in place of the model's CTC head: a checkpoint with one, "
            "or a NeMo CTC model (.nemo). Brings --word-timestamps."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Look into the folders of a folder.")
    ] = False,
    channels: Annotated[
        str,
        typer.Option(
            help="mix: all into one. separate: each by itself, a speaker in each. N: one of them, "
            "from 1.",
            metavar="mix|separate|N",
        ),
    ] = "mix",
    max_line_width: Annotated[
        int, typer.Option(min=1, help="Characters in a line of subtitles.")
    ] = Layout.max_line_width,
    max_line_count: Annotated[
        int, typer.Option(min=1, help="Lines of a subtitle.")
    ] = Layout.max_line_count,
) -> None:
    """Transcribe audio files. Exit status 3: some could not be read; 2: none could."""
    from asr_llm import transcribing
    from asr_llm.corpus.biasing_list import make_list
    from asr_llm.errors import RunError
    from asr_llm.files import printable
    from asr_llm.model.adapter_folder import AdapterFolder

    if overwrite and output_dir is None:
        raise RunError("--overwrite is about files in a folder: give -o too")
    wanted = transcribing.Wanted(
        output_format,
        output_dir,
        overwrite,
        Layout(max_line_width, max_line_count),
        recursive,
        channels,
    )
    bar = Bar(of_audio=True)
    found: list[transcribing.Outcome] = []
    with bar as progress:
        bar.wait(f"loading {model}")
        for outcome in transcribing.transcribe(
            audio,
            wanted,
            TranscribeOptions(
                fusion=fusion,
                num_beams=beam_size,
                biasing=make_list(biasing_list, bias or [], biasing_strength),
                confidence=True,
                first_pass=first_pass,
                chunk_seconds=chunk_seconds,
                vad=vad,
                word_timestamps=word_timestamps or aligner is not None,
            ),
            Recogniser(model, AdapterFolder.read_all(adapter), aligner),
            progress=progress,
            on_ready=bar.restart,
            tell=lambda line: bar.echo(f"{line}\n", err=True),
            show=lambda text: bar.echo(printable(text)),
        ):
            found.append(outcome)
            bar.echo(printable(outcome.printed))
            if outcome.note:
                bar.echo(printable(f"{outcome.name}: {outcome.note}\n"), err=True)
            if outcome.error:
                bar.echo(printable(f"error: {outcome.error}\n"), err=True)
    for line in summary(found, bar.seconds):
        typer.echo(printable(line), err=True)
    if any(one.error for one in found):
        raise typer.Exit(3 if any(one.done_before or one.seconds for one in found) else 2)


def align(
    manifest: Annotated[
        Path, typer.Argument(help="Recordings with transcripts.", metavar="MANIFEST")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: beside the manifest.")
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
    ] = MIN_CONFIDENCE,
    min_coverage: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Drop recordings of whose speech the transcript tells less."
        ),
    ] = MIN_COVERAGE,
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
            min_coverage=min_coverage,
            form=form,
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
    model: Model = defaults.MODEL,
    adapter: Adapter = None,
) -> None:
    """Ask the model a question about a recording."""
    from asr_llm import asking

    typer.echo(asking.ask(audio, question, model=model, adapter=adapter))
