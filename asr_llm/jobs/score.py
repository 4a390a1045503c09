"""Scores the output of any recogniser: files of references and hypotheses in, `scores.json` out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asr_llm.corpus.terms.biasing_list import read_phrases
from asr_llm.errors import ScoreError, number_of
from asr_llm.evaluation.rows import few
from asr_llm.files import check_file, new_folder
from asr_llm.jobs.score_folder import write, write_report

if TYPE_CHECKING:
    from asr_llm.evaluation.entities import Mention
    from asr_llm.evaluation.readers import Row
    from asr_llm.evaluation.scores import Blocks, Scored
    from asr_llm.evaluation.words import Costs

BootstrapBy = Literal["auto", "speaker", "recording", "utterance"]


@dataclass(frozen=True)
class Options:
    """How to score; see ``asr-llm score --help``.

    Without a ``normalizer``, normalised figures use ``basic`` and the headline is raw; with one,
    the headline is normalised too.
    """

    entities: str | None = None
    biasing_list: Path | None = None
    normalizer: str | None = None
    equivalences: Path | None = None
    safety: bool = False
    speakers: bool = False
    sort: str | None = None
    against: str | None = None
    compare: tuple[str, str] | None = None
    costs: Costs = "unit"
    allow_missing: bool = False
    common: bool = False
    id_pattern: str | None = None
    bootstrap_by: BootstrapBy = "auto"
    seed: int = 0


def score_files(
    reference: str | Path,
    hypotheses: Mapping[str, str | Path],
    options: Options = Options(),
    output: str | Path | None = None,
    report: str | Path | None = None,
    report_text: bool = True,
) -> Scored:
    """Score hypotheses of one or several systems against a reference, joined by id.

    Args:
        reference: any format of ``evaluation.readers``; may include entities, speakers, recordings
            and biasing words.
        hypotheses: by system name; the first is the baseline.
        output: new or empty folder for ``scores.json`` and ``mentions.jsonl``.
        report: path of an HTML report, and whether it shows texts.

    Raises:
        ScoreError: a file is malformed, ids do not match, or entities cannot be found.
        RunError: ``output`` is not empty, or it or ``report`` cannot be written.
    """
    from asr_llm.evaluation.equivalences import Equivalences
    from asr_llm.evaluation.joining import join
    from asr_llm.evaluation.readers import read_references, unread
    from asr_llm.evaluation.scores import base_first, score
    from asr_llm.jobs.entity_finders import finder_of

    place = new_folder(output) if output is not None else None
    if report is not None:
        check_file(Path(report), "--report")
    warnings = [told for path in (reference, *hypotheses.values()) if (told := unread(path))]
    if told := _unread_lists(options.entities):
        warnings.append(told)
    speakers: dict[str, dict[str, Any]] = {}
    if options.speakers:
        rows, heard, speakers = _by_speaker(Path(reference), hypotheses, options)
    else:
        rows = read_references(reference)
        heard = {
            name: _read_hypotheses(Path(path), Path(reference), warnings)
            for name, path in hypotheses.items()
        }
    joined = join(
        rows,
        heard,
        id_pattern=options.id_pattern,
        common=options.common,
        allow_missing=options.allow_missing,
    )
    rows, systems = joined.rows, joined.systems
    warnings += joined.warnings
    finder = finder_of(options.entities) if options.entities is not None else None
    scored = score(
        references={i: row.text for i, row in rows.items()},
        systems=systems,
        finder=finder,
        mentions=_annotated(rows) if finder is None else None,
        normalizer=options.normalizer or "basic",
        costs=options.costs,
        biasing=_biasing(rows, options.biasing_list),
        alternatives={i: row.alternatives for i, row in rows.items() if row.alternatives},
        blocks=_blocks(rows, options.bootstrap_by),
        recordings=_recordings(rows),
        equivalences=Equivalences.read(options.equivalences, options.normalizer or "basic")
        if options.equivalences
        else None,
        safety=options.safety,
        headline="normalized" if options.normalizer not in (None, "none") else "raw",
        sort=options.sort,
        against=options.compare[0] if options.compare else options.against,
        seed=options.seed,
    )
    scored.scores["warnings"] += warnings
    for name, block in speakers.items():
        scored.scores["systems"][name]["speakers"] = block
    if place is not None:
        write(scored, place)
    if report is not None:
        from asr_llm.evaluation.report import Shown

        shown = Shown(
            title=f"{Path(reference).name}: {_title(base_first(systems))}",
            references={i: row.text for i, row in rows.items()},
            systems=systems,
            speakers={i: row.speaker or "" for i, row in rows.items()},
            text=report_text,
            pair=options.compare,
        )
        write_report(Path(report), scored, shown)
    return scored


def _annotated(rows: Mapping[str, Row]) -> dict[str, list[Mention]] | None:
    """The mentions annotated in the reference; ``None`` if there are none."""
    from asr_llm.evaluation.entities import Mention

    if all(row.entities is None for row in rows.values()):
        return None
    return {
        i: [Mention(e.start, e.end, e.label, row.text[e.start : e.end]) for e in row.entities or ()]
        for i, row in rows.items()
    }


def _unread_lists(entities: str | None) -> str | None:
    """Warn of files in a folder of terms that are not term lists."""
    from asr_llm.corpus.terms.files import other_files

    folder = Path(entities) if entities else None
    whole = ("domain.yaml", "config.cfg", "meta.json")  # a domain; a spaCy pipeline
    if folder is None or not folder.is_dir() or any((folder / name).exists() for name in whole):
        return None
    left = [path.name for path in other_files(folder)]
    return (
        f"{folder}: not read: {few(left, 'file')}; terms are .tsv and .csv, or .txt alone"
        if left
        else None
    )


def _title(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{len(names)} systems"


def _by_speaker(
    reference: Path, hypotheses: Mapping[str, str | Path], options: Options
) -> tuple[dict[str, Row], dict[str, dict[str, str]], dict[str, dict[str, Any]]]:
    """Rows per session and speaker, each system's text for them, and its cpWER."""
    from asr_llm.evaluation.speakers import attribute, read_segments, rows_of

    said = read_segments(reference)
    heard, blocks = {}, {}
    for name, path in hypotheses.items():
        heard[name], blocks[name] = attribute(
            reference=said,
            hypothesis=read_segments(Path(path)),
            normalizer=options.normalizer or "basic",
        )
    return rows_of(said), heard, blocks


