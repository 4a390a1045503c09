"""Writes word times for other programs: NIST's CTM, and Praat's TextGrid per recording.

``timings`` reads both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.timings import TimedWord

if TYPE_CHECKING:
    from lhotse.cut import Cut


def write_ctm(cuts: Iterable[Cut], place: Path) -> None:
    """A line for each word: recording, channel 1, start, duration, word, confidence if known."""
    lines = []
    for name, (_, words) in _by_recording(cuts).items():
        for word in words:
            sure = "" if word.score is None else f" {word.score:.4f}"
            span = f"{word.start:.3f} {word.end - word.start:.3f}"
            lines.append(f"{name} 1 {span} {word.text}{sure}\n")
    place.write_text("".join(lines), "utf-8")


def write_textgrids(cuts: Iterable[Cut], folder: Path) -> None:
    """``<recording>.TextGrid`` for each, with the tier "words"."""
    from praatio import textgrid

    folder.mkdir(parents=True, exist_ok=True)
    for name, (duration, words) in _by_recording(cuts).items():
        intervals = [(word.start, word.end, word.text) for word in _sounding(words)]
        end = max(duration, *(end for _, end, _ in intervals), 0.0)
        grid = textgrid.Textgrid()
        grid.addTier(textgrid.IntervalTier("words", intervals, 0, end))
        grid.save(str(folder / f"{name}.TextGrid"), "long_textgrid", includeBlankSpaces=True)


def _by_recording(cuts: Iterable[Cut]) -> dict[str, tuple[float, list[TimedWord]]]:
    """By name, a recording's length and its words in order of time, seconds from its start."""
    found: dict[str, tuple[float, list[TimedWord]]] = {}
    for cut in cuts:
        whole = cut.recording.duration if cut.has_recording else cut.end
        name = re.sub(r"[^\w.+-]", "_", str(cut.recording_id)).lstrip(".") or "recording"
        _, words = found.setdefault(name, (whole, []))
        words += [
            TimedWord(i.symbol, cut.start + i.start, cut.start + i.end, i.score)
            for i in word_items(cut)
        ]
    return {name: (whole, sorted(w, key=lambda w: w.start)) for name, (whole, w) in found.items()}


def _sounding(words: list[TimedWord]) -> list[TimedWord]:
    """Make intervals positive and non-overlapping: silent words ("—") join a neighbour."""
    found: list[TimedWord] = []
    silent = ""
    for word in words:
        start = max(word.start, found[-1].end if found else 0.0)
        if word.end > start:
            text = f"{silent}{word.text}"
            found.append(TimedWord(text, start, word.end, word.score))
            silent = ""
        elif found:
            last = found.pop()
            found.append(TimedWord(f"{last.text} {word.text}", last.start, last.end, last.score))
        else:
            silent += f"{word.text} "
    return found
