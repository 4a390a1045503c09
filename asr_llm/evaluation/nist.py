"""NIST formats: sclite's trn, and segments (stm) and timed words (ctm) of recordings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asr_llm.errors import number_of
from asr_llm.evaluation.alternatives import first, parse
from asr_llm.evaluation.rows import Placed, Row, Side, fail, read_lines

_IGNORED = "ignore_time_segment_in_scoring"


@dataclass(frozen=True)
class PlacedWords:
    """Words of a CTM by the id of the STM segment that contains their midpoint, in time order.

    Every scored segment has a text, possibly empty. ``ignored`` counts words in segments excluded
    from scoring, ``outside`` words in no segment.
    """

    texts: dict[str, str]
    ignored: int
    outside: int


def ctm_for_stm(ctm: str | Path, stm: str | Path) -> PlacedWords:
    """Assign the words of a CTM to the segments of an STM, by recording and channel.

    A segment contains a word whose midpoint is at or after its start and before its end; of
    overlapping segments, the first in the file takes it.

    Raises:
        ScoreError: a file is malformed, or no word lies in any segment.
    """
    segments: dict[tuple[str, str], list[_Segment]] = {}
    texts: dict[str, list[str]] = {}
    for segment in _segments(Path(stm)):
        segments.setdefault((segment.recording, segment.channel), []).append(segment)
        if not segment.ignored:
            texts[segment.id] = []
    words = _words(Path(ctm))
    ignored = outside = 0
    for word in words:
        candidates = segments.get((word.recording, word.channel), ())
        middle = word.start + word.duration / 2
        home = next((s for s in candidates if s.start <= middle < s.end), None)
        if home is None:
            outside += 1
        elif home.ignored:
            ignored += 1
        else:
            texts[home.id].append(word.text)
    if words and outside == len(words):
        fail(
            ctm,
            f"{number_of(outside, 'word')}, none in a segment of {stm}",
            "the same names and channels",
        )
    return PlacedWords({i: " ".join(found) for i, found in texts.items()}, ignored, outside)


def read_trn(path: Path, side: Side) -> Iterator[Placed]:
    """Read a trn. The speaker is the id up to its first "-" or "_", as in sclite."""
    return trn_rows(read_lines(path, comments=True), side)


def trn_rows(lines: Iterable[tuple[str, str]], side: Side) -> Iterator[Placed]:
    """Parse the lines of a trn, each with its file and line."""
    for place, line in lines:
        found = re.fullmatch(r"(.*)\(([^()\s]+)\)", line.strip(), re.DOTALL)
        if found is None:
            fail(place, "no id in brackets at the end", "text (speaker-utterance)")
        text, name = found[1].strip(), found[2]
        mark = re.search("[-_]", name)
        speaker = name[: mark.start()] or None if mark else None
        text, written = _alternatives(place, text) if side == "reference" else (text, None)
        yield place, Row(name, text, speaker, alternatives=written)


def _alternatives(place: str, text: str) -> tuple[str, str | None]:
    """The text with the first of each ``{ a / b }``, and the original if it has any."""
    if "{" not in text and "}" not in text:
        return text, None
    try:
        return first(parse(text)), text
    except ValueError as error:
        fail(place, str(error), "{ one / another }")


@dataclass(frozen=True)
class _Segment:
    """A line of an STM; times in seconds."""

    place: str
    recording: str
    channel: str
    speaker: str
    start: float
    end: float
    text: str

    @property
    def id(self) -> str:
        times = f"{round(self.start * 1000)}-{round(self.end * 1000)}"
        return f"{self.recording}-{self.channel}-{times}"

    @property
    def ignored(self) -> bool:
        return self.text.lower() == _IGNORED


def _segments(path: Path) -> Iterator[_Segment]:
    for place, line in read_lines(path, comments=True):
        fields = line.split(maxsplit=5)
        times = _times(fields[3:5])
        if times is None or times[1] < times[0]:
            expected = "recording channel speaker start end [<label>] text, times in seconds"
            fail(place, f"{number_of(len(fields), 'column')} or no times", expected)
        # Leading angle brackets hold the segment's label: <o,f0,male>.
        text = re.sub(r"^<[^<>\s]*>\s*", "", fields[5].strip()) if len(fields) > 5 else ""
        yield _Segment(place, fields[0], fields[1], fields[2], *times, text)


def read_stm(path: Path, side: Side) -> Iterator[Placed]:
    for segment in _segments(path):
        if not segment.ignored:
            text, written = _alternatives(segment.place, segment.text)
            yield (
                segment.place,
                Row(segment.id, text, segment.speaker, segment.recording, alternatives=written),
            )


class _Word(NamedTuple):
    """A line of a CTM; times in seconds."""

    place: str
    recording: str
    channel: str
    start: float
    duration: float
    text: str


def _words(path: Path) -> list[_Word]:
    """Words in time order, without Kaldi's silence ``<eps>``."""
    words = []
    for place, line in read_lines(path, comments=True):
        fields = line.split()
        times = _times(fields[2:4])
        if times is None or len(fields) < 5:
            expected = "recording channel start duration word [confidence], times in seconds"
            fail(place, f"{number_of(len(fields), 'column')} or no times", expected)
        if fields[4] != "<eps>":
            words.append(_Word(place, fields[0], fields[1], *times, fields[4]))
    return sorted(words, key=lambda word: word.start)


def read_ctm(path: Path, side: Side) -> Iterator[Placed]:
    found: dict[tuple[str, str], list[_Word]] = {}
    for word in _words(path):
        found.setdefault((word.recording, word.channel), []).append(word)
    channels = Counter(recording for recording, _ in found)
    for (recording, channel), words in found.items():
        name = recording if channels[recording] == 1 else f"{recording}-{channel}"
        yield words[0].place, Row(name, " ".join(w.text for w in words), recording=recording)


def _times(fields: Sequence[str]) -> tuple[float, float] | None:
    try:
        first, second = map(float, fields)
    except ValueError:
        return None
    fine = math.isfinite(first) and math.isfinite(second) and first >= 0 and second >= 0
    return (first, second) if fine else None
