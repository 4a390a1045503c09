"""Files of any length become transcripts with times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.audio import SAMPLE_RATE, Samples, audio_info, cut_audio, is_silent, read_blocks
from asr_llm.errors import AudioError, ScoreError
from asr_llm.transcription import NUM_BEAMS
from asr_llm.transcription.chunks import Chunk, chunks
from asr_llm.transcription.guards import Checked, decode_checked, told
from asr_llm.transcription.stitching import stitch
from asr_llm.transcription.transcript import Segment, Transcript
from asr_llm.transcription.vad import Kind, listener

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_llm.model.decoding import Decoded
    from asr_llm.model.salm import SpanSALM

SHORTEST_SECONDS = 0.1
_POOL_SECONDS = 240.0  # audio that is held and sorted by length before it is decoded

Progress = Callable[[float, float], None]
"""Called with (seconds done, seconds in total) of audio."""


class SpeechLLM:
    """A recogniser that is ready to use.

        model = SpeechLLM.load("mini", adapter="runs/medical/adapter")
        for segment in model.transcribe("visit.wav"):
            print(segment.start, segment.text)

    Args:
        model: put into evaluation mode.
        name: what transcripts call the model.
        adapter: what they call the adapter that was put on it, if any.
        batch_seconds: audio decoded at once, padding included; what fits in memory.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        chunk_seconds: longer audio is cut, at pauses; by default what the model can take.
        vad: what tells speech from the rest, see ``vad.listener``.
    """

    def __init__(
        self,
        model: SpanSALM,
        name: str,
        adapter: str | None = None,
        *,
        batch_seconds: float = 120.0,
        num_beams: int = NUM_BEAMS,
        chunk_seconds: float | None = None,
        vad: Kind = "silero",
    ) -> None:
        self.model = model.eval()
        self.name, self.adapter = name, adapter
        self.batch_seconds, self.num_beams = batch_seconds, num_beams
        self.chunk_seconds = chunk_seconds or model.chunk_seconds
        self.vad = vad

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        adapter: str | Path | None = None,
        fusion: float | None = None,
        num_beams: int = NUM_BEAMS,
        chunk_seconds: float | None = None,
        vad: Kind = "silero",
    ) -> SpeechLLM:
        """Load a checkpoint and put an adapter on it; on CUDA where there is one.

        Args:
            fusion: weight of an adapter of text, in place of its own.
            num_beams: hypotheses kept while decoding; 1 is greedy.
            chunk_seconds: longer audio is cut; by default what the model can take.
            vad: what tells speech from the rest: ``silero`` or ``energy``.

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
        return cls(
            loaded,
            str(model),
            None if adapter is None else str(adapter),
            num_beams=num_beams,
            chunk_seconds=chunk_seconds,
            vad=vad,
        )

    def transcribe(self, path: str | Path) -> Iterator[Segment]:
        """The segments of a file that have text, in order, while it is being decoded.

        Raises:
            AudioError: it cannot be read; or not to its end, after the segments before.
        """
        audio = _Audio(str(path))
        for piece in self._decoded(self._pieces(audio, read_blocks(path))):
            yield from audio.add(piece)
        yield from audio.finish()
        if audio.error:
            raise audio.error

    def transcript(self, path: str | Path) -> Transcript:
        """The transcript of a file.

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
        file does not stop the rest. A file that breaks off is transcribed as far as it goes.

        Args:
            on_done: progress; told the total from the files' headers, then kept right.
        """
        files = [_Audio(str(path), _seconds(path)) for path in map(Path, paths)]
        meter = _Meter(sum(audio.seconds for audio in files), on_done)
        pieces = chain.from_iterable(
            self._pieces(audio, read_blocks(audio.name)) for audio in files
        )
        for piece in self._decoded(pieces, meter):
            piece.audio.add(piece)
            if piece.chunk is None:
                yield self._result(piece.audio)

    def transcribe_cuts(self, cuts: CutSet, progress: Progress | None = None) -> dict[str, str]:
        """Transcribe lhotse cuts: the hypothesis of each cut, by its id.

        A cut that is short enough is an utterance, and decoded as it is.

        Raises:
            AudioError: the audio of a cut cannot be read.
            ScoreError: two cuts have the same id.
        """
        audios = [(_Audio(cut.id, cut.duration), cut) for cut in cuts]
        audios.sort(key=lambda one: one[0].seconds)
        meter = _Meter(sum(audio.seconds for audio, _ in audios), progress)
        pieces = chain.from_iterable(
            self._pieces(audio, iter([cut_audio(cut)]), whole=True) for audio, cut in audios
        )
        texts: dict[str, str] = {}
        for piece in self._decoded(pieces, meter):
            piece.audio.add(piece)
            if piece.chunk is None:
                if piece.audio.name in texts:
                    raise ScoreError(
                        f"two cuts have the id {piece.audio.name!r}; "
                        "expected an id of its own for each"
                    )
                piece.audio.finish()
                texts[piece.audio.name] = " ".join(s.text for s in piece.audio.segments)
        return texts

    def _pieces(
        self, audio: _Audio, blocks: Iterator[Samples], whole: bool = False
    ) -> Iterator[_Piece]:
        """The chunks of an audio, and an empty piece at its end."""
        counted = audio.count(blocks)
        if whole and audio.seconds <= self.chunk_seconds:
            samples = next(counted)
            loud = len(samples) >= SHORTEST_SECONDS * SAMPLE_RATE and not is_silent(samples)
            found: Iterable[Chunk] = [Chunk(0, samples)] if loud else []
        else:
            found = chunks(counted, listener(self.vad), self.chunk_seconds)
        for chunk in found:
            yield _Piece(audio, chunk)
        yield _Piece(audio, None)

    def _decoded(self, pieces: Iterable[_Piece], meter: _Meter | None = None) -> Iterator[_Piece]:
        """The pieces in their order, decoded a pool at a time, those of like length together."""
        for pool in _pools(pieces):
            to_decode = [piece for piece in pool if piece.chunk]
            for batch in _batches(to_decode, self.batch_seconds):
                samples = [piece.chunk.samples for piece in batch if piece.chunk]
                for piece, checked in zip(batch, decode_checked(self._decode, samples)):
                    piece.checked = checked
                if meter:
                    meter.add(sum(piece.seconds for piece in batch))
            for piece in pool:
                if meter and piece.chunk is None:
                    meter.add(piece.audio.seconds - piece.audio.decoded)  # what had no speech
                yield piece

    def _decode(self, samples: list[Samples]) -> list[Decoded]:
        from asr_llm.model.decoding import decode

        return decode(self.model, samples, num_beams=self.num_beams)

    def _result(self, audio: _Audio) -> Transcript | AudioError:
        audio.finish()
        if audio.error and not audio.segments:
            return audio.error
        return Transcript(
            Path(audio.name),
            round(audio.duration, 3),
            tuple(audio.segments),
            self.name,
            self.adapter,
            audio.note(),
            complete=audio.error is None,
        )


