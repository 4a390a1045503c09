"""Manifests of recordings that this project reads and writes, as rows of references.

Lhotse cuts, AudioFolder's ``metadata.jsonl`` and NeMo manifests are recognised by their keys,
``trans.txt`` (name TAB text) by its name. An utterance without an id is named after its audio: the
file's stem, with as many folders as needed to make it unique.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr_llm.evaluation.rows import Placed, Row, Side, fail, read_lines
from asr_llm.text_files import cells, ids_of, is_comment

AUDIO_KEYS = ("audio_filepath", "file_name")
"""Keys of NeMo manifests and AudioFolder."""


def read_names(path: Path, side: Side) -> Iterator[Placed]:
    """Read ``name.wav TAB text``, without comments (``# ``)."""
    rows = []
    for place, line in read_lines(path):
        if is_comment(line):
            continue
        name, *texts = cells(line)
        if not texts or not name.strip():
            fail(place, "no TAB after a name", "name.wav TAB text")
        rows.append((place, name.strip(), "\t".join(texts).strip()))
    ids = ids_of(name for _, name, _ in rows)
    for place, name, text in rows:
        yield place, Row(ids[name], text, recording=ids[name])


def is_cut(row: dict[str, Any]) -> bool:
    """Whether a JSON object is a Lhotse cut."""
    return row.get("type") in ("MonoCut", "MultiCut", "MixedCut") and "id" in row


def cut_rows(place: str, cut: dict[str, Any]) -> Iterator[Placed]:
    """Return a row for the cut, or one per supervision if it has several."""
    try:
        supervisions = cut.get("supervisions") or []
        recording = cut.get("recording") or {}
        for found in supervisions or [{}]:
            name = found["id"] if len(supervisions) > 1 else cut["id"]
            text, speaker = found.get("text") or "", found.get("speaker")
            source = found.get("recording_id") or recording.get("id")
            if not isinstance(text, str):
                fail(place, f"a text that is a {type(text).__name__}", "a string")
            yield (
                place,
                Row(
                    str(name),
                    text,
                    None if speaker is None else str(speaker),
                    None if source is None else str(source),
                ),
            )
    except (KeyError, TypeError, AttributeError):
        fail(place, "a cut of another form", "Lhotse's: id, and supervisions with id and text")


def audio_of(row: dict[str, Any]) -> str | None:
    """The audio path of a row, as written."""
    return next((row[key] for key in AUDIO_KEYS if isinstance(row.get(key), str)), None)
