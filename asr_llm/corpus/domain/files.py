"""Readers of the files of a domain folder, which also report problems.

Readers never raise for a malformed line: they append a ``Problem``. ``Domain`` raises the first one
as a ``DomainError``; ``check`` lists them all.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from asr_llm.corpus.domain.patterns import pattern_problem
from asr_llm.corpus.terms.files import (
    MOST_TERMS,
    has_capitals,
    label_of,
    other_files,
    read_term_rows,
    term_files,
)
from asr_llm.corpus.text.lines import Line, Problem, read_lines, strictly
from asr_llm.errors import DomainError
from asr_llm.text_files import no_file_of
from asr_llm.yaml_lines import Strict

__all__ = [
    "SPLITS",
    "DomainConfig",
    "Line",
    "Problem",
    "SentenceCounts",
    "TemplatesConfig",
    "Term",
    "check_split",
    "find_folder",
    "is_there",
    "read_lines",
    "read_patterns",
    "read_terms",
    "read_text",
    "strictly",
    "text_path",
    "undeclared",
]

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Term:
    """A term as written and, optionally, its spoken form for the synthesiser."""

    text: str
    spoken: str | None
    label: str
    line: int = 0
    file: Path | None = field(default=None, compare=False)


class DomainConfig(Strict):
    """``domain.yaml``."""

    name: str = Field(min_length=1)
    """Short name, used for run folders and in reports."""
    language: str = "en"
    """ISO 639-1 code."""
    description: str = ""
    """One sentence on what is spoken about, and by whom."""
    licence: str = ""
    """Licence of the text and recordings."""
    labels: dict[str, str] = Field({})
    """Entity label (upper case) to one line on what it means."""
    convention: str = ""
    """One sentence on how text is written: casing, punctuation, numbers."""
    sources: list[str] = Field([])
    """Where the text and the terms come from."""
    voices: dict[Literal["train", "dev", "test"], list[str]] = Field({})
    """Voices for the unrecorded sentences of a split: names or patterns such as ``en-us+*``."""

    @field_validator("name")
    @classmethod
    def _name_names_a_folder(cls, name: str) -> str:
        if expected := expected_name(name):
            raise ValueError(expected)
        return name

    @field_validator("language")
    @classmethod
    def _language_is_a_code(cls, language: str) -> str:
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", language):
            raise ValueError("a language code such as en")
        return language

    @field_validator("labels")
    @classmethod
    def _labels_are_upper_case(cls, labels: dict[str, str]) -> dict[str, str]:
        for label in labels:
            if not re.fullmatch(r"[A-Z][A-Z0-9_]*", label):
                raise ValueError(f"labels in capitals such as DRUG or LATIN_TERM, not {label!r}")
        return labels


def expected_name(name: str) -> str | None:
    """What the name of a domain must be, if it is not: run folders are called by it."""
    if not name.strip() or not name.isprintable() or re.search(r"[/\\]|^\.", name):
        return "a name on one line, without slashes and no dot at its start"
    return "a name of at most 100 bytes" if len(name.encode()) > 100 else None


class SentenceCounts(Strict):
    """How many sentences to expand the templates of each split into."""

    train: int = Field(default=4000, ge=0, le=200_000)
    dev: int = Field(default=120, ge=0, le=200_000)
    test: int = Field(default=240, ge=0, le=200_000)


class TemplatesConfig(Strict):
    """``templates.yaml``."""

    seed: int = 1
    """Seed for choosing the words of each template."""
    sentences: SentenceCounts = SentenceCounts()
    fillers: dict[str, list[str]] = Field({})
    """Lower-case slots (not entities) and the words that fill them."""
    train: list[str] = Field([])
    dev: list[str] = Field([])
    test: list[str] = Field([])

    @field_validator("fillers")
    @classmethod
    def _fillers_are_lower_case(cls, fillers: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, words in fillers.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"filler names in lower case (capitals are labels), not {name!r}")
            if not words:
                raise ValueError(f"at least one word to fill {name!r} with")
        return fillers

    def templates(self, split: str) -> list[str]:
        """The templates of a split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]

    def count(self, split: str) -> int:
        """How many sentences they are expanded into."""
        counts = self.sentences
        return {"train": counts.train, "dev": counts.dev, "test": counts.test}[split]

    def split_seed(self, split: str) -> int:
        """The seed of a split, so that terms come in another order in each."""
        return self.seed + SPLITS.index(split)


def check_split(split: str) -> None:
    """Raise DomainError unless the name is one of ``SPLITS``."""
    if split not in SPLITS:
        raise DomainError(f"unknown split {split!r}; expected one of: {', '.join(SPLITS)}")


