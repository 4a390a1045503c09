"""The command ``transcribe``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import summary
from asr_llm.cli.options import (
    Adapters,
    BeamSize,
    Bias,
    BiasingFile,
    BiasingStrength,
    FirstPass,
    Fusion,
    Model,
    RayActors,
    RayAddress,
    cluster_of,
)
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.progress import Feedback, Progress
from asr_llm.transcription.options import Recogniser, TranscribeOptions, VadKind
from asr_llm.transcription.subtitles import Layout

Channels = Annotated[
    str,
    typer.Option(
        help="mix: downmix to mono. separate: one speaker per channel. N: only this "
        "channel, from 1.",
        metavar="mix|separate|N",
    ),
]


def transcribe(
    audio: Annotated[
        list[Path],
        typer.Argument(
            help="Files (wav, flac, mp3, ogg, m4a, mp4, webm, …), folders, glob patterns such "
            "as 'talks/*.mp3', or - for stdin.",
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
            help="txt, srt, vtt, tsv, json, ctm, trn, 'all' of these, or rttm. Separate "
            "several by commas or repeat -f; several need -o.",
        ),
    ] = ["txt"],  # noqa: B006
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output-dir",
            help="Write NAME.FORMAT for each file to this folder; default: print. Run the "
            "same command again to resume.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace files in -o that were edited, or made with other settings or from "
            "other audio.",
        ),
    ] = False,
    chunk_seconds: Annotated[
        float | None,
        typer.Option(min=4.0, help="Split longer audio at pauses; default: the model's limit."),
    ] = None,
    vad: Annotated[
        VadKind,
        typer.Option(help="Voice activity detection: a neural network, or signal energy."),
    ] = "silero",
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Add word-level timestamps.")
    ] = False,
    aligner: Annotated[
        str | None,
        typer.Option(
            help="Align words with this instead of the model's CTC head: a checkpoint that "
            "has one, or a NeMo CTC model (.nemo). Implies --word-timestamps."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search folders recursively.")
    ] = False,
    channels: Channels = "mix",
    max_line_width: Annotated[
        int, typer.Option(min=1, help="Maximum characters per subtitle line.")
    ] = Layout.max_line_width,
    max_line_count: Annotated[
        int, typer.Option(min=1, help="Maximum lines per subtitle.")
    ] = Layout.max_line_count,
    ray: RayAddress = None,
    ray_actors: RayActors = None,
) -> None:
    """Transcribe audio files. Exit status 3: some files could not be read; 2: none could."""
    from asr_llm.corpus.terms.biasing_list import make_list
    from asr_llm.errors import RunError
    from asr_llm.files import printable
    from asr_llm.jobs import transcribe as job
    from asr_llm.jobs.destinations import Outcome, Wanted
    from asr_llm.model.adapter_folder import AdapterFolder

    if overwrite and output_dir is None:
        raise RunError("--overwrite requires -o, the folder whose files it replaces")
    wanted = Wanted(
        output_format,
        output_dir,
        overwrite,
        Layout(max_line_width, max_line_count),
        recursive,
        channels,
    )
    bar = Bar(of_audio=True)
    found: list[Outcome] = []
    with bar as progress:
        bar.wait(f"loading {model}")
        for outcome in job.transcribe(
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
            _feedback(bar, progress),
            cluster_of(ray, ray_actors),
        ):
            found.append(outcome)
            bar.echo(printable(outcome.printed))
            if outcome.note:
                bar.echo(printable(f"{outcome.name}: {outcome.note}\n"), err=True)
            if outcome.error:
                bar.echo(printable(f"error: {outcome.error}\n"), err=True)
    for line in summary(found, bar.seconds, output_dir):
        typer.echo(printable(line), err=True)
    if any(one.error for one in found):
        raise typer.Exit(3 if any(one.done_before or one.seconds for one in found) else 2)


def _feedback(bar: Bar, progress: Progress | None) -> Feedback:
    """Lines above the bar: text on stdout, what is told on stderr."""
    from asr_llm.files import printable

    return Feedback(
        progress,
        on_ready=bar.restart,
        tell=lambda line: bar.echo(f"{line}\n", err=True),
        show=lambda text: bar.echo(printable(text)),
    )
