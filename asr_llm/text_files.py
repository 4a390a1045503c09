"""Reads all text, lists and tables that users provide.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one. Lines end in LF, CR LF or CR.
Other encodings and binary data are rejected with the line where they show. The amount read is
limited, so that neither a device nor a decompression bomb can fill the memory.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO

from asr_llm.errors import AsrLlmError

LAYOUTS = (
    "cuts.jsonl.gz",
    "cuts.jsonl",
    "manifest.json",
    "manifest.jsonl",
    "metadata.jsonl",
    "metadata.csv",
    "trans.txt",
)
"""File names that mark a folder of recordings with transcripts."""

EXPECTED = "expected a text file"
"""What to do, in errors about what is not text at all."""

MOST_BYTES = 2**30
"""Maximum size of a text, unpacked."""

_BLOCK = 2**20  # bytes

# Longest first: the mark of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a]")
_COMMENT = re.compile(r"#(\s|$)")
_SEPARATOR = re.compile(r'"?sep=([,;|\t])"?,*', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class RowError(ValueError):
    """A row that is not one of a table, by the line it begins in."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(f"not a row of a table ({reason})")


class TextFileError(AsrLlmError):
    """A file cannot be read as text: where (``line`` from 1, or None), why, and how to fix it."""

    def __init__(self, path: Path, line: int | None, found: str, fix: str) -> None:
        self.path, self.line, self.found, self.fix = path, line, found, fix
        place = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {found}; {fix}")


def read_text(path: Path, *, most: int = MOST_BYTES) -> str:
    """A file's text without byte order mark, with line feeds.

    ``.gz`` is unpacked. A pipe or ``/dev/stdin`` is read to its end.

    Args:
        most: maximum size in bytes, unpacked.

    Raises:
        TextFileError: it cannot be read, is too large, is not text, or has another encoding.
    """
    return _decoded(path, _read_bytes(path, most))


def read_lines(path: Path, *, most_lines: int | None = None) -> list[str]:
    """The lines of a text without line ends; the last one only if not empty.

    Not splitlines(), which also splits at characters inside a line, such as U+2028.

    Raises:
        TextFileError: see ``read_text``; or there are more than ``most_lines``.
    """
    text = read_text(path)
    if most_lines is not None and text.count("\n") > most_lines:
        found = f"{text.count(chr(10)):,} lines; expected at most {most_lines:,}"
        raise TextFileError(path, None, found, "take the part that matters")
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def is_comment(line: str) -> bool:
    """Whether a line is a comment: ``# `` at its start. "#11 blade" and "#MeToo" are text."""
    return bool(_COMMENT.match(line))


def cells(line: str, delimiter: str = "\t") -> list[str]:
    """The cells of a table row, without a spreadsheet's quotes.

    A quote that does not enclose a whole cell is part of the text: ``5" catheter``.
    """
    if '"' not in line:
        return line.split(delimiter)
    found, at = list[str](), 0
    while at <= len(line):
        quoted = _QUOTED.match(line, at)
        end = quoted.end() if quoted else at
        if quoted and (end == len(line) or line.startswith(delimiter, end)):
            found.append(line[at + 1 : end - 1].replace('""', '"'))
        else:
            end = line.find(delimiter, at)
            end = len(line) if end < 0 else end
            found.append(line[at:end])
        at = end + len(delimiter)
    return found


def is_open(line: str, delimiter: str = "\t") -> bool:
    """Whether a line has a quoted cell that continues on the next line."""
    return '"' in line and any(
        cell.startswith('"') and cell.count('"') % 2 for cell in cells(line, delimiter)
    )


