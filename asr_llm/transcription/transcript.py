"""The parts of a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_llm.decoding.results import Guard


@dataclass(frozen=True)
class Word:
    """A word as written, ``start`` to ``end`` in seconds.

    ``confidence`` is the probability, 0 to 1, that the word is right.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class DecodedChunk:
    """The text of a chunk of audio; word times are relative to the chunk."""

    text: str
    guards: tuple[Guard, ...] = ()
    words: tuple[Word, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """Text of a stretch of audio, ``start`` to ``end`` in seconds.

    ``words`` is empty without word times. ``channel`` counts from 1 and is None if channels were
    mixed; ``speaker`` is None if unknown.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    guards: tuple[Guard, ...] = ()
    channel: int | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Transcript:
    """The transcript of a file of ``duration`` seconds.

    ``segments`` has those with text, in order; ``note`` reports problems: no speech, or text that
    may be incomplete. ``complete`` is false if the file is truncated. ``model_sha256`` and
    ``adapter_sha256`` identify the weights, if known.
    """

    path: Path
    duration: float
    segments: tuple[Segment, ...]
    model: str
    adapter: str | None = None
    note: str | None = None
    model_sha256: str | None = None
    adapter_sha256: str | None = None
    complete: bool = True

    @property
    def text(self) -> str:
        """The text of all segments, separated by spaces."""
        return " ".join(segment.text for segment in self.segments)
