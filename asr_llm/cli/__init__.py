"""The command line. Each command parses, makes one library call and prints; nothing else prints.

This file has the app, the order of its commands and error reporting; each command has its own file.

Only what ``--help`` needs is imported at the top.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import shlex
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from asr_llm.cli.adapt import adapt
from asr_llm.cli.align import align
from asr_llm.cli.ask import ask
from asr_llm.cli.cache import cache_app
from asr_llm.cli.corpus import corpus_app
from asr_llm.cli.doctor import doctor
from asr_llm.cli.domain import domain_app
from asr_llm.cli.evaluate import evaluate
from asr_llm.cli.export import export
from asr_llm.cli.instruct import instruct
from asr_llm.cli.model import model_app
from asr_llm.cli.pretrain import pretrain
from asr_llm.cli.qa import qa
from asr_llm.cli.score import score
from asr_llm.cli.serve import serve
from asr_llm.cli.terms import terms
from asr_llm.cli.transcribe import transcribe
from asr_llm.errors import AsrLlmError, DomainError, Interrupted
from asr_llm.version import __version__

_SPINS = "4000"
"""How long OpenMP's threads wait for each other without sleeping. By default they wait so long that
one other busy process makes decoding ten times slower (eval/RESULTS.md#on-a-busy-machine)."""

_RESUMABLE = ("adapt", "pretrain")
_OF_DOMAINS = ("adapt", "evaluate")


class _Commands(TyperGroup):
    """The command group; user errors become one or two lines on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _plain(error)
            raise
        except (AsrLlmError, KeyboardInterrupt, OSError) as error:
            if _is_pipe(error) or ctx.params.get("debug"):
                raise
            message, status = explain(error, ctx.invoked_subcommand)
            typer.echo(message, err=True)
            raise typer.Exit(status) from error


app = typer.Typer(
    cls=_Commands,
    help="Adapt a speech-LLM recogniser to a domain's vocabulary, and measure the gain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# In the order of --help.
_COMMANDS = (
    transcribe, serve, adapt, pretrain, evaluate, score, align, ask, qa, instruct, terms,
    export, doctor,
)  # fmt: skip
for command in _COMMANDS:
    app.command()(command)
app.add_typer(domain_app, name="domain")
app.add_typer(corpus_app, name="corpus")
app.add_typer(model_app, name="model")
app.add_typer(cache_app, name="cache")


def _plain(error: typer.BadParameter) -> str:
    """What is wrong with a value: Typer leaves the message to pydantic."""
    cause = error.__cause__ or error.__context__
    items = cause.errors() if isinstance(cause, ValueError) and hasattr(cause, "errors") else []
    if items and items[0]["type"] != "value_error":
        from asr_llm.yaml_lines import unfit

        return unfit(items[0])
    return error.message.removeprefix("Value error, ")


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"asr-llm {__version__}")
        raise typer.Exit()


@app.callback()
def setup(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and the libraries' own warnings.")
    ] = False,
) -> None:
    if ctx.invoked_subcommand in _RESUMABLE:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not debug:
        silence_libraries()


def silence_libraries() -> None:
    """Suppress notices of NeMo, Lightning and others; call before importing them."""
    logging.disable(logging.WARNING)  # they set the levels of their own loggers at import
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for worker processes
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def mute_c_libraries() -> None:
    """Discard what C libraries write to stderr (mp3 decoders do), but not Python's output."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(kept, "w", buffering=1, errors="backslashreplace")


def main() -> None:
    """Entry point of the command ``asr-llm``."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read when torch is loaded
    if "--debug" not in sys.argv:
        mute_c_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may contain any bytes
    try:
        app(prog_name="asr-llm")
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        text = f"{type(error).__name__}: {error}"
        sys.exit(f"error: unexpected {text}\nSee where with: asr-llm --debug …, and report it")


# Errors ----------------------------------------------------------------------------------


def _is_pipe(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _kept(stopped: KeyboardInterrupt, resume: str) -> str:
    """What is kept of a run that the user stopped, and how to go on."""
    if isinstance(stopped, Interrupted):
        if stopped.kept is None:
            return " before the first step was done; nothing was kept"
        return f"; kept: {stopped.kept}; continue with: {resume}"
    if "--resume" in sys.argv:  # a run from before is as it was
        return f"; continue with: {resume}"
    return " before training began; nothing was kept"


def explain(error: BaseException, command: str | None) -> tuple[str, int]:
    """The message for the user, and the exit status."""
    again = shlex.join(["asr-llm", *sys.argv[1:]])
    resume = again if "--resume" in sys.argv else f"{again} --resume"
    if isinstance(error, KeyboardInterrupt):
        rest = ""
        if command in _RESUMABLE:
            rest = _kept(error, resume)
        if command == "transcribe" and any(a.startswith(("-o", "--output-d")) for a in sys.argv):
            rest = f"; continue with: {again}"  # finished files in the folder are not repeated
        return f"interrupted{rest}", 130
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        what = f"error: {error.strerror or error}{where}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what += f"; make room, then run: {resume if command in _RESUMABLE else again}"
        elif isinstance(error, PermissionError) and where:  # of a file, not of a port
            what += "; choose a place that you may read and write, or change its permissions"
        return what, 2
    return f"error: {error}{_more_of(error, command)}", 2


def _more_of(error: BaseException, command: str | None) -> str:
    """How to see everything that is wrong with the domain folder of the command line."""
    if not isinstance(error, DomainError) or command not in _OF_DOMAINS:
        return ""
    given = [Path(one) for one in sys.argv[2:] if (Path(one) / "domain.yaml").is_file()]
    folder = next((str(one) for one in given if f"{one}/" in str(error)), None)
    if folder is None or "domain check" in str(error) or str(error).startswith("--general"):
        return ""
    return f"\nEverything that is wrong with it:  asr-llm domain check {shlex.quote(folder)}"
