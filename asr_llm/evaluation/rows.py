"""One utterance, however it came: what the readers of every format give, and read with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from asr_llm.errors import ScoreError


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


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark, its lines ended by a line feed."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        fail(path, f"what cannot be read ({error.strerror})", "a file of text")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fail(f"{path}:{line}", "bytes that are not UTF-8", "text in UTF-8")
    if "\0" in text:  # as in recordings and documents
        fail(path, "a binary file", "text in UTF-8")
    return text


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
            yield from enumerate(found, start=1) if listed else [(number, found)]
        begin += len(line) + 1


def mismatch(system: str, missing: Sequence[str], extra: Sequence[str]) -> str:
    """What to tell of a system without a hypothesis for some ids, and with one for others."""
    found = [f"no hypothesis for {few(missing)}"] if missing else []
    found += [f"no reference for {few(extra)}"] if extra else []
    return f"system {system!r}: {'; '.join(found)}"


def few(ids: Sequence[str]) -> str:
    """How many utterances, and the first three of them."""
    names = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} utterance{'s' if len(ids) > 1 else ''} ({names})"


def fail(place: str | Path, found: str, expected: str) -> NoReturn:
    raise ScoreError(f"{place}: found {found}; expected {expected}")
