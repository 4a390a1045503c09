"""Creates entity finders from a path or name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr_llm.corpus.domain.patterns import EXAMPLE, pattern_problem
from asr_llm.corpus.terms.files import LIST_SUFFIXES, label_of, read_term_rows, term_files
from asr_llm.corpus.text.lines import Line, Problem, read_lines
from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.text_files import is_pipe


def finder_of(entities: str) -> EntityFinder:
    """From EntityRuler patterns, a terms file or folder, a domain folder, or a spaCy pipeline.

    A pipeline is the name of an installed one, or the folder of a saved one.

    Raises:
        ScoreError: nothing is there, a file is malformed, or the pipeline is not installed.
        DomainError: the domain folder is malformed.
    """
    path = Path(entities)
    if not path.exists():
        if "/" in entities or path.suffix:
            raise ScoreError(
                f"{entities}: not found; expected patterns (.jsonl), terms (.tsv, or a "
                "folder of them), a domain folder, or the name or folder of a spaCy "
                "pipeline"
            )
        return EntityFinder.of_pipeline(entities)
    if (path / "domain.yaml").is_file():
        from asr_llm.corpus.domain.folder import Domain

        return EntityFinder(Domain.load(path).patterns())
    if pipeline := _pipeline_in(path):
        return _of_folder(pipeline)
    problems: list[Problem] = []
    if path.suffix == ".jsonl":
        patterns = [_pattern(line) for line in read_lines(path, problems)]
        _refuse(problems)
        if not patterns:
            raise ScoreError(f"{path}: no patterns; expected one on each line: {EXAMPLE}")
        try:
            return EntityFinder(patterns)
        except ScoreError as error:
            raise ScoreError(f"{path}: {error}") from error
    if path.is_file() and path.suffix.lower() not in LIST_SUFFIXES:
        raise ScoreError(
            f"{path}: found no known suffix; expected patterns (.jsonl), or terms (.tsv, .csv, "
            ".txt)"
        )
    terms = [
        {"label": "TERM" if is_pipe(file) else label_of(file), "pattern": row.text}
        for file in (term_files(path) if path.is_dir() else [path])
        for row in read_term_rows(file, problems)
    ]
    _refuse(problems)
    if not terms:
        raise ScoreError(f"{path}: no terms; expected a term on each line of <label>.tsv")
    return EntityFinder(terms)


def _pipeline_in(path: Path) -> Path | None:
    """The folder of a saved spaCy pipeline: this one, or one inside its package."""
    places = [path, *sorted(path.glob("*/"))] if path.is_dir() else []
    return next((p for p in places if (p / "config.cfg").is_file()), None)


def _of_folder(path: Path) -> EntityFinder:
    try:
        return EntityFinder.of_pipeline(str(path))
    except ScoreError:
        raise
    except Exception as error:  # damaged or foreign pipelines can raise anything
        reason = " ".join(str(error).split())[:200]
        raise ScoreError(
            f"{path}: not a pipeline that this spaCy loads ({reason}); save it again with the "
            "installed version, or install what it names"
        ) from error


def _pattern(line: Line) -> Any:
    """Validate a pattern with spaCy.

    Raises:
        ScoreError: it is invalid; the message names file and line.
    """
    place = f"{line.file}:{line.number}"
    try:
        pattern = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        raise ScoreError(f"{place}: not JSON; expected {EXAMPLE}") from error
    if wrong := pattern_problem(pattern):
        raise ScoreError(f"{place}: {wrong}; expected for instance {EXAMPLE}")
    return pattern


def _refuse(problems: list[Problem]) -> None:
    for problem in problems:
        raise ScoreError(str(problem))
