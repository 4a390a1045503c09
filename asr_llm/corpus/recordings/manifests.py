"""Reads lists of recordings line by line, without lhotse or torch."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_llm.corpus.recordings import manifest_tables
from asr_llm.corpus.recordings.manifest_tables import Columns, MalformedError
from asr_llm.corpus.text.lines import Problem, read_lines
from asr_llm.errors import DomainError
from asr_llm.text_files import LAYOUTS, cells, is_pipe, is_whole, no_file_of

__all__ = [
    "LAYOUTS",
    "Entry",
    "find_manifest",
    "read_entries",
    "split_manifest",
    "stream_entries",
    "stretch",
]

_ROUNDING = 0.05  # seconds by which manifests round durations
_TOLD = 20  # malformed lines reported individually; the rest are counted
_TEXT_KEYS = ("text", "transcription", "sentence")  # AudioFolder leaves the name to the user


@dataclass(frozen=True)
class Entry:
    """One utterance as a manifest lists it; ``start`` and ``duration`` in seconds."""

    audio: Path
    text: str
    line: int
    start: float = 0.0
    duration: float | None = None
    speaker: str | None = None
    language: str | None = None
    first_pass: str | None = None
    """Transcript by another recogniser."""
    lhotse_cut: dict[str, Any] | None = field(default=None, repr=False)
    """The cut as written, its audio paths made absolute, where the manifest is Lhotse's."""


_Numbered = Iterator[tuple[int, Entry | str]]  # a line, and its entry or what is wrong with it


def stretch(entry: Entry, whole: float) -> tuple[float, float]:
    """Start and end of an utterance in a recording of ``whole`` seconds.

    Raises:
        DomainError: not within the recording; the message does not say where.
    """
    stated = entry.start + entry.duration if entry.duration is not None else whole
    if stated > whole + _ROUNDING:
        raise DomainError(
            f"offset and duration ({entry.start:g} + {entry.duration:g} s) reach beyond the "
            f"{whole:.2f} s of {entry.audio.name}; fix this line"
        )
    end = stated if stated < whole - _ROUNDING else whole
    if entry.start >= end:
        raise DomainError(f"offset {entry.start:g} s is not before {end:.2f} s, the end")
    return entry.start, end


