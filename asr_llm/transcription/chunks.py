"""Splits long audio at pauses, or with an overlap where there are none.

Shape legend: F frames of ``vad.FRAME`` samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, Samples
from asr_llm.transcription.vad import FRAME, Probabilities, Vad

_ONSET, _OFFSET = 0.5, 0.35  # probability at which speech starts, and below which it ends
_SECOND = SAMPLE_RATE / FRAME
_SHORTEST = 3  # frames of speech: less is a click
_AROUND = round(0.2 * _SECOND)  # kept before and after speech, for soft sounds
_PAUSE = round(0.1 * _SECOND)  # long enough to cut in
_OVERLAP = round(2.0 * _SECOND)


@dataclass(frozen=True)
class Chunk:
    """A stretch of audio to decode: ``samples`` (T,) starting at sample ``start``.

    The first ``overlap`` samples are also in the previous chunk, because there was no pause.
    """

    start: int
    samples: Samples
    overlap: int = 0

    @property
    def end(self) -> int:
        """The sample after the last."""
        return self.start + len(self.samples)


@dataclass(frozen=True)
class Cut:
    """Frames ``start`` to ``end`` (exclusive) of a chunk; the search continues at ``resume``."""

    start: int
    end: int
    resume: int


def chunks(
    blocks: Iterable[Samples], vad: Vad, max_seconds: float, pause_seconds: float = 1.0
) -> Iterator[Chunk]:
    """Split an audio stream into chunks that contain speech.

    Audio between chunks has no speech. A chunk is yielded as soon as later audio cannot change it,
    and no more audio is held than that requires. Block boundaries do not matter.

    Args:
        max_seconds: longest chunk; at least 4.
        pause_seconds: a pause that always ends a chunk; at least 0.2.

    Raises:
        ValueError: one of them is too small.
    """
    if max_seconds < 4 or pause_seconds < 0.2:
        raise ValueError(
            f"max_seconds must be at least 4 and pause_seconds 0.2, not {max_seconds} and "
            f"{pause_seconds}"
        )
    longest, pause = int(max_seconds * _SECOND), round(pause_seconds * _SECOND)
    samples, heard = np.zeros(0, np.float32), np.zeros(0, np.float32)
    offset = overlap = 0  # first sample held; frames already in a chunk
    rest = np.zeros(0, np.float32)
    for block, last in _with_last(blocks):
        rest = np.concatenate([rest, block])
        whole = len(rest) // FRAME * FRAME
        new, rest = (rest, rest[:0]) if last else (rest[:whole], rest[whole:])
        samples = np.concatenate([samples, new])
        heard = np.concatenate([heard, vad.hear(np.pad(new, (0, -len(new) % FRAME)))])
        while len(heard) and (cut := next_cut(heard, longest, pause, overlap, last)):
            if cut.end > cut.start:
                piece = samples[cut.start * FRAME : cut.end * FRAME]
                shared = max(0, overlap - cut.start) * FRAME
                yield Chunk(offset + cut.start * FRAME, piece, min(shared, len(piece)))
                overlap = cut.end - cut.resume
            else:
                overlap = max(0, overlap - cut.resume)
            samples, heard = samples[cut.resume * FRAME :], heard[cut.resume :]
            offset += cut.resume * FRAME


def next_cut(
    heard: Probabilities, longest: int, pause: int, overlap: int = 0, last: bool = True
) -> Cut | None:
    """Find the next chunk of at most ``longest`` frames, in (F,) frames that start outside of one.

    Without speech, an empty one that says where to search next.

    Args:
        pause: frames without speech that end a chunk.
        overlap: initial frames that the previous chunk has too, in the middle of speech.
        last: whether the audio ends with these frames.

    Returns:
        None if later frames may change it.
    """
    onset = 0 if overlap else _first(heard >= _ONSET)
    if onset == len(heard):
        silent = len(heard) - (0 if last else _AROUND)
        return Cut(0, 0, silent) if silent > 0 else None
    start = max(0, onset - _AROUND)
    known = heard[start : start + longest]
    quiet = known < _OFFSET
    quiet[: onset - start] = False
    pauses = _runs(quiet)
    if long := [a for a, b in pauses if b - a >= pause]:
        end = resume = long[0] + _AROUND
    elif len(known) == longest < len(heard) - start:
        end, resume = _inside(pauses, longest)
        return Cut(start, start + end, start + resume)
    elif last:
        trailing = pauses and pauses[-1][1] == len(known)
        end = min(pauses[-1][0] + _AROUND, len(known)) if trailing else len(known)
        resume = len(known)
    else:
        return None
    nothing = end <= overlap or (known[:end] >= _ONSET).sum() < _SHORTEST
    return Cut(0, 0, start + resume) if nothing else Cut(start, start + end, start + resume)


def _inside(pauses: list[tuple[int, int]], longest: int) -> tuple[int, int]:
    """Where to end a full chunk: at the longest of its later pauses, else within speech."""
    later = [(a, b) for a, b in pauses if b - a >= _PAUSE and a + b > longest]
    if not later:
        return longest, longest - _OVERLAP
    a, b = max(later, key=lambda pause: (pause[1] - pause[0], pause))
    return (a + b) // 2, (a + b) // 2


def _first(where: np.ndarray) -> int:
    """Index of the first true value, or the length."""
    return int(where.argmax()) if where.any() else len(where)


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """First and last index (exclusive) of each run of true values."""
    edges = np.flatnonzero(np.diff(where.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _with_last(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Blocks, each with whether it is the last."""
    before = np.zeros(0, np.float32)
    for block in blocks:
        yield before, False
        before = block
    yield before, True
