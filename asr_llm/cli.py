"""The command line. Each command parses, makes one library call and prints; nothing else prints.

Only what ``--help`` needs is imported at the top.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from asr_llm import __version__
from asr_llm.console import (
    Bar,
    diagnosis_text,
    print_answers,
    print_scores,
    report_text,
    size,
    terms_text,
    to_json,
)
from asr_llm.errors import AsrLlmError, DomainError

_RESUMABLE = ("adapt", "pretrain")
_OF_DOMAINS = ("adapt", "evaluate")


class _Commands(TyperGroup):
    """The commands; what the user can mend becomes one or two lines on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (AsrLlmError, KeyboardInterrupt, OSError) as error:
            if _is_pipe(error) or ctx.params.get("debug"):
                raise
            message, status = explain(error, ctx.invoked_subcommand)
            typer.echo(message, err=True)
            raise typer.Exit(status) from error


app = typer.Typer(
    cls=_Commands,
    help="Teach a speech-LLM recogniser the words of a domain, and measure what it learned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
domain_app = typer.Typer(help="Make and check domain folders.", no_args_is_help=True)
cache_app = typer.Typer(help="Look at and empty the cache of spoken text.", no_args_is_help=True)
app.add_typer(domain_app, name="domain")
app.add_typer(cache_app, name="cache")

Model = Annotated[
    str, typer.Option("--model", help="'mini', a checkpoint folder, or a name on the hub.")
]
Adapter = Annotated[
    Path | None, typer.Option("--adapter", help="An adapter folder, such as runs/NAME/adapter.")
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


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"asr-llm {__version__}")
        raise typer.Exit()


@app.callback()
def setup(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Tracebacks and the libraries' own notices.")
    ] = False,
) -> None:
    if not debug:
        silence_libraries()


