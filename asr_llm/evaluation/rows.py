"""One utterance, in the form that all readers return."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from asr_llm import text_files
from asr_llm.errors import ScoreError
from asr_llm.text_files import TextFileError


@dataclass(frozen=True)
class Entity:
    """Characters ``start`` to ``end`` (exclusive, in code points) of a row's text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Row:
    """One utterance. ``None`` means that the file does not say; ``()`` means that there are none.

    ``alternatives`` is the text as written if it has sclite's alternatives (see ``alternatives``);
    ``text`` then has the first of each.
    """

    id: str
    text: str
    speaker: str | None = None
    recording: str | None = None
    entities: tuple[Entity, ...] | None = None
    biasing_words: tuple[str, ...] | None = None
    alternatives: str | None = None


Side = Literal["reference", "hypothesis"]
Placed = tuple[str, Row]  # location ("file:line") and row
Reader = Callable[[Path, Side], Iterator[Placed]]

IDS = ("id", "utt_id")
TEXTS: dict[Side, tuple[str, ...]] = {
    "reference": ("reference", "text", "transcript", "transcription", "sentence"),
    "hypothesis": ("pred_text", "hypothesis", "transcription", "text", "transcript", "sentence"),
}
"""Names of keys and columns, in order of preference."""


def read_text(path: Path) -> str:
    """Read a file's text without byte order mark, with line feeds.

    Raises:
        ScoreError: it cannot be read, or is not UTF-8 or UTF-16 text.
    """
    try:
        return text_files.read_text(path)
    except TextFileError as error:
        place = path if error.line is None else f"{path}:{error.line}"
        more = "" if error.fix == text_files.EXPECTED else f": {error.fix}"
        found = error.found.replace("this looks like audio", "what looks like audio")
        fail(place, found, f"a text file{more}")


def read_lines(path: Path, *, comments: bool = False) -> Iterator[tuple[str, str]]:
    """Non-blank lines with file and line; ``comments`` drops those that start with ``;;``."""
    # Not splitlines: it also splits at characters a text may hold, such as U+2028.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip() and not (comments and line.lstrip().startswith(";;")):
            yield f"{path}:{number}", line


def json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Parse JSON lines or one list; each with its line, or its position in the list from 1.

    Raises:
        JSONDecodeError: not JSON; the position refers to the whole text.
    """
    listed = text.lstrip().startswith("[")
    begin = 0
    for number, line in enumerate([text] if listed else text.split("\n"), start=1):
        if line.strip():
            try:
                found = json.loads(line)
            except json.JSONDecodeError as error:
                raise json.JSONDecodeError(error.msg, text, begin + error.pos) from error
            except (ValueError, RecursionError) as error:  # too many digits; nesting too deep
                raise json.JSONDecodeError(str(error), text, begin) from error
            yield from enumerate(found, start=1) if listed else [(number, found)]
        begin += len(line) + 1


def mismatch(system: str, missing: Sequence[str], extra: Sequence[str]) -> str:
    """Describe ids without a hypothesis and hypotheses without a reference."""
    found = [f"no hypothesis for {few(missing)}"] if missing else []
    found += [f"no reference for {few(extra)}"] if extra else []
    return f"system {system!r}: {'; '.join(found)}"


def few(ids: Sequence[str], what: str = "utterance") -> str:
    """How many utterances, and the first three."""
    names = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} {what}{'s' if len(ids) > 1 else ''} ({names})"


def fail(place: str | Path, found: str, expected: str) -> NoReturn:
    raise ScoreError(f"{place}: found {found}; expected {expected}")
