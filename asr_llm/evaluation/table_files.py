"""Tables (TSV and CSV) as rows, with columns named in a header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from asr_llm.errors import number_of
from asr_llm.evaluation.manifest_rows import AUDIO_KEYS
from asr_llm.evaluation.rows import IDS, TEXTS, Placed, Row, Side, fail, read_lines, read_text
from asr_llm.text_files import RowError, cells, comma_rows, ids_of

_AUDIO = (*AUDIO_KEYS, "audio", "file", "path")


def read_table(path: Path, side: Side) -> Iterator[Placed]:
    """Read a row per line below the header; a two-column TSV may have none."""
    tabs = path.suffix.lower() == ".tsv"
    rows = tab_rows(read_lines(path)) if tabs else _comma_rows(path)
    return table_texts(rows, side, tabs)


def table_texts(
    rows: list[tuple[str, list[str]]], side: Side, tabs: bool = True
) -> Iterator[Placed]:
    """Like ``read_table``, for lines already split into cells; with ``tabs`` the header is
    optional.
    """
    if not rows:
        return
    place, first = rows[0]
    header = [name.strip().lower() for name in first]
    key = next((name for name in (*IDS, *_AUDIO) if name in header), None)
    column = next((name for name in TEXTS[side] if name in header), None)
    if key is None and column is None and tabs and len(first) == 2:
        header, key, column = ["id", "text"], "id", "text"
    elif key is None or column is None:
        names = f"one of {', '.join((*IDS, *_AUDIO))}, and one of {', '.join(TEXTS[side])}"
        fail(
            place,
            f"{number_of(len(first), 'column')} without an id or a text",
            f"a header with {names}",
        )
    else:
        rows = rows[1:]
    for place, row_cells in rows:
        if len(row_cells) != len(header):
            fail(
                place,
                f"{number_of(len(row_cells), 'column')}",
                f"{len(header)}, as in the first line",
            )
    table = [(place, dict(zip(header, row_cells))) for place, row_cells in rows]
    stems = ids_of(row[key] for _, row in table) if key in _AUDIO else {}
    for place, row in table:
        name = stems.get(row[key], row[key])
        speaker, recording = (row.get(given) or None for given in ("speaker", "recording"))
        yield place, Row(name, row[column], speaker, recording)


def _comma_rows(path: Path) -> list[tuple[str, list[str]]]:
    try:
        return [(f"{path}:{line}", row) for line, row in comma_rows(read_text(path))]
    except RowError as error:
        fail(f"{path}:{error.line}", str(error), "cells with quotes closed")


def tab_rows(lines: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of a TSV; quotes that do not enclose a cell are part of the text."""
    return [(place, cells(line)) for place, line in lines]
