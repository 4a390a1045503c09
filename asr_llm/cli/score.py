"""The command ``score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from asr_llm.cli.console import print_pair, print_warnings, to_json
from asr_llm.cli.options import AsJson, NoText, tell_written
from asr_llm.errors import AsrLlmError

Format = Literal["txt", "md", "csv", "json", "html"]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="A B", help="Compare system B with system A, metric by metric."),
]
Against = Annotated[
    str | None,
    typer.Option(metavar="NAME|best", help="Compare every other system with this one."),
]


def score(
    reference: Annotated[Path, typer.Option("--reference", help="Reference transcripts.")],
    hypothesis: Annotated[
        list[str],
        typer.Option(
            "--hypothesis",
            metavar="[NAME=]FILE",
            help="Output of a system; repeat to rank several systems.",
        ),
    ],
    entities: Annotated[
        str | None,
        typer.Option(
            help="Entities to score: EntityRuler patterns (.jsonl), terms (.tsv, .csv, or a "
            "folder), a domain folder, or a spaCy pipeline (its name or folder). "
            "Default: those marked in the reference."
        ),
    ] = None,
    biasing_list: Annotated[
        Path | None,
        typer.Option(help="Phrases that split WER into U-WER and B-WER, one per line."),
    ] = None,
    normalizer: Annotated[
        str | None,
        typer.Option(
            help="basic, whisper-en, medical-en or none; applies to the headline figures. "
            "Default: basic for WER, none for terms."
        ),
    ] = None,
    equivalences: Annotated[
        Path | None,
        typer.Option(
            help="Variants to accept in normalised figures: a TSV (one set of variants per "
            "line) or an sclite .glm."
        ),
    ] = None,
    safety: Annotated[
        bool,
        typer.Option(
            "--safety",
            help="Count lost or reversed negations, sides (left/right), amounts and dose "
            "changes (English).",
        ),
    ] = False,
    speakers: Annotated[
        bool,
        typer.Option(
            "--speakers",
            help="Report cpWER, tcpWER and terms per speaker; needs STM or SegLST (.json) "
            "files and meeteval.",
        ),
    ] = False,
    alignment: Annotated[
        Literal["unit", "sclite", "jiwer"],
        typer.Option(
            help="Costs 1, 1, 1 (of ties, the most hits), sclite's 4, 3, 3, or as jiwer aligns."
        ),
    ] = "unit",
    bootstrap_by: Annotated[
        Literal["auto", "speaker", "recording", "utterance"],
        typer.Option(help="Unit of resampling; auto: speakers if known, else recordings."),
    ] = "auto",
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIGURE",
            help="Rank by wer, cer, eer, term-wer, mean-wer or safety; with -raw as written; "
            "eer:LABEL, term-wer:LABEL. Default: eer, or wer without terms.",
        ),
    ] = None,
    compare: Compare = None,
    against: Against = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score a missing hypothesis as empty.")
    ] = False,
    common: Annotated[
        bool, typer.Option("--common", help="Score only utterances that every system has.")
    ] = False,
    id_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression that extracts the id (group 1, or the whole match)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder: scores.json, mentions.jsonl, recordings.csv."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    form: Annotated[
        Format,
        typer.Option("-f", "--format", help="Format of the leaderboard on stdout."),
    ] = "txt",
    no_text: NoText = False,
    as_json: AsJson = False,
) -> None:
    """Score the output of any recogniser: word and entity error rates."""
    from asr_llm.jobs.score import Options, score_files

    named = _named(hypothesis)
    _check_compared(compare, against, named)
    options = Options(
        entities=entities,
        biasing_list=biasing_list,
        normalizer=normalizer,
        equivalences=equivalences,
        safety=safety,
        speakers=speakers,
        costs=alignment,
        allow_missing=allow_missing,
        common=common,
        id_pattern=id_pattern,
        bootstrap_by=bootstrap_by,
        sort=sort,
        against=against,
        compare=compare,
    )
    done = score_files(reference, named, options, output, report=report, report_text=not no_text)
    if as_json:
        typer.echo(to_json(done.scores))
        return
    _show(done.scores, form, compare, against)
    print_warnings(done.scores)
    if form == "txt":
        tell_written(output, report)


def _show(
    scores: dict[str, Any], form: Format, compare: tuple[str, str] | None, against: str | None
) -> None:
    """Print one system's figures, or the leaderboard of several with the requested comparisons."""
    from asr_llm.evaluation.comparison import compared_in
    from asr_llm.evaluation.leaderboard import write

    names = list(scores["systems"])
    if form != "txt":
        typer.echo(write(scores, form, against=against is not None, pair=compare), nl=False)
        return
    as_pair = compare is not None or len(names) <= 2
    if names[1:]:
        typer.echo(write(scores, form, against=against is not None and not as_pair), nl=False)
    if as_pair:
        print_pair(scores, list(compare or compared_in(scores)))


def _check_compared(
    compare: tuple[str, str] | None, against: str | None, named: dict[str, str]
) -> None:
    if compare and against:
        raise AsrLlmError("--compare and --against exclude each other; give one")
    if (compare or against) and len(named) < 2:
        option = "--compare" if compare else "--against"
        raise AsrLlmError(
            f"{option} compares systems, and there is one; expected --hypothesis twice or more"
        )
    for name in compare or ():
        if name not in named:
            raise AsrLlmError(
                f"--compare: no system is called {name!r}; expected two of: {', '.join(named)}"
            )
    if compare and compare[0] == compare[1]:
        raise AsrLlmError(f"--compare: {compare[0]} twice; expected two of: {', '.join(named)}")


def _named(hypotheses: list[str]) -> dict[str, str]:
    """Parse NAME=FILE; a file without a name is named after itself."""
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
