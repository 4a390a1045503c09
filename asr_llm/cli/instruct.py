"""The command ``instruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.bar import Bar
from asr_llm.cli.console import print_warnings, to_json
from asr_llm.cli.options import Adapter, AsJson, Cascade, Model, Output
from asr_llm.cli.tables import print_instructions


def instruct(
    suite: Annotated[
        Path,
        typer.Argument(help="Suite in YAML, or instructions (.jsonl).", metavar="SUITE"),
    ],
    model: Model = defaults.MODEL,
    adapter: Adapter = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME",
            help="standard, noisy, accented, disfluent or corrected; repeatable. Default: the "
            "suite's.",
        ),
    ] = None,
    cascade: Cascade = False,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Give the same instructions as text and as speech, check what is done, and measure the gap.

    An instruction is a JSON object with prompt, instruction_id_list and kwargs, as in IFEval and
    SpeechInstructBench, and optionally key, audio_path (a recording of the prompt) and superseded
    (a prompt that it corrects). A suite in YAML sets how they are put: name, instructions (the
    file), variants (standard, noisy, accented, disfluent, corrected), voices, accents, snr.
    """
    from asr_llm.jobs import instruct as job

    options = job.InstructOptions(tuple(variant or ()), bool(cascade))
    with Bar() as progress:
        done = job.instruct(
            suite,
            model=model,
            adapter=adapter,
            output=output,
            options=options,
            progress=progress,
        )
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_instructions(done.scores)
        print_warnings(done.scores)