def find_folder(path: str | Path) -> Path:
    """``path`` if it looks like a domain folder; DomainError otherwise."""
    folder = Path(path)
    if not folder.is_dir():
        if folder.exists():
            raise DomainError(f"{folder}: found a file; expected a domain folder")
        raise DomainError(
            f"{folder}: not found; expected a domain folder. Make one with: asr-llm "
            f"domain init {folder}"
        )
    if not (folder / "domain.yaml").is_file():
        raise DomainError(
            f"{folder}: no domain.yaml in it; expected a domain folder. "
            "See one with: asr-llm domain init NEW_FOLDER"
        )
    if reason := no_file_of(folder, folder / "domain.yaml"):
        raise DomainError(f"{folder / 'domain.yaml'}: {reason}; put a copy of the file here")
    return folder


def text_path(folder: Path, split: str) -> Path:
    """Path of a split's sentences; train's is at the top of the folder."""
    return folder / "text.txt" if split == "train" else folder / split / "text.txt"


def is_there(folder: Path, path: Path, problems: list[Problem]) -> bool:
    """Whether a file can be read; a pipe or a link out of the folder is a problem."""
    if not os.path.lexists(path):
        return False
    if reason := no_file_of(folder, path):
        problems.append(Problem(str(path), None, "error", reason, "put a copy of the file here"))
    return reason is None


def read_text(path: Path, problems: list[Problem], folder: Path | None = None) -> list[Line]:
    """The sentences of a text, stripped; [] without the file.

    Args:
        folder: the domain folder of the file; links must not lead out of it.
    """
    if folder is not None and not is_there(folder, path, problems):
        return []
    if folder is None and not path.exists():
        return []
    lines = read_lines(path, problems)
    return [Line(" ".join(line.text.split()), line.file, line.number) for line in lines]


def undeclared(folder: Path, labels: Iterable[str]) -> list[Path]:
    """The term files of a folder whose label is not in ``labels``."""
    return [path for path in term_files(folder / "terms") if label_of(path) not in set(labels)]


def read_terms(folder: Path, labels: dict[str, str], problems: list[Problem]) -> list[Term]:
    """The terms of ``terms/<label>.tsv`` (``.csv``, ``.txt``) in the order of ``labels``."""
    files = term_files(folder / "terms")
    terms: list[Term] = []
    for path in sorted(files, key=lambda path: _rank(label_of(path), labels)):
        label = label_of(path)
        if wrong := _wrong_list(folder, path, labels):
            problems.append(Problem(str(path), None, "error", *wrong))
            continue
        rows = read_term_rows(path, problems)
        terms += [Term(row.text, row.spoken, label, row.line, path) for row in rows]
    for path in other_files(folder / "terms"):
        message = "not read: by its name not a list of terms"
        fix = "expected .tsv, .csv or .txt: save it as one, or remove it"
        problems.append(Problem(str(path), None, "warning", message, fix))
    return terms


def _wrong_list(folder: Path, path: Path, labels: dict[str, str]) -> tuple[str, str] | None:
    """Why a list is not read, and how to fix it."""
    label = label_of(path)
    if label not in labels:
        message, declare = (
            "no label for this file in domain.yaml",
            "declare the label under 'labels'",
        )
        if not labels:
            return message, f"{declare}: {label}: what it means"
        known = ", ".join(f"{name.lower()}.tsv" for name in labels)
        return f"{message}; expected: {known}", f"rename the file, or {declare}"
    if has_capitals(path):
        message = "a file name in capitals, which is another file elsewhere"
        return message, f"rename it to {label.lower()}.tsv"
    if reason := no_file_of(folder, path):
        return reason, "copy the list here"
    return None


def read_patterns(
    folder: Path, labels: dict[str, str], problems: list[Problem]
) -> list[dict[str, Any]]:
    """spaCy EntityRuler patterns of an ``entities.jsonl``; [] without the file."""
    path = folder / "entities.jsonl"
    if not is_there(folder, path, problems):
        return []
    patterns = []
    for line in read_lines(path, problems, MOST_TERMS):
        pattern, wrong = _pattern(line.text, labels)
        if wrong:
            fix = 'write {"label": "LABEL", "pattern": "text or list of token patterns"}'
            problems.append(Problem(str(path), line.number, "error", wrong, fix))
        else:
            patterns.append(pattern)
    return patterns


def _pattern(line: str, labels: dict[str, str]) -> tuple[Any, str | None]:
    """A pattern, and what is wrong with it."""
    try:
        pattern = json.loads(line)
    except json.JSONDecodeError as error:
        return None, f"not JSON (from column {error.colno} on)"
    except (ValueError, RecursionError):  # a number too long; nesting without end
        return None, "JSON with too long a number or too deep a nesting"
    if isinstance(pattern, dict) and (unknown := set(pattern) - {"label", "pattern", "id"}):
        return None, f"unknown key {min(unknown)!r}"
    if isinstance(pattern, dict) and (label := pattern.get("label")) not in [*labels]:
        meant = str(label).upper()
        hint = f": did you mean {meant!r}?" if meant in labels else ""
        return None, f"label {label!r} is not declared in domain.yaml{hint}"
    return pattern, pattern_problem(pattern)


def _rank(label: str, labels: dict[str, str]) -> int:
    return list(labels).index(label) if label in labels else len(labels)
