"""What finds the words that matter, from a path or a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.rows import read_lines

_EXAMPLE = '{"label": "DRUG", "pattern": "metoprolol"}'


def finder_of(entities: str) -> EntityFinder:
    """From EntityRuler patterns, a terms file or folder, a domain folder, or spaCy's pipeline.

    Raises:
        ScoreError: nothing is there, a file is malformed, or the pipeline is not installed.
        DomainError: the domain folder is malformed.
    """
    path = Path(entities)
    if not path.exists():
        if "/" in entities or path.suffix:
            raise ScoreError(
                f"{entities}: nothing there; expected patterns (.jsonl), terms (.tsv, or a folder "
                "of them), a domain folder, or the name of a spaCy pipeline"
            )
        return EntityFinder.of_pipeline(entities)
    if (path / "domain.yaml").is_file():
        from asr_llm.corpus.domain import Domain

        return EntityFinder(Domain.load(path).patterns())
    if path.suffix == ".jsonl":
        patterns = [_pattern(place, line) for place, line in read_lines(path)]
        if not patterns:
            raise ScoreError(f"{path}: no patterns; expected one on each line: {_EXAMPLE}")
        try:
            return EntityFinder(patterns)
        except ScoreError as error:
            raise ScoreError(f"{path}: {error}") from error
    if path.is_file() and path.suffix not in (".tsv", ".txt"):
        raise ScoreError(
            f"{path}: found no known suffix; expected patterns (.jsonl), or terms (.tsv, .txt)"
        )
    files = sorted(path.glob("*.tsv")) if path.is_dir() else [path]
    terms = [
        {"label": file.stem.upper(), "pattern": line.split("\t")[0].strip()}
        for file in files
        for _, line in read_lines(file)
        if not line.startswith("#")
    ]
    if not terms:
        raise ScoreError(f"{path}: no terms; expected a term on each line of <label>.tsv")
    return EntityFinder(terms)


def _pattern(place: str, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ScoreError(f"{place}: not JSON; expected {_EXAMPLE}") from error