def _read_hypotheses(path: Path, reference: Path, warnings: list[str]) -> dict[str, str]:
    from asr_llm.evaluation.readers import ctm_for_stm, read_hypotheses

    if path.suffix.lower() != ".ctm" or reference.suffix.lower() != ".stm":
        return read_hypotheses(path)
    placed = ctm_for_stm(path, reference)
    if placed.outside:
        warnings.append(
            f"{path}: {number_of(placed.outside, 'word')} outside any segment of {reference}"
        )
    return placed.texts


def _biasing(
    rows: Mapping[str, Row], listed: Path | None
) -> Mapping[str, Collection[str]] | Collection[str] | None:
    if listed is not None:
        return read_phrases(listed)
    if any(row.biasing_words is not None for row in rows.values()):
        return {i: row.biasing_words or () for i, row in rows.items()}
    return None


def _recordings(rows: Mapping[str, Row]) -> dict[str, str]:
    """The recording of each utterance; an utterance without one is its own."""
    return {i: row.recording or i for i, row in rows.items()}


def _blocks(rows: Mapping[str, Row], by: BootstrapBy) -> Blocks | None:
    """Speakers if all are known, else recordings; utterances if requested or nothing else is known.

    Raises:
        ScoreError: speakers or recordings are requested but not known for every utterance.
    """
    from asr_llm.evaluation.scores import Blocks

    of = {
        "speaker": {i: row.speaker for i, row in rows.items()},
        "recording": {i: row.recording for i, row in rows.items()},
    }
    if by == "auto":
        return Blocks.known(of)
    if by == "utterance":
        return Blocks({i: i for i in rows}, by)
    found = Blocks.known({by: of[by]})
    if found is None:
        raise ScoreError(
            f"no {by} for {few([i for i in rows if not of[by][i]])}; expected one "
            "for every utterance in the reference, or another --bootstrap-by"
        )
    return found
