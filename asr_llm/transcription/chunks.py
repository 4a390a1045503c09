"""Where long audio is cut: at pauses, and with an overlap where there are none.

Shape legend: F frames of ``vad.FRAME`` samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr_llm.corpus.audio import SAMPLE_RATE, Samples
from asr_llm.transcription.vad import FRAME, Probabilities, Vad

_ONSET, _OFFSET = 0.5, 0.35  # speech begins at a probability of, and goes on until below
_SECOND = SAMPLE_RATE / FRAME
_SHORTEST = 3  # frames of speech: less is a click
_AROUND = round(0.2 * _SECOND)  # kept before and after speech, where a soft sound may be
_PAUSE = round(0.1 * _SECOND)  # a place to cut
_OVERLAP = round(2.0 * _SECOND)


@dataclass(frozen=True)
class Chunk:
    """A stretch of audio to decode: ``samples`` (T,) that begin at sample ``start``.

    Of the first ``overlap`` samples the chunk before heard the same: nobody paused there.
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
    """Frames ``start`` to ``end`` (exclusive) of a chunk; the search goes on from ``resume``."""

    start: int
    end: int
    resume: int


def chunks(
    blocks: Iterable[Samples], vad: Vad, max_seconds: float, pause_seconds: float = 1.0
) -> Iterator[Chunk]:
    """Cut an audio, given block by block, into chunks with speech in them.

    What lies between has none. A chunk is known as soon as what follows can't change it, and no
    more audio is held than that takes. Where the blocks end does not matter.

    Args:
        max_seconds: of a chunk; at least 4.
        pause_seconds: a pause in which a chunk always ends; at least 0.2.

    Raises:
        ValueError: one of them is less.
    """
    if max_seconds < 4 or pause_seconds < 0.2:
        raise ValueError(
            f"max_seconds must be at least 4 and pause_seconds 0.2, not {max_seconds} and "
            f"{pause_seconds}"
        )
    longest, pause = int(max_seconds * _SECOND), round(pause_seconds * _SECOND)
    samples, heard = np.zeros(0, np.float32), np.zeros(0, np.float32)
    offset = overlap = 0  # the first sample that is held; frames of it that were in a chunk
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
    """The next chunk of at most ``longest`` frames, in (F,) frames that begin outside of one.

    Without speech, an empty one that tells from where on to search again.

    Args:
        pause: frames without speech that end a chunk.
        overlap: frames at the beginning that the chunk before holds too, in the middle of speech.
        last: whether the audio ends with these frames.

    Returns:
        None where frames to come may change it.
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
    """Where a full chunk ends: at the longest of its later pauses, else in the middle of speech."""
    later = [(a, b) for a, b in pauses if b - a >= _PAUSE and a + b > longest]
    if not later:
        return longest, longest - _OVERLAP
    a, b = max(later, key=lambda pause: (pause[1] - pause[0], pause))
    return (a + b) // 2, (a + b) // 2


def _first(where: np.ndarray) -> int:
    """The first true place, or the length."""
    return int(where.argmax()) if where.any() else len(where)


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """First and last place, exclusive, of each run of true ones."""
    edges = np.flatnonzero(np.diff(where.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _with_last(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Blocks, and whether each is the last."""
    before = np.zeros(0, np.float32)
    for block in blocks:
        yield before, False
        before = block
    yield before, True
