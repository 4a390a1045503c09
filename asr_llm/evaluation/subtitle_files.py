"""Subtitles (SubRip and WebVTT) as rows: the whole text of a file is one row."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from asr_llm.evaluation.rows import Placed, Row, Side, fail, read_text

_TIME = r"(?:\d+:)?\d+:\d\d[.,]\d+"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")  # <i>, <v Ann>, <00:01.5>, {\an8}


def read_subtitles(path: Path, side: Side) -> Iterator[Placed]:
    """Read all cues joined by spaces, without markup; the id is the file name.

    A cue starts with its times and ends with a blank line; everything else (numbers, notes, styles)
    is skipped.
    """
    said: list[str] = []
    cues, inside = 0, False
    for line in read_text(path).split("\n"):
        if _TIMES.match(line):
            cues, inside = cues + 1, True
        elif not line.strip():
            inside = False
        elif inside:
            said.append(html.unescape(_TAG.sub("", line)))
    if not cues and not _is_empty(path):
        fail(path, "no cue", "times such as 00:00:01,000 --> 00:00:02,500 over each text")
    yield f"{path}:1", Row(path.stem, " ".join(" ".join(said).split()), recording=path.stem)


def _is_empty(path: Path) -> bool:
    """Whether the file is that of audio without speech; WebVTT still has its header then."""
    return read_text(path).strip() in ("", "WEBVTT")