def silence_libraries() -> None:
    """Keep notices of NeMo, Lightning and others off the terminal; before they are imported."""
    logging.disable(logging.WARNING)  # they set the levels of their own loggers at import
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for worker processes
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def mute_c_libraries() -> None:
    """Send what C libraries write to stderr (mp3 decoders do) nowhere; Python's goes on."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(kept, "w", buffering=1, errors="backslashreplace")


@app.command()
def transcribe(
    audio: Annotated[list[Path], typer.Argument(help="wav, flac, mp3, ogg, …", metavar="AUDIO...")],
    model: Model = "mini",
    adapter: Adapter = None,
    output_format: Annotated[
        str, typer.Option("-f", "--output-format", help="txt or json.")
    ] = "txt",
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
        results = jobs.transcribe(audio, model=model, adapter=adapter, progress=progress)
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


@app.command()
def adapt(
    domain: Annotated[Path, typer.Argument(help="A domain folder.", metavar="DOMAIN")],
    recipe: Annotated[
        Path | None, typer.Option(help="YAML; default: text only, as in adapt/text.yaml.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="'mini', a checkpoint folder or a hub name.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("-o", "--run", help="Run folder; default: runs/NAME.")
    ] = None,
    resume: Resume = False,
    general: General = None,
    seed: Annotated[int | None, typer.Option(help="In place of the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
    no_audio: NoAudio = False,
    no_text: NoText = False,
) -> None:
    """Adapt a model to a domain, and measure base and adapted on its test set."""
    from asr_llm import jobs
    from asr_llm.recipe import Recipe

    if resume and run is not None and not (run / "recipe.yaml").is_file():
        typer.echo(f"no run in {run} yet: starting one", err=True)
    with Bar() as progress:
        done = jobs.adapt(
            domain,
            Recipe.load(recipe) if recipe else None,
            model=model,
            seed=seed,
            steps=steps,
            run=run,
            resume=resume,
            general=general,
            report_audio=not no_audio,
            report_text=not no_text,
            progress=progress,
        )
    for note in done.notes:
        typer.echo(note, err=True)
    if done.scores is not None:
        print_scores(done.scores)
        typer.echo(f"The report is in {done.run / jobs.REPORT}")
    else:
        typer.echo(f"{domain} has no test set, so nothing was measured; add test/text.txt")
    if done.adapter is not None:
        how = f"--adapter {shlex.quote(str(done.adapter))}"
        if done.model != "mini":
            how = f"--model {shlex.quote(done.model)} {how}"
        typer.echo(f"The adapter is in {done.adapter}")
    else:
        how = f"--model {shlex.quote(str(done.trained_model))}"
        typer.echo(f"The model is in {done.trained_model}")
    typer.echo(f"Transcribe with it:  asr-llm transcribe AUDIO {how}")
    typer.echo(f"Evaluate again:      asr-llm evaluate {shlex.quote(str(domain))} {how}")


@app.command()
def pretrain(
    recipe: Annotated[Path, typer.Argument(help="YAML.", metavar="RECIPE")],
    run: Annotated[
        Path | None, typer.Option("-o", "--run", help="Run folder; default: runs/NAME.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Carry out a training recipe that needs no domain folder."""
    from asr_llm import jobs
    from asr_llm.recipe import Recipe

    done = jobs.pretrain(Recipe.load(recipe), run=run, resume=resume, progress=sys.stderr.isatty())
    if done.stopped is not None:
        typer.echo(jobs.stopped_note(done.stopped), err=True)
    typer.echo(f"The model is in {done.model or done.adapter}")


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Argument(help="A domain folder, or a manifest.", metavar="DOMAIN|MANIFEST")
    ],
    model: Model = "mini",
    adapter: Adapter = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Adapter to compare with, in place of the model alone.")
    ] = None,
    general: General = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for hypotheses and scores.json.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML report; default with -o: report.html in there.")
    ] = None,
    no_audio: NoAudio = False,
    no_text: NoText = False,
    max_general_wer_increase: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Points; exit status 4 where general WER rises by more (for CI)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model, and an adapter beside it, on a test set."""
    from asr_llm import jobs

    if max_general_wer_increase is not None and adapter is None:
        raise AsrLlmError("--max-general-wer-increase compares an adapter: give --adapter too")

    with Bar() as progress:
        done = jobs.evaluate(
            data,
            model=model,
            adapter=adapter,
            baseline=baseline,
            general=general,
            output=output,
            report=report,
            report_audio=not no_audio,
            report_text=not no_text,
            progress=progress,
        )
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_scores(done.scores)
    if max_general_wer_increase is not None:
        from asr_llm.evaluation.scores import general_wer_increase

        rise = 100 * general_wer_increase(done.scores)
        if rise > max_general_wer_increase:
            typer.echo(
                f"general WER rose by {rise:.1f} points; allowed are {max_general_wer_increase:g}",
                err=True,
            )
            raise typer.Exit(4)


@app.command()
def score(
    reference: Annotated[Path, typer.Option("--reference", help="What was said.")],
    hypothesis: Annotated[
        list[str],
        typer.Option(
            "--hypothesis",
            metavar="[NAME=]FILE",
            help="What a system wrote; several times to compare systems with the first.",
        ),
    ],
    entities: Annotated[
        str | None,
        typer.Option(
            help="Words that matter: EntityRuler patterns (.jsonl), terms (.tsv or a folder), a "
            "domain folder, or an installed spaCy pipeline. Default: what the reference marks."
        ),
    ] = None,
    biasing_list: Annotated[
        Path | None, typer.Option(help="A word a line, by which WER is split into U- and B-WER.")
    ] = None,
    normalizer: Annotated[
        str, typer.Option(help="Of the normalised figures: basic, whisper-en, medical-en or none.")
    ] = "basic",
    alignment: Annotated[
        Literal["unit", "sclite"], typer.Option(help="Costs 1, 1, 1 or sclite's 4, 3, 3.")
    ] = "unit",
    bootstrap_by: Annotated[
        Literal["auto", "speaker", "recording", "utterance"],
        typer.Option(help="What is drawn as one; auto: speakers where known, else recordings."),
    ] = "auto",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Count a missing hypothesis as nothing heard.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder: scores.json, mentions.jsonl.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    no_text: NoText = False,
    as_json: AsJson = False,
) -> None:
    """Score what any recogniser wrote: words, and the entities that matter."""
    from asr_llm.scoring import Options, score_files

    options = Options(
        entities=entities,
        biasing_list=biasing_list,
        normalizer=normalizer,
        costs=alignment,
        allow_missing=allow_missing,
        bootstrap_by=bootstrap_by,
    )
    done = score_files(
        reference, _named(hypothesis), options, output, report=report, report_text=not no_text
    )
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_scores(done.scores)
        for made in (output, report):
            if made is not None:
                typer.echo(f"Written: {made}")


def _named(hypotheses: list[str]) -> dict[str, str]:
    """NAME=FILE by name; a file without a name is called by its own."""
    found: dict[str, str] = {}
    for given in hypotheses:
        name, equals, path = given.partition("=")
        if not equals or not name or Path(given).exists():
            name, path = Path(given).stem, given
        if name in found:
            raise AsrLlmError(
                f"two hypotheses are called {name!r}; expected a name for each: "
                "--hypothesis NAME=FILE"
            )
        found[name] = path
    return found


@app.command()
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


@app.command()
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


@app.command()
def qa(
    suite: Annotated[Path, typer.Argument(help="YAML, or questions (.jsonl).", metavar="SUITE")],
    model: Model = "mini",
    adapter: Adapter = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for answers.jsonl, scores.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the same questions as text and as speech, and measure the gap."""
    from asr_llm import asking

    with Bar() as progress:
        done = asking.qa(suite, model=model, adapter=adapter, output=output, progress=progress)
    if as_json:
        typer.echo(to_json(done.scores))
    else:
        print_answers(done.scores)