def find_manifest(folder: str | Path) -> Path | None:
    """The one manifest of a folder of recordings; None if there is none.

    Raises:
        DomainError: there are several, and which is meant is unknown.
    """
    found = [Path(folder) / name for name in LAYOUTS if (Path(folder) / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DomainError(f"{folder}: found {names}; expected one of them; move the others away")
    return found[0] if found else None


def split_manifest(folder: Path, split: str) -> Path | None:
    """The manifest of a split of a domain folder; None if there is none.

    Raises:
        DomainError: there are several, or it is a link that leads out of the folder.
    """
    manifest = find_manifest(folder / split)
    if manifest is not None and (reason := no_file_of(folder, manifest)):
        raise DomainError(f"{manifest}: {reason}. Put a copy here; audio may lie anywhere")
    return manifest


def read_entries(path: Path, problems: list[Problem]) -> list[Entry]:
    """The utterances a manifest lists; what is malformed is appended to ``problems``.

    A ``*.txt`` holds name TAB text, a ``*.csv`` columns named in a header; all else holds JSON
    lines. Paths are relative to the manifest; whether the audio exists is left to the caller.
    """
    entries = []
    found: list[Problem] = []
    read = _table_entries if path.suffix.lower() == ".csv" else _line_entries
    for number, entry in read(path, problems):
        if isinstance(entry, Entry):
            entries.append(entry)
        else:
            found.append(Problem(str(path), number, "error", entry, "fix this line"))
    problems += found[:_TOLD]
    if more := found[_TOLD:]:
        message = f"{len(more):,} more malformed lines"
        problems.append(Problem(str(path), more[0].line, "error", message, "fix them"))
    return entries


def stream_entries(path: Path) -> _Numbered:
    """The utterances a manifest of any length lists, one after the other, in constant memory.

    Yields each with its line; or, in its place, what is wrong with it.

    Raises:
        DomainError: it cannot be read, or is a table (``.csv``), which has no end known by line.
    """
    if path.suffix.lower() == ".csv":
        raise DomainError(f"{path}: a table; expected JSON lines or a .txt: convert it")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip() and not text.startswith(b"# "):
                    yield number, _streamed(path, number, text)
    except (OSError, EOFError, zlib.error) as error:
        raise DomainError(f"{path} cannot be read ({error})") from error


def _streamed(path: Path, number: int, line: bytes) -> Entry | str:
    try:
        return _line_entry(path, number, line.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 text ({error.reason})"
    except MalformedError as error:
        return str(error)


def _line_entries(path: Path, problems: list[Problem]) -> _Numbered:
    for line in read_lines(path, problems):
        try:
            yield line.number, _line_entry(path, line.number, line.text)
        except MalformedError as error:
            yield line.number, str(error)


def _table_entries(path: Path, problems: list[Problem]) -> _Numbered:
    columns: Columns | None = None
    for number, row in manifest_tables.rows(path, problems):
        try:
            if columns is None:
                columns = Columns(row)
            else:
                yield number, _entry(path, number, columns.item(row))
        except MalformedError as error:
            yield number, str(error)
            if columns is None:
                return


def _line_entry(path: Path, number: int, line: str) -> Entry:
    if path.suffix == ".txt" or (is_pipe(path) and not line.lstrip().startswith("{")):
        name, *texts = cells(line)
        if not texts or not name.strip():
            raise MalformedError("found no TAB after a name; expected name.wav TAB text")
        return Entry(_resolve(path, name.strip()), "\t".join(texts).strip(), number)
    try:
        item = json.loads(line)
    except json.JSONDecodeError as error:
        what = f"not JSON (from column {error.colno} on)"
        raise MalformedError(f"{what}; expected one JSON object a line") from None
    except (ValueError, RecursionError):
        raise MalformedError(
            "JSON with too long a number or too deep a nesting; expected one object a line"
        ) from None
    if not isinstance(item, dict):
        raise MalformedError("found no JSON object; expected one a line")
    return _entry(path, number, item)


def _entry(path: Path, number: int, item: dict[str, Any]) -> Entry:
    if "recording" in item or "tracks" in item:
        return _lhotse_entry(path, number, item)
    if "file_name" in item:
        key = next((key for key in _TEXT_KEYS if key in item), "text")
        return Entry(_resolve(path, _string(item, "file_name")), _transcript(item, key), number)
    return Entry(
        _resolve(path, _string(item, "audio_filepath")),
        _transcript(item, "text"),
        number,
        start=_seconds(item, "offset") or 0.0,
        duration=_seconds(item, "duration"),
        speaker=_optional(item, "speaker"),
        language=_optional(item, "lang") or _optional(item, "language"),
        first_pass=_transcript(item, "first_pass") or None,
    )


def _lhotse_entry(path: Path, number: int, item: dict[str, Any]) -> Entry:
    if item.get("type") not in ("MonoCut", "MultiCut"):
        raise MalformedError(f"found a {item.get('type')}; expected a MonoCut or a MultiCut")
    _string(item, "id")
    try:
        sources = item["recording"]["sources"]
        for source in sources:
            # A source of type "command" would be run by a shell on loading.
            if source["type"] != "file":
                raise MalformedError(f"found audio of type {source['type']}; expected 'file'")
            source["source"] = str(_resolve(path, source["source"]))
        supervisions = item.get("supervisions") or []
        if len(supervisions) > 1:
            many = f"found {len(supervisions)} supervisions; expected one"
            raise MalformedError(f"{many} (CutSet.trim_to_supervisions makes it so)")
        return Entry(
            Path(sources[0]["source"]),
            next((sup.get("text") or "" for sup in supervisions), ""),
            number,
            start=float(item["start"]),
            duration=float(item["duration"]),
            lhotse_cut=item,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise MalformedError(f"not a Lhotse cut with a recording ({error!r})") from None


def _resolve(manifest: Path, name: str) -> Path:
    """Relative to the manifest; to the current folder where it comes in by a pipe."""
    if "\0" in name or not is_whole(name):
        raise MalformedError("found a file's name that is not text; rename the file")
    folder = Path() if is_pipe(manifest) else manifest.parent
    try:
        return (folder / Path(name).expanduser()).absolute()
    except RuntimeError:  # "~nobody": no such user
        return (folder / name).absolute()


def _string(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value.strip():
        raise MalformedError(f"found no {key!r}; expected one that is not empty")
    return value


def _transcript(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"{key!r} is {type(value).__name__}; expected text")
    if value and not is_whole(value):
        raise MalformedError(f"{key!r} holds half a character (\\ud800 and the like)")
    return value or ""


def _optional(item: dict[str, Any], key: str) -> str | None:
    return None if item.get(key) is None else str(item[key])


def _seconds(item: dict[str, Any], key: str) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not 0 <= value < float("inf") or (key == "duration" and value == 0):
        raise MalformedError(f"{key!r} is {value!r}; expected seconds as a number")
    return float(value)
