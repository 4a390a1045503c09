"""Files of any length become transcripts with times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr_llm.corpus.audio import (
    SAMPLE_RATE,
    Samples,
    audio_info,
    cut_audio,
    is_silent,
    load_audio,
    split_at_pauses,
)
from asr_llm.corpus.biasing_list import BiasingList
from asr_llm.errors import AudioError, ScoreError
from asr_llm.transcription import NUM_BEAMS
from asr_llm.transcription.transcript import Segment, Transcript

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_llm.model.decoding import Decoded
    from asr_llm.model.salm import SpanSALM

PIECE_SECONDS = 20.0
"""Longer audio is cut at pauses: the model has not learned from longer utterances."""

SHORTEST_SECONDS = 0.1
_POOL_SECONDS = 600.0  # audio that is loaded and sorted by length before it is decoded

Progress = Callable[[float, float], None]
"""Called with (seconds done, seconds in total) of audio."""


class SpeechLLM:
    """A model that is ready to transcribe.

    Args:
        model: put into evaluation mode.
        name: what transcripts call the model.
        adapter: what they call the adapter that was put on it, if any.
        batch_seconds: audio decoded at once, padding included; what fits in memory.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        biasing: phrases to prefer.
    """

    def __init__(
        self,
        model: SpanSALM,
        name: str,
        adapter: str | None = None,
        *,
        batch_seconds: float = 120.0,
        num_beams: int = NUM_BEAMS,
        biasing: BiasingList | None = None,
    ) -> None:
        self.model = model.eval()
        self.name, self.adapter = name, adapter
        self.batch_seconds, self.num_beams = batch_seconds, num_beams
        self.prefer(biasing)

    def prefer(self, biasing: BiasingList | None) -> None:
        """Prefer these phrases from now on, in place of those before; None: no phrases."""
        from asr_llm.model.biasing import Phrases

        self._phrases = Phrases.of(biasing, self.model) if biasing is not None else None

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        adapter: str | Path | None = None,
        fusion: float | None = None,
        num_beams: int = NUM_BEAMS,
        biasing: BiasingList | None = None,
    ) -> SpeechLLM:
        """Load a checkpoint and put an adapter on it; on CUDA where there is one.

        Args:
            fusion: weight of an adapter of text, in place of its own.
            num_beams: hypotheses kept while decoding; 1 is greedy.
            biasing: phrases to prefer.

        Raises:
            CheckpointError: the checkpoint or the adapter does not load or do not fit.
        """
        import torch

        from asr_llm.model import checkpoints, lora

        loaded = checkpoints.load(model)
        if adapter is not None:
            lora.put_on(loaded, adapter, base=model, fusion=fusion)
        if torch.cuda.is_available():
            loaded.to("cuda")
        called = None if adapter is None else str(adapter)
        return cls(loaded, str(model), called, num_beams=num_beams, biasing=biasing)

    def transcribe(self, path: str | Path) -> Transcript:
        """Transcribe one file.

        Raises:
            AudioError: it cannot be read.
        """
        (result,) = self.transcribe_many([path])
        if isinstance(result, AudioError):
            raise result
        return result

    def transcribe_many(
        self, paths: Iterable[str | Path], on_done: Progress | None = None
    ) -> Iterator[Transcript | AudioError]:
        """Transcribe files; each gives a transcript, or the error that it cannot be read.

        Results come in the order of ``paths``, some minutes of audio at a time, and a bad
        file does not stop the rest.

        Args:
            on_done: progress; told the total from the files' headers, then kept right.
        """
        files = [(path, _seconds(path)) for path in map(Path, paths)]
        meter = _Meter(sum(seconds for _, seconds in files), on_done)
        for audio, pieces in self._recognise((_load(*file) for file in files), meter):
            yield audio.error or self._transcript(audio, pieces)

    def transcribe_cuts(self, cuts: CutSet, progress: Progress | None = None) -> dict[str, str]:
        """Transcribe lhotse cuts: the hypothesis of each cut, by its id.

        Raises:
            AudioError: the audio of a cut cannot be read.
            ScoreError: two cuts have the same id.
        """
        ordered = sorted(cuts, key=lambda cut: cut.duration)
        meter = _Meter(sum(cut.duration for cut in ordered), progress)
        audios = (_Audio(cut.id, cut.duration, cut_audio(cut)) for cut in ordered)
        texts: dict[str, str] = {}
        for audio, pieces in self._recognise(audios, meter):
            if audio.name in texts:
                raise ScoreError(
                    f"two cuts have the id {audio.name!r}; expected an id of its own for each"
                )
            texts[audio.name] = self._transcript(audio, pieces).text
        return texts

    def _recognise(
        self, audios: Iterable[_Audio], meter: _Meter
    ) -> Iterator[tuple[_Audio, list[_Piece]]]:
        """Decode audios a pool at a time, and give each back with its pieces."""
        from asr_llm.model.decoding import decode

        for pool in _pools(audios):
            pieces = [_split(audio.samples) for audio in pool]
            to_decode = [piece for own in pieces for piece in own if not piece.silent]
            meter.add(sum(a.seconds for a in pool) - sum(p.seconds for p in to_decode))
            for batch in _batches(to_decode, self.batch_seconds):
                samples = [piece.samples for piece in batch]
                texts = decode(self.model, samples, num_beams=self.num_beams, phrases=self._phrases)
                for piece, decoded in zip(batch, texts):
                    piece.decoded = decoded
                meter.add(sum(piece.seconds for piece in batch))
            yield from zip(pool, pieces)

    def _transcript(self, audio: _Audio, pieces: list[_Piece]) -> Transcript:
        segments = tuple(
            Segment(round(piece.start, 3), round(piece.end, 3), piece.decoded.text)
            for piece in pieces
            if piece.decoded and piece.decoded.text
        )
        duration = len(audio.samples) / SAMPLE_RATE
        note = _note(duration, pieces)
        return Transcript(
            Path(audio.name), round(duration, 3), segments, self.name, self.adapter, note
        )


@dataclass(frozen=True)
class _Audio:
    """A file or a cut; ``seconds`` is what its header said, before it was loaded."""

    name: str
    seconds: float
    samples: Samples
    error: AudioError | None = None


@dataclass
class _Piece:
    """A stretch of an audio that starts ``start`` seconds into it, and its text in time."""

    start: float
    samples: Samples
    silent: bool
    decoded: Decoded | None = None

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def end(self) -> float:
        return self.start + self.seconds


class _Meter:
    """Adds up the seconds that are done."""

    def __init__(self, total: float, progress: Progress | None) -> None:
        self.total, self.progress, self.done = total, progress, 0.0

    def add(self, seconds: float) -> None:
        self.done += seconds
        if self.progress is not None:
            # A header that told less than there was must not lead beyond the end.
            self.progress(min(self.done, self.total), self.total)


def _seconds(path: Path) -> float:
    try:
        return audio_info(path).duration
    except AudioError:
        return 0.0  # reported when it is loaded


def _load(path: Path, seconds: float) -> _Audio:
    try:
        return _Audio(str(path), seconds, load_audio(path))
    except AudioError as error:
        return _Audio(str(path), seconds, np.zeros(0, np.float32), error)


def _pools(audios: Iterable[_Audio]) -> Iterator[list[_Audio]]:
    """Audios, loaded as they are taken, in groups long enough to sort by length."""
    pool: list[_Audio] = []
    for audio in audios:
        pool.append(audio)
        if sum(len(a.samples) for a in pool) >= _POOL_SECONDS * SAMPLE_RATE:
            yield pool
            pool = []
    if pool:
        yield pool


def _split(samples: Samples) -> list[_Piece]:
    if len(samples) < SHORTEST_SECONDS * SAMPLE_RATE:
        return []
    return [
        _Piece(start / SAMPLE_RATE, samples[start:end], is_silent(samples[start:end]))
        for start, end in split_at_pauses(samples, PIECE_SECONDS)
    ]


def _batches(pieces: list[_Piece], seconds: float) -> Iterator[list[_Piece]]:
    """Pieces of similar length together, at most ``seconds`` with padding, or one piece."""
    batch: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.seconds):
        if batch and (len(batch) + 1) * piece.seconds > seconds:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _note(duration: float, pieces: list[_Piece]) -> str | None:
    """What the text alone does not tell."""
    if not pieces:
        return (
            f"{duration:.3f} s of audio is too short to hold a word; "
            f"expected at least {SHORTEST_SECONDS} s"
        )
    if all(piece.silent for piece in pieces):
        return "silent throughout; nothing was transcribed"
    notes = []
    for piece in pieces:
        where = f"{piece.start:.1f} to {piece.end:.1f} s: "
        if piece.decoded and piece.decoded.loop_cut:
            notes.append(where + "the model repeated itself, the repeats were cut")
        elif piece.decoded and not piece.decoded.complete:
            notes.append(where + "the model reached its limit of tokens, words may be missing")
        elif piece.decoded and not piece.decoded.text:
            notes.append(where + "the model heard no words")
    return "; ".join(notes) or None
