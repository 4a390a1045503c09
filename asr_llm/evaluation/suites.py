"""Suites: a YAML file that names a file of rows, or such a file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from asr_llm.errors import ScoreError, SuiteError
from asr_llm.evaluation.rows import json_rows, read_text
from asr_llm.yaml_lines import parse_yaml

_Config = TypeVar("_Config", bound=BaseModel)


def read_config(path: Path, kind: type[_Config], rows: str) -> tuple[_Config, Path]:
    """A suite's settings, and the file of its rows.

    Args:
        path: the YAML file, or the file of rows itself, which the other settings' defaults go with.
        rows: the key that names the file of rows, such as ``questions``.

    Raises:
        SuiteError: a file is missing, or the YAML is malformed; the message names file and line.
    """
    if path.is_dir():
        raise SuiteError(
            f"{path}: found a folder; expected a file: a suite (.yaml) or {rows} (.jsonl)"
        )
    if not path.is_file():
        raise SuiteError(f"{path}: nothing there; expected a suite (.yaml) or {rows} (.jsonl)")
    if path.suffix not in (".yaml", ".yml"):
        return kind.model_validate({"name": path.stem, rows: path.name}), path
    config = parse_yaml(path, kind, SuiteError)
    source = path.parent / getattr(config, rows)
    if not source.is_file():
        raise SuiteError(f"{path}: {rows}: {source} is not there; expected JSON lines")
    return config, source


def read_rows(source: Path) -> Iterator[tuple[int, Any]]:
    """(line, or place in a list, and the row itself) of JSON lines or a JSON list.

    Raises:
        SuiteError: it cannot be read as such; the message names file and line.
    """
    try:
        yield from json_rows(read_text(source))
    except ScoreError as error:
        raise SuiteError(str(error)) from error
    except json.JSONDecodeError as error:
        raise SuiteError(
            f"{source}:{error.lineno}: not JSON (from column {error.colno} on); expected a "
            "list or JSON lines"
        ) from error
