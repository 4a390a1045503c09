"""A transcript in progress: decoded chunks come in, segments go out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, Samples
from asr_llm.decoding.guards import describe_guard
from asr_llm.errors import AudioError
from asr_llm.transcription.chunks import Chunk
from asr_llm.transcription.journal import Recall
from asr_llm.transcription.stitching import stitch
from asr_llm.transcription.transcript import DecodedChunk, Segment, Transcript, Word

SHORTEST_SECONDS = 0.1


@dataclass
class Piece:
    """A chunk of an audio, later with its text; without a chunk, the end of the audio.

    Args:
        silent: at the end, the seconds of the audio that are in no chunk; negative if the header
            understates the duration.
    """

    draft: Draft
    chunk: Chunk | None
    heard: DecodedChunk | None = None
    silent: float = 0.0

    @property
    def length(self) -> float:
        """Seconds of the chunk."""
        return len(self.chunk.samples) / SAMPLE_RATE if self.chunk else 0.0

    @property
    def seconds(self) -> float:
        """Seconds that no earlier piece had."""
        if self.chunk is None:
            return self.silent
        return self.length - self.chunk.overlap / SAMPLE_RATE


@dataclass
class Draft:
    """What is known so far of a file or cut; ``seconds`` is the duration in its header.

    ``journal`` has the chunks decoded before; a ``Journal`` stores new ones, so that an interrupted
    run can continue.
    """

    name: str
    seconds: float = 0.0
    journal: Recall | None = None
    num_samples: int = 0
    decoded: float = 0.0
    error: AudioError | None = None
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open: Segment | None = None  # the next chunk may share its end

    @property
    def duration(self) -> float:
        """Actual duration in seconds."""
        return self.num_samples / SAMPLE_RATE

    def count(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """Pass on the blocks and count their samples, as far as they can be read."""
        try:
            for block in blocks:
                self.num_samples += len(block)
                yield block
        except AudioError as error:
            self.error = error

    def add(self, piece: Piece) -> list[Segment]:
        """Add a piece, in order; return the segments that are now final."""
        if piece.chunk is None or piece.heard is None:
            return self._close()
        chunk, heard = piece.chunk, piece.heard
        self.decoded += piece.seconds
        start, end = chunk.start / SAMPLE_RATE, chunk.end / SAMPLE_RATE
        self.notes += [
            f"{start:.1f} to {end:.1f} s: {describe_guard(guard)}" for guard in heard.guards
        ]
        text, words = heard.text, tuple(_later(word, start) for word in heard.words)
        if chunk.overlap and self.open:
            shared = chunk.overlap / SAMPLE_RATE
            before = self.open.end - self.open.start
            left, text = stitch(self.open.text, text, shared / before, shared / (end - start))
            start += shared / 2
            kept = self.open.words[: len(left.split())]
            self.open = replace(self.open, text=left, words=kept, end=round(start, 3))
            words = words[len(words) - len(text.split()) :]
        done = self._close()
        self.open = Segment(
            round(start, 3), round(end, 3), text, words, heard.confidence, heard.guards
        )
        return done

    def transcript(self, model: str, adapter: str | None) -> Transcript | AudioError:
        """The full transcript, once the last piece is added; the error if there is nothing else."""
        if self.error and not self.segments:
            return self.error
        return Transcript(
            Path(self.name),
            round(self.duration, 3),
            tuple(self.segments),
            model,
            adapter,
            self._note(),
            complete=self.error is None,
        )

    def _close(self) -> list[Segment]:
        done = [self.open] if self.open and self.open.text else []
        self.segments += done
        self.open = None
        return done

    def _note(self) -> str | None:
        """Problems that the text alone does not show."""
        if self.error:
            said = str(self.error).removeprefix(f"{self.name}: ")
            return "; ".join([*self.notes, f"{said}; what comes before is transcribed"])
        if self.duration < SHORTEST_SECONDS:
            return (
                f"{self.duration:.3f} s of audio is too short to hold a word; "
                f"expected at least {SHORTEST_SECONDS} s"
            )
        if not self.decoded:
            return "nobody speaks; nothing was transcribed"
        return "; ".join(self.notes) or None


def _later(word: Word, seconds: float) -> Word:
    return replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))
