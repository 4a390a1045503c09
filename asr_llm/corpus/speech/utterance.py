"""An utterance in memory, its word times, and its delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE


@dataclass(frozen=True)
class Word:
    """A white-space word of the text and when it is spoken, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """One utterance in memory: ``samples`` float32 (T,) at 16 kHz, and its words if timed.

    ``recorded``: it will recur sample for sample, so derived data is worth caching. ``first_pass``:
    another recogniser's transcript.
    """

    text: str
    speaker: str
    samples: np.ndarray
    words: tuple[Word, ...] = ()
    recorded: bool = False
    first_pass: str | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Delivery:
    """How a text is spoken: ``rate`` in words per minute, the rest from 0 to 99.

    ``tract`` applies to hibari only: above 50 the vocal tract is shorter and formants are higher.
    """

    rate: int = 165
    pitch: int = 50
    range: int = 50
    tract: int = 50


def share_time(words: Sequence[str], start: float, end: float) -> list[float]:
    """Starts of words that share a time span in proportion to their letters and digits.

    Punctuation takes no time, unless there is nothing else.
    """
    weights = [sum(map(str.isalnum, word)) for word in words]
    if not sum(weights):
        weights = [len(word) for word in words]
    before = np.cumsum([0, *weights])
    return [start + (end - start) * float(share) for share in before[:-1] / max(before[-1], 1)]


def last_sound(samples: np.ndarray, start: float, end: float) -> float:
    """End of the sound between two times, so that pauses belong to no word."""
    begin, stop = int(start * SAMPLE_RATE), int(end * SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples[begin:stop]) > 1e-3)
    last = (begin + int(loud[-1]) + 1) / SAMPLE_RATE if len(loud) else start
    return min(max(start, last), end)
