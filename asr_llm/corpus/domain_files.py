"""The files of a domain folder, each read by one function which also says what is wrong.

Readers never raise for a malformed line: they append a ``Problem``. ``Domain``
raises the first one as a ``DomainError``; ``check`` lists them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from asr_llm.errors import DomainError

T = TypeVar("T")

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a domain folder: where, how bad, what, and how to mend it."""

    file: str
    line: int | None
    severity: Literal["error", "warning"]
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Line:
    """A sentence and where it stands; ``number`` counts from 1."""

    text: str
    file: Path
    number: int


@dataclass(frozen=True)
class Term:
    """A term of the domain as it is written and, where given, as a synthesiser should read it."""

    text: str
    spoken: str | None
    label: str
    line: int = 0


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DomainConfig(_Model):
    """``domain.yaml``."""

    name: str = Field(min_length=1)
    """Short name, used for run folders and in reports."""
    language: str = "en"
    """ISO 639-1 code."""
    description: str = ""
    """One sentence on what is spoken about, and by whom."""
    licence: str = ""
    """Licence of the text and recordings."""
    labels: dict[str, str] = {}
    """Entity label (upper case) to one line on what it means."""
    convention: str = ""
    """One sentence on how text is written: casing, punctuation, numbers."""
    sources: list[str] = []
    """Where the text and the terms come from."""
    voices: dict[Literal["train", "dev", "test"], list[str]] = {}
    """Who speaks the unrecorded sentences of a split: names or patterns such as ``en-us+*``."""

    @field_validator("labels")
    @classmethod
    def _labels_are_upper_case(cls, labels: dict[str, str]) -> dict[str, str]:
        for label in labels:
            if not re.fullmatch(r"[A-Z][A-Z0-9_]*", label):
                raise ValueError(f"labels in capitals such as DRUG or LATIN_TERM, not {label!r}")
        return labels


class SentenceCounts(_Model):
    """How many sentences to expand the templates of each split into."""

    train: int = Field(default=4000, ge=0)
    dev: int = Field(default=120, ge=0)
    test: int = Field(default=240, ge=0)


class TemplatesConfig(_Model):
    """``templates.yaml``."""

    seed: int = 1
    """Draws which words fill which template."""
    sentences: SentenceCounts = SentenceCounts()
    fillers: dict[str, list[str]] = {}
    """Lower-case slots, which are no entities, to the words that fill them."""
    train: list[str] = []
    dev: list[str] = []
    test: list[str] = []

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
    """Raise DomainError for a name that is none of ``SPLITS``."""
    if split not in SPLITS:
        raise DomainError(f"unknown split {split!r}; expected one of: {', '.join(SPLITS)}")


def find_folder(path: str | Path) -> Path:
    """``path`` if it looks like a domain folder; DomainError otherwise."""
    folder = Path(path)
    if not folder.is_dir():
        if folder.exists():
            raise DomainError(
                f"{folder}: found a file; expected a domain folder: did you mean {folder.parent}?"
            )
        raise DomainError(
            f"{folder}: found nothing; expected a domain folder. "
            f"Make one with: asr-llm domain init {folder}"
        )
    if not (folder / "domain.yaml").is_file():
        raise DomainError(
            f"{folder}: no domain.yaml in it; expected a domain folder. "
            "See one with: asr-llm domain init NEW_FOLDER"
        )
    return folder


def strictly(read: Callable[[list[Problem]], list[T]]) -> list[T]:
    """The result of a reader; its first problem raised.

    Raises:
        DomainError: with file and line.
    """
    problems: list[Problem] = []
    result = read(problems)
    for problem in problems:
        if problem.severity == "error":
            raise DomainError(str(problem))
    return result


def text_path(folder: Path, split: str) -> Path:
    """Where the sentences of a split are: train's stand at the top."""
    return folder / "text.txt" if split == "train" else folder / split / "text.txt"


