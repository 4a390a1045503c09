"""Transcribes files of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm import defaults
from asr_llm.corpus.recordings.audio import Source, cut_audio, duration
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import AudioError
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.allocator import keep_memory, release_memory
from asr_llm.transcription.drafts import Draft, Piece
from asr_llm.transcription.inputs import distinct
from asr_llm.transcription.journal import Journal
from asr_llm.transcription.options import Recogniser, TranscribeOptions, VadKind
from asr_llm.transcription.pipeline import Meter, Pipeline, Progress
from asr_llm.transcription.transcript import Segment, Transcript

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_llm.model.adapters import Adapters
    from asr_llm.model.ctc import CtcModel
    from asr_llm.model.first_pass import FirstPass
    from asr_llm.model.salm import SpanSALM


class SpeechLLM:
    """A loaded recogniser.

        model = SpeechLLM.load("small", adapter="runs/medical/adapter")
        for segment in model.transcribe("visit.wav"):
            print(segment.start, segment.text)

    Args:
        model: put into evaluation mode.
        name: the model's name in transcripts.
        options: defaults for calls without options.
        loaded: the adapters; transcripts name the folders of the active ones.
        aligner: gives word times, ``model``'s own CTC head or another.
        first_pass: the checkpoint's first-pass model, if any.
        batch_seconds: see ``Pipeline``.
    """

    def __init__(
        self,
        model: SpanSALM,
        name: str,
        options: TranscribeOptions = TranscribeOptions(),
        *,
        loaded: Adapters | None = None,
        aligner: CtcModel | None = None,
        first_pass: FirstPass | None = None,
        batch_seconds: float | None = None,
    ) -> None:
        from asr_llm.decoding.decoder import Decoder

        self.model, self.name, self.options = model.eval(), name, options
        self._loaded = loaded
        self.pipeline = Pipeline(
            Decoder(self.model, loaded, first_pass),
            aligner,
            num_beams=options.num_beams,
            batch_seconds=batch_seconds,
        )

    @classmethod
    def load(
        cls,
        model: str | Path = defaults.MODEL,
        adapter: AdapterFolder | str | Path | Iterable[AdapterFolder | str | Path] | None = None,
        fusion: float | None = None,
        num_beams: int = NUM_BEAMS,
        chunk_seconds: float | None = None,
        vad: VadKind = "silero",
        confidence: bool = False,
        word_timestamps: bool = False,
        aligner: str | Path | None = None,
        biasing: BiasingList | Iterable[str] | None = None,
    ) -> SpeechLLM:
        """Load a checkpoint and its adapters, on CUDA if available.

        Args:
            adapter: one or several adapter folders; all are active until ``use`` is called.
            aligner: gives word times instead of the checkpoint's CTC head: another checkpoint with
                one, or a NeMo CTC model (``.nemo``). Implies ``word_timestamps``.
            biasing: phrases to boost, see ``prefer``.
            fusion, num_beams, chunk_seconds, vad, confidence, word_timestamps: see
                ``TranscribeOptions``. Without a CTC head or an ``aligner`` there are only segment
                times.

        Raises:
            CheckpointError: the checkpoint, an adapter or the aligner does not load or fit.
        """
        recogniser = Recogniser(
            str(model),
            AdapterFolder.read_all(adapter),
            None if aligner is None else str(aligner),
        )
        options = TranscribeOptions(
            fusion=fusion,
            num_beams=num_beams,
            biasing=_as_list(biasing),
            confidence=confidence or word_timestamps,
            chunk_seconds=chunk_seconds,
            vad=vad,
            word_timestamps=word_timestamps or aligner is not None,
        )
        return cls.of(recogniser, options)

    @classmethod
    def of(
        cls, recogniser: Recogniser, options: TranscribeOptions = TranscribeOptions()
    ) -> SpeechLLM:
        """Load a recogniser; see ``load``."""
        import torch

        from asr_llm.model import checkpoints, ctc, first_pass, int8
        from asr_llm.model.adapters import Adapters, fusion_weights

        fusion_weights(recogniser.adapters, options.fusion)
        keep_memory()
        release_memory()  # of a training before, or of another model
        model = checkpoints.load(recogniser.model)
        if torch.cuda.is_available():
            model.to("cuda")
        aligner: CtcModel | None = None
        if recogniser.aligner is not None:
            aligner = ctc.load(recogniser.aligner)
        elif model.ctc_head is not None:
            aligner = ctc.CheckpointCtc(model)
        loaded = None
        if recogniser.adapters:
            loaded = Adapters(model, recogniser.model, recogniser.adapters)
        first = first_pass.of(checkpoints.locate(recogniser.model), model)
        if int8.wanted(model, recogniser.compute_type):
            if all(adapter.kind == "text" for adapter in recogniser.adapters):
                int8.quantise(model.llm)  # adapters trained on speech are merged at full precision
            int8.quantise(model.perception.encoder)
            if first is not None:
                int8.quantise(first)
        return cls(
            model, recogniser.model, options, loaded=loaded, aligner=aligner, first_pass=first
        )

    @property
    def aligner(self) -> CtcModel | None:
        """The source of word times; None if there is none."""
        return self.pipeline.aligner

    @property
    def word_times(self) -> bool:
        """Whether words can have times."""
        return self.aligner is not None

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the loaded adapters, from their folders or run folders."""
        return () if self._loaded is None else self._loaded.names

    @property
    def adapter(self) -> str | None:
        """The folders of the active adapters, as named in transcripts; None if there are none."""
        return self._label(self.options)

    def use(self, *names: str) -> None:
        """Activate these of ``adapters``; without names, use the base alone.

        The weight changes of several adapters trained on speech add up, and so do the scores of
        adapters trained on text. Nothing is reloaded; transcriptions in progress are not affected.

        Raises:
            CheckpointError: no adapter of that name is loaded, or one is named twice.
        """
        self.pipeline.decoder.check(names)
        self.options = replace(self.options, adapters=names)

    def prefer(self, biasing: BiasingList | Iterable[str] | None) -> None:
        """Boost these phrases from now on, instead of earlier ones; None: no phrases.

        Lists of active adapters apply as well (``corpus.terms.biasing_list.joined``), except with
        ``BiasingList((), 0.0)``.

        Raises:
            BiasingError: a phrase has neither letter nor digit.
        """
        self.options = replace(self.options, biasing=_as_list(biasing))

    def transcribe(
        self, path: str | Path, options: TranscribeOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of a file that have text, in order, as they are decoded.

        Raises:
            AudioError: it cannot be read, or not to its end (after the segments before).
        """
        options = options or self.options
        draft = Draft(str(path))
        blocks = Source.of(path).blocks(draft.notes.append)
        pieces = self.pipeline.pieces(draft, blocks, options)
        for piece in chain.from_iterable(self.pipeline.pools(pieces, options)):
            yield from draft.add(piece)
        if draft.error:
            raise draft.error

    def transcript(self, path: str | Path, options: TranscribeOptions | None = None) -> Transcript:
        """Transcribe a file.

        Raises:
            AudioError: it cannot be read.
        """
        (result,) = self.transcribe_many([path], options=options)
        if isinstance(result, AudioError):
            raise result
        return result

    def transcribe_many(
        self,
        paths: Iterable[str | Path | Source],
        on_done: Progress | None = None,
        journal: Callable[[Source], Journal] | None = None,
        on_segment: Callable[[Segment], None] | None = None,
        options: TranscribeOptions | None = None,
    ) -> Iterator[Transcript | AudioError]:
        """Transcribe files; each gives a transcript, or an error if it cannot be read.

        Results are in the order of ``paths``, some minutes of audio at a time, and a bad file does
        not stop the rest. A truncated file is transcribed up to the break.

        Args:
            paths: of files; a ``Source`` may be one channel of a file.
            on_done: progress callback; the total comes from the files' headers and is corrected as
                needed.
            journal: stores what is decoded of a file until its transcript is written.
            on_segment: called with each segment as soon as it is final, in order.
            options: instead of the recogniser's own.
        """
        chosen = options or self.options
        files = [(source, duration(source.path)) for source in map(Source.of, paths)]
        meter = Meter(sum(seconds for _, seconds in files), on_done)

        def pieces() -> Iterator[Piece]:
            for source, seconds in files:
                draft = Draft(str(source.path), seconds, journal(source) if journal else None)
                blocks = source.blocks(draft.notes.append)
                yield from self.pipeline.pieces(draft, blocks, chosen)

        for piece in chain.from_iterable(self.pipeline.pools(pieces(), chosen, meter)):
            for segment in piece.draft.add(piece):
                if on_segment is not None:
                    on_segment(segment)
            if piece.chunk is None:
                yield piece.draft.transcript(self.name, self._label(chosen))

    def transcribe_cuts(
        self,
        cuts: CutSet,
        progress: Progress | None = None,
        options: TranscribeOptions | None = None,
    ) -> dict[str, str]:
        """Transcribe Lhotse cuts; return hypotheses by cut id.

        A cut that is short enough is decoded as one utterance.

        Raises:
            AudioError: the audio of a cut cannot be read.
            ScoreError: two cuts have the same id.
        """
        chosen = options or self.options
        ordered = sorted(distinct(cuts), key=lambda cut: cut.duration)
        meter = Meter(sum(cut.duration for cut in ordered), progress)

        def pieces() -> Iterator[Piece]:
            for cut in ordered:
                draft = Draft(cut.id, cut.duration)
                yield from self.pipeline.pieces(draft, iter([cut_audio(cut)]), chosen, whole=True)

        texts: dict[str, str] = {}
        for piece in chain.from_iterable(self.pipeline.pools(pieces(), chosen, meter)):
            piece.draft.add(piece)
            if piece.chunk is None:
                texts[piece.draft.name] = " ".join(s.text for s in piece.draft.segments)
        return texts

    def _label(self, options: TranscribeOptions) -> str | None:
        return None if self._loaded is None else self._loaded.label(options.adapters)


def _as_list(biasing: BiasingList | Iterable[str] | None) -> BiasingList | None:
    if biasing is None or isinstance(biasing, BiasingList):
        return biasing
    return BiasingList((biasing,) if isinstance(biasing, str) else tuple(biasing))
