"""References and hypotheses of any recogniser, in the formats people have, as rows by id.

=====================  =================================================================
``.jsonl``, ``.json``  an object a line, or one list: of NeMo, AudioFolder, Lhotse (also ``.gz``)
``.tsv``, ``.csv``     columns named in a header; a TSV may be ``id TAB text`` without one
``trans.txt``          ``name.wav TAB text``
``text``               Kaldi's ``id text``, a file of just that name; so are LibriSpeech's
                       ``*.trans.txt``
``.trn``               sclite's ``text (speaker-utterance)``
``.stm``, ``.ctm``     NIST's segments and timed words; ``ctm_for_stm`` brings them together
``.nlp``               Rev's tokens, as in Earnings-21 and -22: a recording a file
``.srt``, ``.vtt``     subtitles: a recording a file
a folder               of recordings with one of the lists above, or Kaldi's of data; or of
                       ``.txt``, ``.nlp``, ``.vtt`` or ``.srt``, a row each; the id: the file's name
a pipe                 JSON lines, a TSV, ``trn`` or ``id text``, by what comes in
=====================  =================================================================

Texts are taken as written. No message quotes them: they may be confidential.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from asr_llm.evaluation.manifest_rows import AUDIO_KEYS, audio_of, cut_rows, is_cut, read_names
from asr_llm.evaluation.nist import (
    PlacedWords,
    ctm_for_stm,
    read_ctm,
    read_stm,
    read_trn,
    trn_rows,
)
from asr_llm.evaluation.rev_nlp import read_nlp
from asr_llm.evaluation.rows import (
    Entity,
    Placed,
    Reader,
    Row,
    Side,
    fail,
    few,
    json_rows,
    read_lines,
    read_text,
)
from asr_llm.evaluation.subtitle_files import read_subtitles
from asr_llm.text_files import LAYOUTS, cells, ids_of, is_pipe, is_whole

__all__ = [
    "Entity",
    "PlacedWords",
    "Row",
    "ctm_for_stm",
    "read_hypotheses",
    "read_references",
    "unread",
]

_IDS = ("id", "utt_id")
_AUDIO = (*AUDIO_KEYS, "audio", "file", "path")
_TEXTS: dict[Side, tuple[str, ...]] = {
    "reference": ("reference", "text", "transcript", "transcription", "sentence"),
    "hypothesis": ("pred_text", "hypothesis", "transcription", "text", "transcript", "sentence"),
}


def read_references(path: str | Path) -> dict[str, Row]:
    """What was said, by utterance id, in the order of the file.

    Raises:
        ScoreError: missing, of no known format, malformed, empty, or an id is given twice; file
            and line are named.
    """
    return _read(Path(path), "reference")


def read_hypotheses(path: str | Path) -> dict[str, str]:
    """What a recogniser wrote, by utterance id, in the order of the file.

    A CTM gives one text for each recording (id = recording, with "-channel" where it has
    several); for its words by utterance see ``ctm_for_stm``.

    Raises:
        ScoreError: as of ``read_references``.
    """
    return {row.id: row.text for row in _read(Path(path), "hypothesis").values()}


def _read(path: Path, side: Side) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    places: dict[str, str] = {}
    for place, row in _reader(path)(path, side):
        if not row.id:
            fail(place, "an empty id", "one that names the utterance")
        if row.id in rows:
            named_by_audio = row.id == row.recording
            advice = ": give each utterance an 'id' of its own" if named_by_audio else ""
            fail(place, f"the id of {places[row.id]} again", f"one {side} for an id{advice}")
        rows[row.id], places[row.id] = row, place
    if not rows:
        fail(path, "nothing in it", f"a {side} for each utterance")
    return rows


def _reader(path: Path) -> Reader:
    if path.is_dir():
        return _read_folder
    if is_pipe(path):
        return _read_pipe
    if not path.is_file():
        fail(path, "nothing there", "a file or a folder")
    name = path.name.lower().removesuffix(".gz")
    if name == "trans.txt":
        return read_names
    if name == "text" or name.endswith(".trans.txt"):
        return _read_kaldi
    if found := _READERS.get(Path(name).suffix):
        return found
    if Path(name).suffix == ".rttm":
        fail(
            path,
            "RTTM, which says who spoke when and has no words",
            "what was said: STM or CTM, and with --speakers STM or SegLST (.json)",
        )
    if Path(name).suffix == ".txt":
        fail(
            path,
            "a .txt of no known layout",
            "'trans.txt' (name.wav, a tab, text), Kaldi's 'id text' in a file named 'text', a .tsv "
            "(id, a tab, text), or a folder of .txt files, one for each recording",
        )
    known = ", ".join(_READERS)
    expected = f"one of {known}, a file named 'text' or 'trans.txt', or a folder"
    fail(path, "no known suffix", expected)


# JSON, with NeMo's manifests


def _read_json(path: Path, side: Side) -> Iterator[Placed]:
    return _json_texts(_json_rows(path, read_text(path)), side)


def _json_texts(found: Iterable[tuple[str, dict[str, Any]]], side: Side) -> Iterator[Placed]:
    rows = []
    for place, row in found:
        if is_cut(row):
            yield from cut_rows(place, row)
        else:
            rows.append((place, row))
    used = [key for key in _TEXTS[side] if any(row.get(key) is not None for _, row in rows)]
    if side == "hypothesis" and used and any("audio_filepath" in row for _, row in rows):
        # The "text" of a manifest is the reference: scored against itself it would be faultless.
        used = [key for key in used if key in ("pred_text", "hypothesis", "transcription")]
    if rows and not used:
        fail(rows[0][0], "no text", f"one of {', '.join(_TEXTS[side])} (a manifest: pred_text)")
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
            fail(place, "no id", f"one of {', '.join((*_IDS, *AUDIO_KEYS))}")
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
        fail(at, f"no JSON ({error.msg})", "a JSON object in each line, or one list of them")


def _named(row: dict[str, Any]) -> str | None:
    return next((key for key in _IDS if row.get(key) is not None), None)


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


# Tables, Kaldi's text, folders


def _read_table(path: Path, side: Side) -> Iterator[Placed]:
    tabs = path.suffix.lower() == ".tsv"
    rows = _tab_rows(read_lines(path)) if tabs else _comma_rows(path)
    return _table_texts(rows, side, tabs)


def _table_texts(
    rows: list[tuple[str, list[str]]], side: Side, tabs: bool = True
) -> Iterator[Placed]:
    if not rows:
        return
    place, first = rows[0]
    header = [name.strip().lower() for name in first]
    key = next((name for name in (*_IDS, *_AUDIO) if name in header), None)
    column = next((name for name in _TEXTS[side] if name in header), None)
    if key is None and column is None and tabs and len(first) == 2:
        header, key, column = ["id", "text"], "id", "text"
    elif key is None or column is None:
        names = f"one of {', '.join((*_IDS, *_AUDIO))}, and one of {', '.join(_TEXTS[side])}"
        fail(place, f"{len(first)} columns without an id or a text", f"a header with {names}")
    else:
        rows = rows[1:]
    for place, row_cells in rows:
        if len(row_cells) != len(header):
            fail(place, f"{len(row_cells)} columns", f"{len(header)}, as in the first line")
    table = [(place, dict(zip(header, row_cells))) for place, row_cells in rows]
    stems = ids_of(row[key] for _, row in table) if key in _AUDIO else {}
    for place, row in table:
        name = stems.get(row[key], row[key])
        speaker, recording = (row.get(given) or None for given in ("speaker", "recording"))
        yield place, Row(name, row[column], speaker, recording)


def _comma_rows(path: Path) -> list[tuple[str, list[str]]]:
    """Rows with the line each begins in; a quoted cell may run over several lines.

    Where decimals have commas, spreadsheets part cells by semicolons.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for row in reader:
            if row:
                rows.append((f"{path}:{line}", row))
            line = reader.line_num + 1
    except csv.Error as error:
        fail(f"{path}:{line}", f"no row of a table ({error})", "cells with quotes closed")
    return rows