def read_lines(path: Path, problems: list[Problem]) -> list[Line]:
    """The lines of a UTF-8 file that are neither blank nor comments (``#``)."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        problems.append(Problem(str(path), None, "error", error.strerror or "cannot be read"))
        return []
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problems.append(Problem(str(path), line, "error", "not UTF-8 text", "save it as UTF-8"))
        return []
    if not _is_text(text):
        message = "not text: it holds control characters, as recordings and documents do"
        problems.append(Problem(str(path), None, "error", message, "save it as plain text (UTF-8)"))
        return []
    # Not splitlines(): it also breaks at characters which belong to a line.
    lines = (Line(line.rstrip("\r"), path, i) for i, line in enumerate(text.split("\n"), start=1))
    return [line for line in lines if line.text.strip() and not line.text.startswith("#")]


def _is_text(text: str) -> bool:
    """Whether none of the control characters is in it that binary files have and no text has."""
    return not re.search(r"[\x00-\x08\x0e-\x1a\x7f]", text)


def read_text(path: Path, problems: list[Problem]) -> list[Line]:
    """The sentences of a ``text.txt``, white space around them dropped; [] without the file."""
    if not path.exists():
        return []
    lines = read_lines(path, problems)
    return [Line(" ".join(line.text.split()), line.file, line.number) for line in lines]


def undeclared(folder: Path, labels: Iterable[str]) -> list[Path]:
    """The term files of a folder whose label is none of ``labels``."""
    return sorted(p for p in folder.glob("terms/*.tsv") if p.stem.upper() not in set(labels))


def read_terms(folder: Path, labels: dict[str, str], problems: list[Problem]) -> list[Term]:
    """The terms of ``terms/<label>.tsv`` in the order of ``labels``."""
    files = sorted(folder.glob("terms/*.tsv"))
    stray = undeclared(folder, labels)
    terms: list[Term] = []
    for path in sorted(files, key=lambda path: _rank(path.stem.upper(), labels)):
        label = path.stem.upper()
        if path in stray:
            known = ", ".join(f"{name.lower()}.tsv" for name in labels) or "none"
            message = f"no label for this file in domain.yaml; expected: {known}"
            fix = "rename the file, or declare the label under 'labels'"
            problems.append(Problem(str(path), None, "error", message, fix))
            continue
        if path.stem != path.stem.lower():
            message = "a file name in capitals, which is another file elsewhere"
            fix = f"rename it to {label.lower()}.tsv"
            problems.append(Problem(str(path), None, "error", message, fix))
            continue
        for line in read_lines(path, problems):
            columns = [" ".join(column.split()) for column in line.text.split("\t")]
            if len(columns) > 2 or not columns[0]:
                message = f"found {len(columns)} columns; expected term [TAB spoken form]"
                if len(columns) <= 2:
                    message = "found no term; expected term [TAB spoken form]"
                problems.append(Problem(str(path), line.number, "error", message, "mend this line"))
                continue
            if not any(c.isalnum() for c in columns[0]):
                message = "found a term without a letter or digit, which nobody can say"
                problems.append(Problem(str(path), line.number, "error", message, "spell it out"))
                continue
            spoken = columns[1] if len(columns) == 2 and columns[1] else None
            terms.append(Term(columns[0], spoken, label, line.number))
    return terms


def read_patterns(
    path: Path, labels: dict[str, str], problems: list[Problem]
) -> list[dict[str, Any]]:
    """spaCy EntityRuler patterns of an ``entities.jsonl``; [] without the file."""
    if not path.exists():
        return []
    patterns = []
    for line in read_lines(path, problems):
        try:
            pattern = json.loads(line.text)
            wrong = _wrong_pattern(pattern, labels)
        except json.JSONDecodeError as error:
            wrong = f"not JSON ({error.msg} at column {error.colno})"
        if wrong:
            fix = 'write {"label": "LABEL", "pattern": "text or list of token patterns"}'
            problems.append(Problem(str(path), line.number, "error", wrong, fix))
        else:
            patterns.append(pattern)
    return patterns


def _wrong_pattern(pattern: Any, labels: dict[str, str]) -> str | None:
    if not isinstance(pattern, dict):
        return "not a JSON object"
    if unknown := set(pattern) - {"label", "pattern", "id"}:
        return f"unknown key {min(unknown)!r}"
    if (label := pattern.get("label")) not in labels:
        meant = str(label).upper()
        hint = f": did you mean {meant!r}?" if meant in labels else ""
        return f"label {label!r} is not declared in domain.yaml{hint}"
    body = pattern.get("pattern")
    is_tokens = isinstance(body, list) and body and all(isinstance(t, dict) for t in body)
    if not (is_tokens or (isinstance(body, str) and body.strip())):
        return "no pattern"
    return None


def _rank(label: str, labels: dict[str, str]) -> int:
    return list(labels).index(label) if label in labels else len(labels)