@domain_app.command("init")
def domain_init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    name: Annotated[str | None, typer.Option(help="Default: the folder's own.")] = None,
) -> None:
    """Write a small example folder, to be edited into a domain of your own."""
    from asr_llm.corpus.domain import create

    made = shlex.quote(str(create(folder, name)))
    typer.echo(f"Wrote {folder}. Edit its files, then:\n  asr-llm domain check {made}")
    typer.echo(f"  asr-llm adapt {made}")


@domain_app.command("check")
def domain_check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")], as_json: AsJson = False
) -> None:
    """Say what a domain folder holds, and all that is wrong with it. Exit status 1: errors."""
    from asr_llm.corpus.domain import check

    report = check(folder)
    typer.echo(to_json(report) if as_json else report_text(report))
    if report.errors:
        raise typer.Exit(1)


@app.command()
def terms(
    text: Annotated[
        list[Path], typer.Argument(help="Text files or domain folders.", metavar="TEXT...")
    ],
    model: Model = "mini",
    against: Annotated[
        list[Path] | None,
        typer.Option(help="More general text, whose words are no terms; may be repeated."),
    ] = None,
    least: Annotated[int, typer.Option(min=1, help="Only what the text has this often.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Propose the terms of a text, the likeliest first, for you to edit. Nothing is written."""
    from asr_llm.corpus.terms import propose_from_files
    from asr_llm.model import checkpoints

    replay = checkpoints.locate(model) / "replay"
    general = [*([replay] if replay.is_dir() else []), *(against or [])]
    found = propose_from_files(text, general, least)[:limit]
    typer.echo(to_json(found) if as_json else terms_text(found))


@app.command()
def doctor(
    voices: Annotated[bool, typer.Option("--voices", help="List espeak-ng's voices.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what is missing, and what that costs you."""
    if voices:
        from asr_llm.corpus.synthesis import espeak_voices

        names = espeak_voices()
        typer.echo(to_json(names) if as_json else "\n".join(names))
        return
    from asr_llm.doctor import diagnose

    found = diagnose()
    typer.echo(to_json(found) if as_json else diagnosis_text(found))


@cache_app.command("list")
def cache_list() -> None:
    """What the cache holds, by kind."""
    from asr_llm.corpus import cache

    for entry in cache.entries():
        typer.echo(f"{entry.kind}\t{entry.count} files\t{size(entry.bytes)}")
    typer.echo(f"in {cache.location()}")


@cache_app.command("clear")
def cache_clear(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind; default: all that can be made again.")
    ] = None,
) -> None:
    """Empty the cache."""
    from asr_llm.corpus import cache

    for entry in cache.clear(kind):
        typer.echo(f"deleted {entry.kind}: {entry.count} files, {size(entry.bytes)}")


def main() -> None:
    """Entry point of the command ``asr-llm``."""
    # Read when torch is loaded: threads that wait for work leave the cores to others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "--debug" not in sys.argv:
        mute_c_libraries()
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


def explain(error: BaseException, command: str | None) -> tuple[str, int]:
    """What to tell the user, and the exit status."""
    again = shlex.join(["asr-llm", *sys.argv[1:]])
    resume = again if "--resume" in sys.argv else f"{again} --resume"
    if isinstance(error, KeyboardInterrupt):
        rest = f"; go on with: {resume}" if command in _RESUMABLE else ""
        return f"interrupted{rest}", 130
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        what = f"error: {error.strerror or error}{where}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what += f"; make room, then run: {resume if command in _RESUMABLE else again}"
        return what, 2
    more = ""
    if (
        isinstance(error, DomainError)
        and command in _OF_DOMAINS
        and "domain check" not in str(error)
    ):
        more = "\nAll that is wrong with a domain folder:  asr-llm domain check FOLDER"
    return f"error: {error}{more}", 2


if __name__ == "__main__":
    main()