def comma_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV with the line each begins in, from 1; a quoted cell may run over several.

    Where decimals have commas, spreadsheets part cells by semicolons, or by what a first line
    such as ``sep=;`` says; others export tabs under this name.

    Raises:
        RowError: a quote is not closed, or a letter follows one.
    """
    header, _, rest = text.partition("\n")
    line, told = 1, _SEPARATOR.fullmatch(header)
    delimiter = told[1] if told else next((mark for mark in ",;\t" if mark in header), ",")
    if told:
        text, line = rest, 2
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = line
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + before
    except csv.Error as error:
        raise RowError(line, str(error)) from None


def is_pipe(path: Path) -> bool:
    """Whether a path is a pipe, a terminal or ``/dev/stdin``.

    It has no suffix or folder, and can be read only once.
    """
    if str(path).startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/")):
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def is_whole(text: str) -> bool:
    """Whether a text has no lone surrogates: JSON can escape them, but they cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def ids_of(audios: Iterable[str]) -> dict[str, str]:
    """An id for each recording's path: its stem, with as many folders as make it unique."""
    parts = {audio: _id_parts(audio) for audio in audios}
    depth = dict.fromkeys(parts, 1)

    def name(audio: str) -> str:
        return "/".join(parts[audio][-depth[audio] :])

    while True:
        shared = Counter(map(name, parts))
        deeper = [a for a in parts if shared[name(a)] > 1 and depth[a] < len(parts[a])]
        if not deeper:
            return {audio: name(audio) for audio in parts}
        for audio in deeper:
            depth[audio] += 1


def _id_parts(audio: str) -> tuple[str, ...]:
    return PurePath(audio.replace("\\", "/")).with_suffix("").parts or (audio,)


def no_file_of(folder: Path, path: Path) -> str | None:
    """Why a file of a folder must not be read: not a regular file, or a link out of the folder.

    A folder from someone else may link to private files, whose text would end up in adapters and
    reports.
    """
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return "a link that leads out of the folder"
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a file" if not is_pipe(path) else "a pipe or device, not a file"
    except (OSError, RuntimeError) as error:  # a link to itself
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


def _read_bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".gz":
                with gzip.open(file) as unpacked:
                    data = _read_up_to(unpacked, most + 1)
            else:
                data = _read_up_to(file, most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TextFileError(
            path, None, f"cannot be unpacked ({error})", "write it again with gzip"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be read"
        raise TextFileError(path, None, reason, EXPECTED) from error
    if len(data) > most:
        raise TextFileError(
            path, None, f"more than {most / 2**20:,.0f} MB of text", "expected less: take a part"
        )
    return data


def _read_up_to(file: IO[bytes] | gzip.GzipFile, most: int) -> bytes:
    """In blocks: to ask for ``most`` at once takes as much memory, however short the file."""
    blocks, left = list[bytes](), most
    while left and (block := file.read(min(_BLOCK, left))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


_AUDIO = re.compile(
    rb"RIFF....WAVE|RF64|fLaC|OggS|ID3|\xff[\xfb\xf3\xf2]|....ftyp|\x1aE\xdf\xa3|FORM....AIF|#!AMR",
    re.DOTALL,
)


def _decoded(path: Path, data: bytes) -> str:
    if _AUDIO.match(data) and b"\0" in data:  # no text has it in UTF-8
        raise TextFileError(path, None, "this looks like audio", EXPECTED)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        found = f"not {encoding.removesuffix('-sig').upper()} text"
        line = _lines_in(before.decode(encoding, "ignore")) + 1
        raise TextFileError(path, line, found, "save it as UTF-8") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.endswith("\x1a"):  # how DOS ends a file
        text = text[:-1]
    if control := _CONTROL.search(text):
        what = "not text: it holds control characters, as recordings and documents do"
        if control.group() == "\0":
            what += ", and UTF-16 without its byte order mark"
        line = text.count("\n", 0, control.start()) + 1
        raise TextFileError(path, line, what, "save it as plain text (UTF-8)")
    return text


def _lines_in(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8 text; its last character may be cut."""
    text = head.decode("utf-8", "ignore")
    return len(head) - len(text.encode()) < 4 and not _CONTROL.search(text)


def numbered(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines that are neither blank nor comments, with their numbers from 1."""
    for number, line in enumerate(lines, start=1):
        if line.strip() and not is_comment(line):
            yield number, line
