"""The commands ``model list``, ``get``, ``remove`` and ``compose``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from asr_llm.cli.console import models_text, size, to_json
from asr_llm.cli.options import AsJson

model_app = typer.Typer(
    help="List, fetch and remove models; compose a new one from an encoder and an LLM.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="A name from 'asr-llm model list'.", metavar="NAME")]


@model_app.command("list")
def model_list(as_json: AsJson = False) -> None:
    """List the named models, where they are stored, and their licences."""
    from asr_llm.model import store

    found = store.entries()
    typer.echo(to_json(found) if as_json else models_text(found))


@model_app.command("get")
def model_get(name: Name = "small") -> None:
    """Download a model's foundations, once, and compose it in the cache."""
    from asr_llm.model import store

    typer.echo(store.get(name))


@model_app.command("remove")
def model_remove(name: Name) -> None:
    """Delete a composed model from the cache; it can be composed again."""
    from asr_llm.model import store

    typer.echo(f"deleted {name}: {size(store.remove(name))}")


@model_app.command("compose")
def model_compose(
    output: Annotated[Path, typer.Option("-o", "--output", help="A new or empty folder.")],
    encoder: Annotated[
        str,
        typer.Option(
            help="Whisper encoder: 'small', a folder, or a hub name like openai/whisper-small."
        ),
    ] = "small",
    llm: Annotated[
        str,
        typer.Option(help="LLM: 'small', a folder, or a hub name like Qwen/Qwen2.5-0.5B-Instruct."),
    ] = "small",
    width: Annotated[
        int, typer.Option("--projector-width", min=1, help="Width of the projector's hidden layer.")
    ] = 1024,
    ctc_vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="tokenizer.json of at most 1,000 pieces for a CTC head, whose posteriors "
            "then feed the projector."
        ),
    ] = None,
    first_pass: Annotated[
        bool,
        typer.Option(
            "--first-pass",
            help="Include Whisper's decoder, whose transcript the LLM sees with the speech.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the projector's random weights.")] = 0,
) -> None:
    """Compose an untrained model from a Whisper encoder and an LLM, for 'asr-llm pretrain'."""
    from asr_llm.files import new_folder
    from asr_llm.model.composition import FreshProjector, compose_from

    folder = new_folder(output)
    projector = FreshProjector(seed, width, ctc_vocabulary)
    compose_from(encoder, llm, folder, projector, first_pass)
    typer.echo(f"The untrained model is in {output}")
    typer.echo(
        f"Train it with a recipe that says 'model: {shlex.quote(str(output))}':  "
        "asr-llm pretrain RECIPE"
    )
