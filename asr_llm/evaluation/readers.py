"""References and hypotheses of any recogniser, in common formats, as rows by id.

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

Texts are read as written. Messages never quote them, because they may be confidential.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr_llm.evaluation.json_files import json_texts, read_json
from asr_llm.evaluation.manifest_rows import read_names
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
    read_lines,
    read_text,
)
from asr_llm.evaluation.subtitle_files import read_subtitles
from asr_llm.evaluation.table_files import read_table, tab_rows, table_texts
from asr_llm.text_files import LAYOUTS, is_pipe

__all__ = [
    "Entity",
    "PlacedWords",
    "Row",
    "ctm_for_stm",
    "read_hypotheses",
    "read_references",
    "unread",
]


def read_references(path: str | Path) -> dict[str, Row]:
    """Read reference texts by utterance id, in file order.

    Raises:
        ScoreError: missing, unknown format, malformed, empty, or a duplicate id; the message names
            file and line.
    """
    return _read(Path(path), "reference")


def read_hypotheses(path: str | Path) -> dict[str, str]:
    """Read a recogniser's output by utterance id, in file order.

    A CTM gives one text per recording (id = recording, plus "-channel" if it has several);
    ``ctm_for_stm`` splits it by utterance.

    Raises:
        ScoreError: as ``read_references``.
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


# Kaldi's text, pipes


def _read_kaldi(path: Path, side: Side) -> Iterator[Placed]:
    return _kaldi_rows(read_lines(path))


def _kaldi_rows(lines: Iterable[tuple[str, str]]) -> Iterator[Placed]:
    for place, line in lines:
        name, *rest = line.split(maxsplit=1)
        yield place, Row(name, rest[0].strip() if rest else "")


def _read_pipe(path: Path, side: Side) -> Iterator[Placed]:
    """Read a pipe, which has no suffix and can be read only once."""
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        yield from json_texts(path, text, side)
        return
    lines = [(f"{path}:{i}", line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and all("\t" in line for _, line in lines):
        yield from table_texts(tab_rows(lines), side)
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
    """Describe what of a folder is neither read nor belongs to what is."""
    folder = Path(path)
    if not folder.is_dir() or any((folder / name).is_file() for name in _LISTS):
        return None
    read = _by_stem(folder)
    seen = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
    left = [file.name for file in seen if file.is_file() and file.stem not in read]
    below = [file.name for file in seen if file.is_dir()]
    told = [f"not read: {few(left, 'file')}"] if left else []
    told += [f"not looked into: {few(below, 'folder')}"] if below else []
    return f"{folder}: {'; '.join(told)}" if told and read else None


def _by_stem(folder: Path) -> dict[str, Path]:
    """One file per recording: ``transcribe -f all`` writes each in every format."""
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
    ".jsonl": read_json,
    ".json": read_json,
    ".tsv": read_table,
    ".csv": read_table,
    ".trn": read_trn,
    ".stm": read_stm,
    ".ctm": read_ctm,
    ".nlp": read_nlp,
    ".srt": read_subtitles,
    ".vtt": read_subtitles,
}
