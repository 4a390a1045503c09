"""One utterance, however it came: what the readers of every format give, and read with."""

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
    """One utterance. ``None`` is what the file does not say; ``()`` that there are none.

    ``alternatives`` is the text as it is written where it has sclite's (see ``alternatives``); of
    these ``text`` has the first.
    """

    id: str
    text: str
    speaker: str | None = None
    recording: str | None = None
    entities: tuple[Entity, ...] | None = None
    biasing_words: tuple[str, ...] | None = None
    alternatives: str | None = None


Side = Literal["reference", "hypothesis"]
Placed = tuple[str, Row]  # where a row stands ("file:line"), and the row
Reader = Callable[[Path, Side], Iterator[Placed]]

IDS = ("id", "utt_id")
TEXTS: dict[Side, tuple[str, ...]] = {
    "reference": ("reference", "text", "transcript", "transcription", "sentence"),
    "hypothesis": ("pred_text", "hypothesis", "transcription", "text", "transcript", "sentence"),
}
"""Names of keys and columns, those that are preferred first."""


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark, its lines ended by a line feed.

    Raises:
        ScoreError: it cannot be read, or is no text in UTF-8 or UTF-16.
    """
    try:
        return text_files.read_text(path)
    except TextFileError as error:
        place = path if error.line is None else f"{path}:{error.line}"
        fail(place, error.found, f"a file of text: {error.fix}")


def read_lines(path: Path, *, comments: bool = False) -> Iterator[tuple[str, str]]:
    """Lines that are not blank, with their place; with ``comments`` without those of ``;;``."""
    # Not splitlines: it also splits at characters a text may hold, such as U+2028.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip() and not (comments and line.lstrip().startswith(";;")):
            yield f"{path}:{number}", line


def json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """What JSON lines, or one list, hold, each with its line, or its place in the list from 1.

    Raises:
        JSONDecodeError: not JSON; it has the place in the whole text.
    """
    listed = text.lstrip().startswith("[")
    begin = 0
    for number, line in enumerate([text] if listed else text.split("\n"), start=1):
        if line.strip():
            try:
                found = json.loads(line)
            except json.JSONDecodeError as error:
                raise json.JSONDecodeError(error.msg, text, begin + error.pos) from error
            except (ValueError, RecursionError) as error:  # endless digits; nesting without end
                raise json.JSONDecodeError(str(error), text, begin) from error
            yield from enumerate(found, start=1) if listed else [(number, found)]
        begin += len(line) + 1


def mismatch(system: str, missing: Sequence[str], extra: Sequence[str]) -> str:
    """What to tell of a system without a hypothesis for some ids, and with one for others."""
    found = [f"no hypothesis for {few(missing)}"] if missing else []
    found += [f"no reference for {few(extra)}"] if extra else []
    return f"system {system!r}: {'; '.join(found)}"


def few(ids: Sequence[str], what: str = "utterance") -> str:
    """How many utterances, and the first three of them."""
    names = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} {what}{'s' if len(ids) > 1 else ''} ({names})"


def fail(place: str | Path, found: str, expected: str) -> NoReturn:
    raise ScoreError(f"{place}: found {found}; expected {expected}")
