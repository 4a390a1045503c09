"""JSON as rows: one object per line or a list, with the keys of NeMo, AudioFolder or Lhotse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr_llm.evaluation.manifest_rows import AUDIO_KEYS, audio_of, cut_rows, is_cut
from asr_llm.evaluation.rows import (
    IDS,
    TEXTS,
    Entity,
    Placed,
    Row,
    Side,
    fail,
    json_rows,
    read_text,
)
from asr_llm.text_files import ids_of, is_whole


def read_json(path: Path, side: Side) -> Iterator[Placed]:
    """Read one row per object."""
    return json_texts(path, read_text(path), side)


def json_texts(path: Path, content: str, side: Side) -> Iterator[Placed]:
    """Like ``read_json``, for text already read from ``path``."""
    rows = []
    for place, row in _json_rows(path, content):
        if is_cut(row):
            yield from cut_rows(place, row)
        else:
            rows.append((place, row))
    used = [key for key in TEXTS[side] if any(row.get(key) is not None for _, row in rows)]
    if side == "hypothesis" and used and any("audio_filepath" in row for _, row in rows):
        # "text" of a manifest is the reference: scored against itself it would be perfect.
        heard = ("pred_text", "hypothesis", "transcription")
        if not (used := [key for key in used if key in heard]):
            fail(
                rows[0][0],
                "no hypothesis: the text of a manifest (audio_filepath) is its reference",
                f"one of {', '.join(heard)}",
            )
    if rows and not used:
        fail(rows[0][0], "no text", f"one of {', '.join(TEXTS[side])} (a manifest: pred_text)")
    sharing = Counter(audio_of(row) for _, row in rows if not _named(row))
    stems = ids_of(audio for _, row in rows if (audio := audio_of(row)) is not None)
    for place, row in rows:
        text = row.get(used[0])
        if not isinstance(text, str):
            fail(place, f"no {used[0]!r}, or no string", "one, as in the other rows")
        if not is_whole(text):
            fail(
                place, "half a character (\\ud800 and the like)", "whole ones: write the file again"
            )
        audio = audio_of(row)
        stem = stems[audio] if audio is not None else None
        if name := _named(row):
            given = _string(place, row, name)
        elif stem is None:
            fail(place, "no id", f"one of {', '.join((*IDS, *AUDIO_KEYS))}")
        else:
            given = f"{stem}-{_milliseconds(place, row)}" if sharing[audio] > 1 else stem
        if side == "hypothesis":
            yield place, Row(str(given), text)
        else:
            full = Row(
                id=str(given),
                text=text,
                speaker=_string(place, row, "speaker"),
                recording=_string(place, row, "recording") or stem,
                entities=_entities(place, row.get("entities"), text),
                biasing_words=_biasing_words(place, row.get("biasing_words")),
            )
            yield place, full


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    before = f"{path}, item " if text.lstrip().startswith("[") else f"{path}:"
    try:
        for number, row in json_rows(text):
            place = f"{before}{number}"
            if not isinstance(row, dict):
                fail(place, f"JSON of type {type(row).__name__}", "a JSON object with id and text")
            yield place, row
    except json.JSONDecodeError as error:
        at = f"{path}:{error.lineno}"
        fail(
            at,
            f"no JSON (from column {error.colno} on)",
            "a JSON object in each line, or one list of them",
        )


def _named(row: dict[str, Any]) -> str | None:
    return next((key for key in IDS if row.get(key) is not None), None)


def _string(place: str, row: dict[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        fail(place, f"{key!r} that is a {type(value).__name__}", "a string")
    return None if value is None else str(value)


def _milliseconds(place: str, row: dict[str, Any]) -> int:
    offset = row.get("offset", 0)
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not 0 <= offset < 1e9:
        fail(place, "an 'offset' that is none", "seconds from the start of the audio")
    return round(offset * 1000)


def _entities(place: str, found: Any, text: str) -> tuple[Entity, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list):
        fail(place, f"'entities' that is a {type(found).__name__}", "a list")
    entities = []
    for number, item in enumerate(found, start=1):
        keys = ("start", "end", "label") if isinstance(item, dict) else ()
        if [type(item.get(key)) for key in keys] != [int, int, str] or not item["label"]:
            fail(place, f"entity {number} malformed", "start and end in characters, and a label")
        start, end = item["start"], item["end"]
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            where = f"entity {number} at {start} to {end} of {len(text)} characters"
            fail(place, where, "a stretch within the text that is not empty")
        entities.append(Entity(start, end, item["label"]))
    return tuple(entities)


def _biasing_words(place: str, found: Any) -> tuple[str, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        fail(place, "'biasing_words' of another kind", "a list of strings")
    return tuple(found)
