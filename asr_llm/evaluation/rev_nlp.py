"""Rev's nlp format: one token per line with case, punctuation and entities, as in Earnings-21 and
-22.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from asr_llm.errors import number_of
from asr_llm.evaluation.rows import Entity, Placed, Row, Side, fail, read_lines, read_text

_CASES: dict[str, Callable[[str], str]] = {
    "UC": lambda token: token[:1].upper() + token[1:],
    "LC": str.lower,
    "CA": str.upper,
}


def read_nlp(path: Path, side: Side) -> Iterator[Placed]:
    """Read one row: tokens with case and punctuation; runs of the same tag id are entities.

    Columns are found by name, because the header differs between Earnings-21 and -22. ``tags`` has
    only what is written differently from how it is spoken (years, abbreviations); persons,
    organisations etc. are in ``wer_tags``, with labels in ``<name>.wer_tag.json`` beside the file
    or in ``../wer_tags``. If that file exists, its entities are used; they may overlap. Noises
    (``<crosstalk>``) are skipped.
    """
    lines = list(read_lines(path))
    header = lines[0][1].strip().split("|") if lines else []
    if "token" not in header:
        fail(f"{path}:1", "no column 'token'", "token|speaker|ts|endTs|punctuation|case|tags")
    labels = _wer_labels(path) if "wer_tags" in header else None
    column = next((name for name in ("tags", "entity") if name in header), None)
    text = ""
    running: dict[str, Entity] = {}
    entities: list[Entity] = []
    for place, line in lines[1:]:
        fields = line.split("|")
        if len(fields) != len(header):
            fail(place, number_of(len(fields), "column"), f"{len(header)}, as in the header")
        row = dict(zip(header, (field.strip() for field in fields)))
        token = row["token"]
        if not token or re.fullmatch("<.*>", token):
            continue
        text += (" " if text else "") + row.get("prepunctuation", "")
        start = len(text)
        text += _CASES.get(row.get("case", ""), str)(token)
        end = len(text)
        text += row.get("punctuation", "")
        if labels is not None:
            tags = _wer_tags(place, row["wer_tags"], labels)
        else:
            tags = _tags(place, row[column]) if column else {}
        entities += [entity for tag, entity in running.items() if tag not in tags]
        running = {
            tag: Entity(running[tag].start if tag in running else start, end, label)
            for tag, label in tags.items()
        }
    entities += running.values()
    known = labels is not None or column is not None
    ordered = tuple(sorted(set(entities), key=lambda e: (e.start, e.end, e.label)))
    yield f"{path}:1", Row(path.stem, text, None, path.stem, ordered if known else None)


def _tags(place: str, written: str) -> dict[str, str]:
    """``['0:YEAR']`` → the label of each id; the first if it has several, as in fstalign."""
    found = re.findall(r"'([^':]+):([^']+)'", written)
    if not found and written not in ("", "[]"):
        fail(place, "tags of another form", "['0:LABEL'] or []")
    return dict(found[:1])


def _wer_tags(place: str, written: str, labels: dict[str, str]) -> dict[str, str]:
    """``['0', '1']`` → the labels of these ids; unlabelled ids are skipped."""
    found = re.findall(r"'([^']+)'", written)
    if not found and written not in ("", "[]"):
        fail(place, "wer_tags of another form", "['0', '1'] or []")
    return {tag: labels[tag] for tag in found if tag in labels}


def _wer_labels(path: Path) -> dict[str, str] | None:
    name = f"{path.stem}.wer_tag.json"
    for sidecar in (path.with_name(name), path.parent.parent / "wer_tags" / name):
        if sidecar.is_file():
            try:
                found = json.loads(read_text(sidecar))
                return {tag: str(entry["entity_type"]) for tag, entry in found.items()}
            except (ValueError, TypeError, AttributeError, KeyError):
                fail(sidecar, "JSON of another form", '{"0": {"entity_type": "LABEL"}}')
    return None
