"""From audio to decoded chunks: split at pauses, decode in batches, align words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, Samples, is_silent
from asr_llm.errors import CheckpointError
from asr_llm.transcription.batching import batches, fitting_seconds, pools
from asr_llm.transcription.chunks import Chunk, chunks
from asr_llm.transcription.drafts import SHORTEST_SECONDS, Draft, Piece
from asr_llm.transcription.options import TranscribeOptions
from asr_llm.transcription.transcript import DecodedChunk, Word
from asr_llm.transcription.vad import listener
from asr_llm.transcription.word_times import word_times

if TYPE_CHECKING:
    from asr_llm.decoding.decoder import Decoder
    from asr_llm.decoding.results import Decoded
    from asr_llm.model.ctc import CtcModel

Progress = Callable[[float, float], None]
"""Called with (seconds done, seconds in total) of audio."""


class Meter:
    """Sums the seconds that are done."""

    def __init__(self, total: float, progress: Progress | None) -> None:
        self.total, self.progress, self.done = total, progress, 0.0

    def add(self, seconds: float) -> None:
        """Count seconds that are done, and report."""
        self.done += seconds
        if seconds and self.progress is not None:
            # The header may understate the duration: never report more than the total.
            self.progress(min(self.done, self.total), self.total)


class Pipeline:
    """Splits, decodes and aligns audio. Options are passed with each call.

    Args:
        decoder: of the model to transcribe with.
        aligner: gives word times, the model's own CTC head or another; None: no word times.
        num_beams: the batch size fits this many beams; with more, batches are smaller.
        batch_seconds: audio per batch, including padding; default: what should fit in memory.
            Halved when memory runs out.
    """

    def __init__(
        self,
        decoder: Decoder,
        aligner: CtcModel | None = None,
        *,
        num_beams: int,
        batch_seconds: float | None = None,
    ) -> None:
        self.decoder, self.aligner, self.num_beams = decoder, aligner, num_beams
        self.batch_seconds = batch_seconds or fitting_seconds(num_beams)

    def seconds(self, options: TranscribeOptions) -> float:
        """Audio per batch with these options."""
        return self.batch_seconds * min(1.0, self.num_beams / options.num_beams)

    def pieces(
        self,
        draft: Draft,
        blocks: Iterator[Samples],
        options: TranscribeOptions,
        whole: bool = False,
    ) -> Iterator[Piece]:
        """Yield the chunks of an audio, for ``pools`` to decode, then an end.

        Args:
            whole: whether an audio short enough is one chunk, including pauses.

        Raises:
            CheckpointError: chunks are longer than the encoder takes.
        """
        model = self.decoder.model
        longest = options.chunk_seconds or model.chunk_seconds
        if longest > model.max_seconds:
            raise CheckpointError(
                f"chunks of {longest:g} s: this model's encoder takes at most "
                f"{model.max_seconds:g} s at once; use a lower --chunk-seconds, or leave it out"
            )
        counted = draft.count(blocks)
        if whole and draft.seconds <= longest:
            samples = next(counted)
            loud = len(samples) >= SHORTEST_SECONDS * SAMPLE_RATE and not is_silent(samples)
            found: Iterable[Chunk] = [Chunk(0, samples)] if loud else []
        else:
            found = chunks(counted, listener(options.vad), longest, model.pause_seconds)
        silent = draft.seconds
        for chunk in found:
            piece = Piece(draft, chunk, draft.journal.find(chunk) if draft.journal else None)
            silent -= piece.seconds
            yield piece
        yield Piece(draft, None, silent=silent)

    def pools(
        self, pieces: Iterable[Piece], options: TranscribeOptions, meter: Meter | None = None
    ) -> Iterator[list[Piece]]:
        """Decode the pieces in batches of similar length; yield them in order, a pool at a time."""
        import torch

        complete = self._complete(options)
        for pool in pools(pieces, lambda piece: piece.length, self.seconds(options)):
            new = [piece for piece in pool if piece.chunk and not piece.heard]
            known = sum(piece.seconds for piece in pool) - sum(piece.seconds for piece in new)
            waiting = [*batches(new, lambda piece: piece.length, self.seconds(options))]
            while waiting:
                batch = waiting.pop(0)
                samples = [piece.chunk.samples for piece in batch if piece.chunk]
                try:
                    decoded = self.decoder.decode(samples, complete)
                    decoded = self.decoder.repaired(samples, decoded, complete)
                except torch.OutOfMemoryError:
                    if len(batch) == 1:
                        raise
                    torch.cuda.empty_cache()
                    self.batch_seconds /= 2  # for later pools too
                    half = len(batch) // 2
                    waiting[:0] = [batch[:half], batch[half:]]
                    continue
                self._keep(batch, decoded, self._word_times(samples, decoded, options))
                if meter:
                    meter.add(sum(piece.seconds for piece in batch))
            if meter:
                meter.add(known)  # from the journal, or without speech
            yield pool

    def _keep(
        self, batch: list[Piece], decoded: list[Decoded], times: list[tuple[Word, ...]]
    ) -> None:
        """Store the results of a batch in its pieces, and in their journals."""
        for piece, one, words in zip(batch, decoded, times, strict=True):
            sure = [word.confidence for word in one.words]
            confidence = round(sum(sure) / len(sure), 4) if sure else None
            piece.heard = DecodedChunk(one.text, one.guards, words, confidence)
            if piece.draft.journal and piece.chunk:
                piece.draft.journal.add(piece.chunk, piece.heard)

    def _complete(self, options: TranscribeOptions) -> TranscribeOptions:
        """Add confidence to words with times; the model's own aligner need not encode again."""
        if not options.word_timestamps or self.aligner is None:
            return options
        own = getattr(self.aligner, "model", None) is self.decoder.model
        return replace(options, confidence=True, keep_encoded=own)

    def _word_times(
        self, samples: list[Samples], decoded: list[Decoded], options: TranscribeOptions
    ) -> list[tuple[Word, ...]]:
        if not options.word_timestamps or self.aligner is None:
            return [() for _ in decoded]
        return word_times(self.aligner, samples, decoded)