def _tab_rows(lines: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of a TSV; where its quotes do not enclose a cell they are letters of the text."""
    return [(place, cells(line)) for place, line in lines]


def _read_kaldi(path: Path, side: Side) -> Iterator[Placed]:
    return _kaldi_rows(read_lines(path))


def _kaldi_rows(lines: Iterable[tuple[str, str]]) -> Iterator[Placed]:
    for place, line in lines:
        name, *rest = line.split(maxsplit=1)
        yield place, Row(name, rest[0].strip() if rest else "")


def _read_pipe(path: Path, side: Side) -> Iterator[Placed]:
    """What comes in by a pipe has no suffix to go by, and comes once."""
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        yield from _json_texts(_json_rows(path, text), side)
        return
    lines = [(f"{path}:{i}", line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and all("\t" in line for _, line in lines):
        yield from _table_texts(_tab_rows(lines), side)
    elif lines and all(re.search(r"\([^()\s]+\)\s*$", line) for _, line in lines):
        yield from trn_rows(lines, side)
    else:
        yield from _kaldi_rows(lines)


# Folders


def _read_folder(path: Path, side: Side) -> Iterator[Placed]:
    listed = [path / name for name in _LISTS if (path / name).is_file()]
    if len(listed) > 1:
        names = " and ".join(file.name for file in listed)
        fail(path, names, "one of them, or the name of the file that is meant")
    if listed:
        yield from _reader(listed[0])(listed[0], side)
        return
    for file in _by_stem(path).values():
        if file.suffix.lower() == ".txt":
            yield str(file), Row(file.stem, read_text(file).strip())
        else:
            yield from _READERS[file.suffix.lower()](file, side)


def unread(path: str | Path) -> str | None:
    """What to tell of the files of a folder that are neither read nor beside one that is."""
    folder = Path(path)
    if not folder.is_dir() or any((folder / name).is_file() for name in _LISTS):
        return None
    read = _by_stem(folder)
    left = [
        file.name
        for file in sorted(folder.iterdir())
        if file.stem not in read and not file.name.startswith(".") and file.is_file()
    ]
    return f"{folder}: not read: {few(left, 'file')}" if left and read else None


def _by_stem(folder: Path) -> dict[str, Path]:
    """The file of each recording: ``transcribe -f all`` leaves one in every format."""
    found: dict[str, Path] = {}
    for suffix in _IN_FOLDERS:
        for file in sorted(folder.iterdir()):
            visible = not file.name.startswith(".") and file.is_file()
            if file.suffix.lower() == suffix and visible:
                found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


_LISTS = (*LAYOUTS, "text")  # a Kaldi data folder has its transcripts in "text"
_IN_FOLDERS = (".txt", ".nlp", ".vtt", ".srt")
_READERS: dict[str, Reader] = {
    ".jsonl": _read_json,
    ".json": _read_json,
    ".tsv": _read_table,
    ".csv": _read_table,
    ".trn": read_trn,
    ".stm": read_stm,
    ".ctm": read_ctm,
    ".nlp": read_nlp,
    ".srt": read_subtitles,
    ".vtt": read_subtitles,
}
