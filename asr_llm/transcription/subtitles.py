"""Splits transcripts into readable subtitles.

A cue has a few words for a few seconds. Segments are split where the total cost is lowest: splits
after sentences or at pauses are free, others cost more, and cues that are too short or too fast are
penalised. The limits are those of subtitling guides (Netflix, Timed Text Style Guide, English; BBC,
Subtitle Guidelines). All times here are whole milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from asr_llm.transcription.transcript import Segment, Transcript

LONGEST_MS = 7000
"""Longest cue, except for a single word."""

READING_SPEED = 17
"""Comfortable reading speed in characters per second; cues are extended to it if there is room."""

FASTEST_SPEED = 20
"""Maximum reading speed in characters per second."""

SHORTEST_MS = 1000
"""Minimum duration, even of one word, if there is room."""

_LEAST_MS = 100  # minimum without room, if the audio is long enough
_PAUSE_MS = 300
_END_OF_SENTENCE = re.compile(r"""[.?!…]["'”’)\]]*$""")
_END_OF_CLAUSE = re.compile(r"""[,;:–—]["'”’)\]]*$""")


@dataclass(frozen=True)
class Layout:
    """Size of a subtitle: ``max_line_count`` lines of ``max_line_width`` characters."""

    max_line_width: int = 42
    max_line_count: int = 2


class Cue(NamedTuple):
    """Lines of text shown from ``start`` to ``end``, in milliseconds."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str | None = None


class _Token(NamedTuple):
    """A word, or as much of it as fits in a line; in milliseconds."""

    text: str
    start: int
    end: int


def cues(transcript: Transcript, layout: Layout | None = None) -> list[Cue]:
    """Subtitles of a transcript: all of its text, in order, without overlap.

    They lie within the audio; cues of several speakers alternate. Words are timed by the segments'
    ``words`` if these match the segments' text, else in proportion to their characters.
    """
    layout = layout or Layout()
    duration = int(transcript.duration * 1000)
    groups = [
        (segment.speaker, group)
        for segment in transcript.segments
        for group in _cut(_tokens(segment, layout.max_line_width), layout)
    ]
    if any(speaker for speaker, _ in groups):
        groups.sort(key=lambda both: both[1][0].start)
    starts = _spread([min(group[0].start, duration) for _, group in groups], duration)
    found = []
    for i, ((speaker, group), start) in enumerate(zip(groups, starts)):
        lines = tuple(_wrap([token.text for token in group], layout.max_line_width))
        text_ms = sum(map(len, lines)) * 1000 // READING_SPEED
        wanted = max(group[-1].end, start + min(max(text_ms, SHORTEST_MS), LONGEST_MS))
        if len(group) > 1:
            wanted = min(wanted, start + LONGEST_MS)
        until = starts[i + 1] if i + 1 < len(starts) else duration
        found.append(Cue(start, min(wanted, until), lines, speaker))
    return found


def _tokens(segment: Segment, width: int) -> list[_Token]:
    """The words of a segment with their times; words longer than a line are split."""
    texts = one_line(segment.text).split()
    start, end = round(segment.start * 1000), round(segment.end * 1000)
    if [one_line(word.text) for word in segment.words] == texts:
        timed = [
            _Token(text, round(word.start * 1000), round(word.end * 1000))
            for text, word in zip(texts, segment.words)
        ]
    else:
        timed = _in_proportion(texts, start, end, gap=1)
    return [
        piece
        for token in timed
        for piece in _in_proportion(
            [token.text[i : i + width] for i in range(0, len(token.text), width)],
            token.start,
            token.end,
            gap=0,
        )
    ]


def _in_proportion(texts: list[str], start: int, end: int, gap: int) -> list[_Token]:
    """Times in proportion to characters, with ``gap`` characters between two texts."""
    total = max(1, sum(len(text) + gap for text in texts) - gap)
    found, before = [], 0
    for text in texts:
        times = (start + (end - start) * n // total for n in (before, before + len(text)))
        found.append(_Token(text, *times))
        before += len(text) + gap
    return found


def _cut(tokens: Sequence[_Token], layout: Layout) -> list[Sequence[_Token]]:
    """Split words into cues with the lowest total cost, by dynamic programming."""
    best = [0.0] + [float("inf")] * len(tokens)  # cost of the first n words, split after the last
    last = [0] * len(best)  # start of the last of their cues
    for begin in range(len(tokens)):
        for end in range(begin + 1, len(tokens) + 1):
            cue = tokens[begin:end]
            if not _fits(cue, layout):
                break
            following = tokens[end] if end < len(tokens) else None
            cost = best[begin] + _cost(cue, following)
            if cost < best[end]:
                best[end], last[end] = cost, begin
    groups, end = [], len(tokens)
    while end:
        groups.append(tokens[last[end] : end])
        end = last[end]
    return groups[::-1]


def _fits(cue: Sequence[_Token], layout: Layout) -> bool:
    if len(cue) == 1:
        return True
    lines = _fill([token.text for token in cue], layout.max_line_width)
    return len(lines) <= layout.max_line_count and cue[-1].end - cue[0].start <= LONGEST_MS


def _cost(cue: Sequence[_Token], following: _Token | None) -> float:
    """Cost of a cue of these words: where it is split, how short and how fast it is.

    The unit is a split between two words without any boundary.
    """
    cost = 0.25  # favours fewer cues
    if following is not None:
        pause = following.start - cue[-1].end >= _PAUSE_MS
        if not pause and not _END_OF_SENTENCE.search(cue[-1].text):
            cost += 0.3 if _END_OF_CLAUSE.search(cue[-1].text) else 1.0
    characters = sum(len(token.text) + 1 for token in cue) - 1
    shown = cue[-1].end - cue[0].start
    if following is not None:  # it may be shown until then
        shown = min(max(shown, following.start - cue[0].start), LONGEST_MS)
        cost += max(0.0, 1 - shown / SHORTEST_MS)
    speed = characters * 1000 / max(shown, 1)
    return cost + min(2.0, max(0.0, speed / FASTEST_SPEED - 1))


def _wrap(words: list[str], width: int) -> list[str]:
    """As few lines as possible, and of those the most balanced."""
    lines = _fill(words, width)
    for narrower in range(width - 1, 0, -1):
        balanced = _fill(words, narrower)
        if len(balanced) > len(lines) or max(map(len, balanced)) > narrower:
            break
        lines = balanced
    return lines


def _fill(words: list[str], width: int) -> list[str]:
    """Join words into lines of at most ``width``; a longer word gets its own line."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def _spread(starts: list[int], duration: int) -> list[int]:
    """Separate starts, in order and before the end of the audio."""
    least = min(_LEAST_MS, duration // max(1, len(starts)))
    later: list[int] = []
    for start in starts:
        later.append(max(start, later[-1] + least) if later else start)
    found, until = list[int](), duration
    for start in reversed(later):
        until = min(start, until - least)
        found.append(until)
    return found[::-1]


def one_line(text: str) -> str:
    """Text whose white space and control characters are single spaces."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
