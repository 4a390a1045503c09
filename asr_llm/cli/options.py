"""Options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm.errors import RunError
from asr_llm.transcription.options import Cluster

Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="'small', 'mini', a checkpoint folder or a Hugging Face hub name.",
    ),
]
Adapter = Annotated[
    Path | None, typer.Option("--adapter", help="An adapter folder, such as runs/NAME/adapter.")
]
Adapters = Annotated[
    list[Path] | None,
    typer.Option("--adapter", help="An adapter folder, such as runs/NAME/adapter; repeatable."),
]
Fusion = Annotated[
    float | None,
    typer.Option(
        "--fusion",
        min=0.0,
        help="Fusion weight of adapters trained on text; default: the one in their recipe.",
    ),
]
BeamSize = Annotated[int, typer.Option("--beam-size", min=1, help="Beam size; 1 is greedy search.")]
FirstPass = Annotated[
    bool,
    typer.Option(
        "--first-pass/--no-first-pass",
        help="Show the LLM the transcript of Whisper's own decoder, if the model has one.",
    ),
]
Cascade = Annotated[
    bool | None,
    typer.Option(
        "--cascade/--no-cascade",
        help="Let the LLM read the transcript of Whisper's own decoder in place of the speech.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Folder for answers.jsonl, scores.json.")
]
BiasingFile = Annotated[
    Path | None,
    typer.Option(
        "--biasing-list",
        help="Words and phrases to boost: a file with one per line, terms (.tsv) or a folder "
        "of them.",
    ),
]
Bias = Annotated[
    list[str] | None,
    typer.Option("--bias", metavar="WORD", help="A word or phrase to boost; repeatable."),
]
BiasingStrength = Annotated[
    float | None,
    typer.Option(
        "--biasing-strength",
        help="Score bonus, in nats, for listed and adapter terms (0 disables). Default: 2.5, "
        "or the adapter's own value for its terms.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS|local",
        help="Decode on a Ray cluster, such as 10.0.0.1:6379, or in several processes of this "
        "machine.",
    ),
]
RayActors = Annotated[
    int | None,
    typer.Option(
        "--ray-actors",
        min=1,
        help="Processes with a model each; default: one per GPU, or per core where there is none.",
    ),
]
General = Annotated[
    Path | None,
    typer.Option(
        "--general",
        help="Domain folder or manifest to measure forgetting on; default: the model's own.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume the run in that folder; start it if there is none.")
]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave recordings out of report.html.")]
NoText = Annotated[
    bool, typer.Option("--no-text", help="Leave all texts and recordings out of report.html.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def cluster_of(address: str | None, actors: int | None) -> Cluster | None:
    """Where to decode; None: in this process.

    Raises:
        RunError: there are actors, but no address.
    """
    if address is None:
        if actors is not None:
            raise RunError("--ray-actors requires --ray, the cluster that they run on")
        return None
    return Cluster(address, actors)


def tell_written(*made: Path | None) -> None:
    """Print the paths of written files to stdout."""
    for path in made:
        if path is not None:
            typer.echo(f"Written: {path}")
