"""What a transcript is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr_llm.decoding.results import Guard


@dataclass(frozen=True)
class Word:
    """A word as it is written, ``start`` to ``end`` in seconds.

    ``confidence`` is the probability, 0 to 1, that the word is right.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class DecodedChunk:
    """What was written for a chunk of audio; the words' times count from its beginning."""

    text: str
    guards: tuple[Guard, ...] = ()
    words: tuple[Word, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """Text of a stretch of audio, ``start`` to ``end`` in seconds.

    ``words`` is empty where nothing told their times. ``channel`` counts from 1, and is None where
    channels were mixed; ``speaker`` is None where nothing told one from another.
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
    """What was said in a file of ``duration`` seconds.

    ``segments`` holds those with text, in order; ``note`` says what the reader should know:
    that there was nothing to hear, or where the text may lack something. ``complete`` is false
    where the file broke off. ``model_sha256`` and ``adapter_sha256`` tell their weights from
    others of the same name, where known.
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