@dataclass
class _Piece:
    """A chunk of an audio with its text in time; without a chunk, the audio's end."""

    audio: _Audio
    chunk: Chunk | None
    checked: Checked | None = None

    @property
    def length(self) -> float:
        """Seconds of the chunk."""
        return len(self.chunk.samples) / SAMPLE_RATE if self.chunk else 0.0

    @property
    def seconds(self) -> float:
        """Seconds that no chunk before had."""
        return self.length - (self.chunk.overlap / SAMPLE_RATE if self.chunk else 0.0)


@dataclass
class _Audio:
    """What is known so far of a file or a cut; ``seconds`` is what its header says."""

    name: str
    seconds: float = 0.0
    num_samples: int = 0
    decoded: float = 0.0
    error: AudioError | None = None
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open: Segment | None = None  # the next chunk may share its end

    @property
    def duration(self) -> float:
        """Seconds that there were."""
        return self.num_samples / SAMPLE_RATE

    def count(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """The blocks, counted as they pass, as far as they can be read."""
        try:
            for block in blocks:
                self.num_samples += len(block)
                yield block
        except AudioError as error:
            self.error = error

    def add(self, piece: _Piece) -> list[Segment]:
        """Take up a piece; the segments that are now certain."""
        if piece.chunk is None or piece.checked is None:
            return []
        chunk, checked = piece.chunk, piece.checked
        self.decoded += piece.seconds
        start, end = chunk.start / SAMPLE_RATE, chunk.end / SAMPLE_RATE
        self.notes += [f"{start:.1f} to {end:.1f} s: {told(guard)}" for guard in checked.guards]
        text = checked.text
        if chunk.overlap and self.open:
            shared = chunk.overlap / SAMPLE_RATE
            before = self.open.end - self.open.start
            left, text = stitch(self.open.text, text, shared / before, shared / (end - start))
            start += shared / 2
            self.open = replace(self.open, text=left, end=round(start, 3))
        done = self.finish()
        self.open = Segment(round(start, 3), round(end, 3), text, guards=checked.guards)
        return done

    def finish(self) -> list[Segment]:
        """The last segment, once nothing can follow that changes it."""
        done = [self.open] if self.open and self.open.text else []
        self.segments += done
        self.open = None
        return done

    def note(self) -> str | None:
        """What the text alone does not tell."""
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


class _Meter:
    """Adds up the seconds that are done."""

    def __init__(self, total: float, progress: Progress | None) -> None:
        self.total, self.progress, self.done = total, progress, 0.0

    def add(self, seconds: float) -> None:
        self.done += seconds
        if seconds and self.progress is not None:
            # A header that told less than there was must not lead beyond the end.
            self.progress(min(self.done, self.total), self.total)


def _seconds(path: Path) -> float:
    try:
        return audio_info(path).duration
    except AudioError:
        return 0.0  # reported when it is read


def _pools(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces, made as they are taken, in groups long enough to sort by length."""
    pool: list[_Piece] = []
    for piece in pieces:
        pool.append(piece)
        if sum(one.seconds for one in pool) >= _POOL_SECONDS:
            yield pool
            pool = []
    if pool:
        yield pool


def _batches(pieces: list[_Piece], seconds: float) -> Iterator[list[_Piece]]:
    """Pieces of similar length together, at most ``seconds`` with padding, or one piece."""
    batch: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.length):
        if batch and (len(batch) + 1) * piece.length > seconds:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch
