"""Files of any length become transcripts with times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from asr_llm.corpus.audio import (
    SAMPLE_RATE,
    Samples,
    Source,
    audio_info,
    cut_audio,
    is_silent,
    read_blocks,
)
from asr_llm.corpus.biasing_list import BiasingList, joined
from asr_llm.errors import AudioError, CheckpointError, ScoreError
from asr_llm.transcription import NUM_BEAMS
from asr_llm.transcription.chunks import Chunk, chunks
from asr_llm.transcription.drafts import SHORTEST_SECONDS, Draft, Piece
from asr_llm.transcription.guards import decode_checked
from asr_llm.transcription.journal import Journal
from asr_llm.transcription.options import VadKind
from asr_llm.transcription.transcript import Heard, Segment, Transcript, Word
from asr_llm.transcription.vad import listener
from asr_llm.transcription.word_times import word_times

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_llm.model.adapters import Adapters
    from asr_llm.model.biasing import Phrases
    from asr_llm.model.ctc import CtcModel
    from asr_llm.model.decoding import Decoded
    from asr_llm.model.salm import SpanSALM

_LISTS = 8  # biasing lists that are kept ready: those of a server's clients take turns
_POOLED = 2  # batches' worth of audio that is held and sorted by length before it is decoded

# Of a second of audio and a beam, for a SALM of Canary-Qwen's size.
_BYTES_PER_SECOND = 10e6

T = TypeVar("T")
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
        loaded: the adapters on it, which ``use`` swaps; transcripts name their folders.
        batch_seconds: audio decoded at once, padding included; by default what should fit in
            memory. Halved where it does not.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        chunk_seconds: longer audio is cut, at pauses; by default what the model can take.
        vad: what tells speech from the rest, see ``vad.listener``.
        confidence: tell how probable it is that a segment's words are right.
        aligner: tells when each word is said, ``model``'s own CTC head or another's; words then
            have their confidence too.
        biasing: phrases to prefer, beside those that adapters in use bring.
    """

    def __init__(
        self,
        model: SpanSALM,
        name: str,
        *,
        batch_seconds: float | None = None,
        num_beams: int = NUM_BEAMS,
        chunk_seconds: float | None = None,
        vad: VadKind = "silero",
        confidence: bool = False,
        aligner: CtcModel | None = None,
        loaded: Adapters | None = None,
        biasing: BiasingList | Iterable[str] | None = None,
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.batch_seconds = batch_seconds or _fitting_seconds(num_beams)
        self.num_beams = num_beams
        self.chunk_seconds = chunk_seconds or model.chunk_seconds
        self.vad = vad
        self.aligner, self.confidence = aligner, confidence or aligner is not None
        self._loaded = loaded
        self.adapter = None if loaded is None else loaded.label
        self._known: dict[tuple[BiasingList, ...], Phrases] = {}
        self.prefer(biasing)

    def prefer(self, biasing: BiasingList | Iterable[str] | None) -> None:
        """Prefer these phrases from now on, in place of those before; None: no phrases.

        Those that adapters in use bring are preferred too (``corpus.biasing_list.joined``), but
        not with ``BiasingList((), 0.0)``.

        Raises:
            BiasingError: a phrase has neither letter nor digit.
        """
        if biasing is not None and not isinstance(biasing, BiasingList):
            biasing = BiasingList((biasing,) if isinstance(biasing, str) else tuple(biasing))
        self._asked = biasing
        brought = self._loaded.biasing if self._loaded is not None else []
        lists = joined(biasing, brought)
        if lists and lists not in self._known:
            from asr_llm.model.biasing import Phrases

            for oldest in list(self._known)[: 1 - _LISTS]:
                del self._known[oldest]
            self._known[lists] = Phrases.of(lists, self.model)
        self._phrases = self._known[lists] if lists else None

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        adapter: str | Path | Iterable[str | Path] | None = None,
        fusion: float | None = None,
        num_beams: int = NUM_BEAMS,
        chunk_seconds: float | None = None,
        vad: VadKind = "silero",
        confidence: bool = False,
        word_timestamps: bool = False,
        aligner: str | Path | None = None,
        biasing: BiasingList | Iterable[str] | None = None,
    ) -> SpeechLLM:
        """Load a checkpoint and put adapters on it; on CUDA where there is one.

        Args:
            adapter: one adapter folder or several, all of which are in use until ``use`` says
                otherwise.
            fusion: weight of the adapters of text, in place of their own.
            num_beams: hypotheses kept while decoding; 1 is greedy.
            chunk_seconds: longer audio is cut; by default what the model can take.
            vad: what tells speech from the rest: ``silero`` or ``energy``.
            confidence: tell how probable it is that a segment's words are right.
            word_timestamps: tell when each word is said, and its confidence. A checkpoint without
                a CTC head cannot: then there are segments only, and ``aligner`` is None.
            aligner: what tells it in place of the checkpoint's CTC head: another checkpoint with
                one, or a NeMo CTC model (``.nemo``).
            biasing: phrases to prefer, beside those that adapters in use bring.

        Raises:
            CheckpointError: the checkpoint, an adapter or the aligner does not load or fit.
        """
        import torch

        from asr_llm.model import checkpoints, ctc
        from asr_llm.model.adapters import Adapters

        bare = checkpoints.load(model)
        if torch.cuda.is_available():
            bare.to("cuda")
        hears: CtcModel | None = None
        if aligner is not None:
            hears = ctc.load(aligner)
        elif word_timestamps and bare.ctc_head is not None:
            hears = ctc.CheckpointCtc(bare)
        folders = [adapter] if isinstance(adapter, str | Path) else list(adapter or ())
        return cls(
            bare,
            str(model),
            num_beams=num_beams,
            chunk_seconds=chunk_seconds,
            vad=vad,
            confidence=confidence or word_timestamps,
            aligner=hears,
            loaded=Adapters(bare, model, folders, fusion) if folders else None,
            biasing=biasing,
        )

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that were loaded: of their folders, or of their run folders."""
        return () if self._loaded is None else self._loaded.names

    def use(self, *names: str) -> None:
        """Transcribe with these of ``adapters`` from now on; without any, with the base alone.

        The changes that several adapters of speech make add up, and so do the preferences of
        adapters of text. Nothing is read anew; not while something is being transcribed.

        Raises:
            CheckpointError: no adapter of that name was loaded, or one is named twice.
        """
        if self._loaded is not None:
            self._loaded.use(*names)
            self.adapter = self._loaded.label
            self.prefer(self._asked)
        elif names:
            raise CheckpointError(
                f"no adapter {names[0]!r} was loaded; expected its folder when loading: "
                "SpeechLLM.load(model, adapter=FOLDER)"
            )

    def transcribe(self, path: str | Path) -> Iterator[Segment]:
        """The segments of a file that have text, in order, while it is being decoded.

        Raises:
            AudioError: it cannot be read; or not to its end, after the segments before.
        """
        draft = Draft(str(path))
        for piece in self._decoded(self.pieces(draft, read_blocks(path, tell=draft.notes.append))):
            yield from draft.add(piece)
        if draft.error:
            raise draft.error

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
        self,
        paths: Iterable[str | Path | Source],
        on_done: Progress | None = None,
        journal: Callable[[Source], Journal] | None = None,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Iterator[Transcript | AudioError]:
        """Transcribe files; each gives a transcript, or the error that it cannot be read.

        Results come in the order of ``paths``, some minutes of audio at a time, and a bad
        file does not stop the rest. A file that breaks off is transcribed as far as it goes.

        Args:
            paths: of files; a ``Source`` may be one channel of a file.
            on_done: progress; told the total from the files' headers, then kept right.
            journal: where to keep what is decoded of a file until its transcript is there.
            on_segment: told each segment as soon as it is certain, in their order.
        """
        files = [(source, _seconds(source.path)) for source in map(Source.of, paths)]
        meter = _Meter(sum(seconds for _, seconds in files), on_done)

        def pieces() -> Iterator[Piece]:
            for source, seconds in files:
                draft = Draft(str(source.path), seconds, journal(source) if journal else None)
                yield from self.pieces(draft, source.blocks(draft.notes.append))

        for piece in self._decoded(pieces(), meter):
            for segment in piece.draft.add(piece):
                if on_segment is not None:
                    on_segment(segment)
            if piece.chunk is None:
                yield piece.draft.transcript(self.name, self.adapter)

    def transcribe_cuts(self, cuts: CutSet, progress: Progress | None = None) -> dict[str, str]:
        """Transcribe lhotse cuts: the hypothesis of each cut, by its id.

        A cut that is short enough is an utterance, and decoded as it is.

        Raises:
            AudioError: the audio of a cut cannot be read.
            ScoreError: two cuts have the same id.
        """
        ordered = sorted(cuts, key=lambda cut: cut.duration)
        meter = _Meter(sum(cut.duration for cut in ordered), progress)

        def pieces() -> Iterator[Piece]:
            for cut in ordered:
                draft = Draft(cut.id, cut.duration)
                yield from self.pieces(draft, iter([cut_audio(cut)]), whole=True)

        texts: dict[str, str] = {}
        for piece in self._decoded(pieces(), meter):
            piece.draft.add(piece)
            if piece.chunk is None:
                if piece.draft.name in texts:
                    raise ScoreError(
                        f"two cuts have the id {piece.draft.name!r}; "
                        "expected an id of its own for each"
                    )
                texts[piece.draft.name] = " ".join(s.text for s in piece.draft.segments)
        return texts

    def pieces(
        self, draft: Draft, blocks: Iterator[Samples], whole: bool = False
    ) -> Iterator[Piece]:
        """The chunks of an audio to ``decode``, made as they are taken, and an end.

        Args:
            whole: whether an audio that is short enough is one chunk, pauses and all.
        """
        counted = draft.count(blocks)
        if whole and draft.seconds <= self.chunk_seconds:
            samples = next(counted)
            loud = len(samples) >= SHORTEST_SECONDS * SAMPLE_RATE and not is_silent(samples)
            found: Iterable[Chunk] = [Chunk(0, samples)] if loud else []
        else:
            found = chunks(
                counted, listener(self.vad), self.chunk_seconds, self.model.pause_seconds
            )
        for chunk in found:
            yield Piece(draft, chunk, draft.journal.find(chunk) if draft.journal else None)
        yield Piece(draft, None)

    def decode(self, pieces: list[Piece]) -> None:
        """Write the texts of pieces with chunks, in one batch."""
        import torch

        samples = [piece.chunk.samples for piece in pieces if piece.chunk]
        try:
            listed = self._phrases is not None and self._phrases.prefers
            prefers = listed or bool(self.model.fusion)
            guarded = decode_checked(
                self._decode, self._listens, samples, self._hear if prefers else None
            )
        except torch.OutOfMemoryError:
            if len(pieces) == 1:
                raise
            torch.cuda.empty_cache()
            self.batch_seconds /= 2  # of the batches to come, too
            self.decode(pieces[: len(pieces) // 2])
            self.decode(pieces[len(pieces) // 2 :])
            return
        times = self._word_times(samples, [decoded for decoded, _ in guarded])
        for piece, (decoded, guards), words in zip(pieces, guarded, times, strict=True):
            sure = [word.confidence for word in decoded.words]
            confidence = round(sum(sure) / len(sure), 4) if sure else None
            piece.heard = Heard(decoded.text, guards, words, confidence)
            if piece.draft.journal and piece.chunk:
                piece.draft.journal.add(piece.chunk, piece.heard)

    def _decoded(self, pieces: Iterable[Piece], meter: _Meter | None = None) -> Iterator[Piece]:
        """The pieces in their order, decoded a pool at a time, those of like length together."""
        for pool in pools(pieces, lambda piece: piece.seconds, self.batch_seconds):
            to_decode = [piece for piece in pool if piece.chunk and not piece.heard]
            for batch in batches(to_decode, lambda piece: piece.length, self.batch_seconds):
                self.decode(batch)
                if meter:
                    meter.add(sum(piece.seconds for piece in batch))
            for piece in pool:
                if meter and piece.chunk is None:  # what was known, and what has no speech
                    meter.add(piece.draft.seconds - piece.draft.decoded)
                yield piece

    def _hear(self, samples: list[Samples]) -> list[Decoded]:
        return self._decode(samples, preferring=False)

    def _decode(self, samples: list[Samples], preferring: bool = True) -> list[Decoded]:
        from asr_llm.model.decoding import decode

        return decode(
            self.model,
            samples,
            num_beams=self.num_beams,
            phrases=self._phrases if preferring else None,
            fused=preferring,
            confidence=self.confidence,
            # The model's own encoder need not run again.
            keep_encoded=getattr(self.aligner, "model", None) is self.model,
        )

    def _listens(self, samples: Samples, text: str) -> float:
        from asr_llm.model.decoding import listens

        return listens(self.model, samples, text)

    def _word_times(self, samples: list[Samples], decoded: list[Decoded]) -> list[tuple[Word, ...]]:
        if self.aligner is None:
            return [() for _ in decoded]
        return word_times(self.aligner, samples, decoded)


class _Meter:
    """Adds up the seconds that are done."""

    def __init__(self, total: float, progress: Progress | None) -> None:
        self.total, self.progress, self.done = total, progress, 0.0

    def add(self, seconds: float) -> None:
        self.done += seconds
        if seconds and self.progress is not None:
            # A header that told less than there was must not lead beyond the end.
            self.progress(min(self.done, self.total), self.total)


def _fitting_seconds(num_beams: int) -> float:
    """Seconds of audio to a batch that half of the free memory should bear.

    A CPU gains nothing from more than two minutes at once by beams, or eight without.
    """
    import torch

    if torch.cuda.is_available():
        free, most = torch.cuda.mem_get_info()[0], 2400.0
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most = 480.0 if num_beams == 1 else 120.0
    return min(max(free / 2 / (_BYTES_PER_SECOND * num_beams), 20.0), most)


def _seconds(path: Path) -> float:
    try:
        return audio_info(path).duration
    except AudioError:
        return 0.0  # reported when it is read


def pools(
    items: Iterable[T], length: Callable[[T], float], batch_seconds: float
) -> Iterator[list[T]]:
    """Items, made as they are taken, in groups long enough to be sorted into ``batches``."""
    pool: list[T] = []
    seconds = 0.0
    for item in items:
        pool.append(item)
        seconds += length(item)
        if seconds >= _POOLED * batch_seconds:
            yield pool
            pool, seconds = [], 0.0
    if pool:
        yield pool


def batches(items: Iterable[T], length: Callable[[T], float], seconds: float) -> Iterator[list[T]]:
    """Items of similar length together, at most ``seconds`` with padding, or one of them."""
    batch: list[T] = []
    for item in sorted(items, key=length):
        if batch and (len(batch) + 1) * length(item) > seconds:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
