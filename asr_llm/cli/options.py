"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="'small', 'mini', a checkpoint folder, or a name on the hub.",
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
        help="How much an adapter made from text counts; default: as its recipe says.",
    ),
]
BeamSize = Annotated[
    int, typer.Option("--beam-size", min=1, help="Hypotheses kept while decoding; 1 is greedy.")
]
FirstPass = Annotated[
    bool,
    typer.Option(
        "--first-pass/--no-first-pass",
        help="Show the LLM what Whisper's own decoder writes, where the model brings that.",
    ),
]
BiasingFile = Annotated[
    Path | None,
    typer.Option(
        "--biasing-list",
        help="Phrases to prefer where they may have been said: one on each line, terms (.tsv) or "
        "a folder of them.",
    ),
]
Bias = Annotated[
    list[str] | None,
    typer.Option("--bias", metavar="WORD", help="A phrase to prefer; several times for several."),
]
BiasingStrength = Annotated[
    float | None,
    typer.Option(
        "--biasing-strength",
        help="Nats by which they are preferred, and what an adapter brings; 0: not at all. "
        "Default: 2.5, and of an adapter's what that says.",
    ),
]
General = Annotated[
    Path | None,
    typer.Option("--general", help="Domain folder that shows forgetting; default: the model's."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave recordings out of report.html.")]
NoText = Annotated[
    bool, typer.Option("--no-text", help="Leave all texts and recordings out of report.html.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


def tell_written(*made: Path | None) -> None:
    """Say what a command has written, on stdout."""
    for path in made:
        if path is not None:
            typer.echo(f"Written: {path}")
