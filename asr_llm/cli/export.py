"""The command ``export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.options import Adapters, Model


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="A new or empty folder.")],
    model: Model = defaults.MODEL,
    adapter: Adapters = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Merge the adapters into the weights."),
    ] = False,
    llm_only: Annotated[
        bool,
        typer.Option("--llm-only", help="Export only the LLM and its tokenizer, for Hugging Face."),
    ] = False,
    vllm: Annotated[
        bool, typer.Option("--vllm", help="Export for NeMo's vLLM plugin, in bfloat16.")
    ] = False,
) -> None:
    """Export a checkpoint for NeMo, Hugging Face or vLLM, with adapters merged."""
    from asr_llm.jobs import export as job
    from asr_llm.model.adapter_folder import BIASING

    made = job.export(
        output, model=model, adapters=adapter or (), merge=merge, llm_only=llm_only, vllm=vllm
    )
    typer.echo(f"The {'LLM' if llm_only else 'model'} is in {made}")
    for path in filter(Path.is_file, (folder / BIASING for folder in adapter or ())):
        typer.echo(f"Not included: the biasing list of {path.parent}. Use --biasing-list {path}")
    if not llm_only:
        typer.echo(
            f"Transcribe with it:  asr-llm transcribe AUDIO --model {shlex.quote(str(made))}"
        )
