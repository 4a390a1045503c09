"""The command that serves: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from asr_llm.cli.options import Adapters, BeamSize, Model
from asr_llm.decoding.options import NUM_BEAMS


def serve(
    model: Model = "mini",
    adapter: Adapters = None,
    beam_size: BeamSize = NUM_BEAMS,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets other machines in; there is no password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 8000,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Of an upload.")] = 100.0,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Of an upload's audio; default: any.")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests at a time; more are told to come again.")
    ] = 100,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to an answer.")] = 600.0,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds to end what has begun when it is stopped.")
    ] = 30.0,
) -> None:
    """Serve transcription as OpenAI's interface has it: POST /v1/audio/transcriptions."""
    from asr_llm import serving

    serving.serve(
        model,
        adapter or [],
        say=lambda line: typer.echo(line, err=True),
        num_beams=beam_size,
        host=host,
        port=port,
        places=queue,
        max_megabytes=max_megabytes,
        max_seconds=max_seconds,
        timeout=timeout,
        grace=grace,
    )
