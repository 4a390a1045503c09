"""The actor of a cluster: a recogniser in a process of its own, on any machine."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.audio import Source, cut_audio
from asr_llm.errors import AudioError, CheckpointError
from asr_llm.transcription.drafts import Draft, Piece
from asr_llm.transcription.journal import Recall, Times
from asr_llm.transcription.options import Recogniser, TranscribeOptions
from asr_llm.transcription.transcript import DecodedChunk, Transcript
from asr_llm.version import __version__

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_llm.transcription.speech_llm import SpeechLLM


@dataclass
class Item:
    """A recording to decode: a file or channel, or a cut, which is one utterance if short enough.

    ``seconds`` is its duration as far as known, ``known`` the chunks that were decoded before.
    ``deaths``: of actors at this item since they last sent a chunk of it.
    """

    number: int
    what: Source | Cut
    seconds: float
    known: dict[Times, DecodedChunk] = field(default_factory=dict)
    deaths: int = 0


@dataclass(frozen=True)
class ChunkDone:
    """A chunk of item ``number``, just decoded: samples ``start`` to ``end``."""

    number: int
    start: int
    end: int
    seconds: float
    chunk: DecodedChunk


@dataclass(frozen=True)
class ItemDone:
    """The end of item ``number``."""

    number: int
    result: Transcript | AudioError


@dataclass(frozen=True)
class Setup:
    """What an actor needs to decode as the driver would.

    ``hashes`` of the model and of each adapter; ``folder`` is the driver's working directory.
    """

    recogniser: Recogniser
    options: TranscribeOptions
    hashes: tuple[str, ...]
    folder: str
    version: str = __version__

    @classmethod
    def here(cls, recogniser: Recogniser, options: TranscribeOptions) -> Setup:
        """Of this process.

        Raises:
            CheckpointError: there is no such model.
        """
        return cls(recogniser, options, hashes(recogniser), os.getcwd())


class Worker:
    """Decodes what it is given. Nothing of audio or text is written or logged."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        with suppress(OSError):  # what is relative to it will be reported as missing
            os.chdir(setup.folder)

    @cached_property
    def llm(self) -> SpeechLLM:
        """The recogniser.

        Raises:
            CheckpointError: it does not load here, or is not the driver's.
        """
        from asr_llm.transcription.speech_llm import SpeechLLM

        if self.setup.version != __version__:
            raise CheckpointError(
                f"{socket.gethostname()} has asr_llm {__version__}; expected the driver's version, "
                f"{self.setup.version}, on every machine of the cluster"
            )
        if hashes(self.setup.recogniser) != self.setup.hashes:
            raise CheckpointError(
                f"{socket.gethostname()} has other weights of {self.setup.recogniser.model} or of "
                "its adapters than the driver; expected the same under the same path"
            )
        return SpeechLLM.of(self.setup.recogniser, self.setup.options)

    def ready(self) -> bool:
        """Load the recogniser; whether it gives word times."""
        return self.llm.word_times

    def decode(self, items: Sequence[Item]) -> Iterator[list[ChunkDone | ItemDone]]:
        """Yield what is heard in the items, a pool of chunks at a time."""
        options, drafts = self.setup.options, dict[int, tuple[Item, Draft]]()

        def pieces() -> Iterator[Piece]:
            for item in items:
                draft = Draft(_name(item), item.seconds, Recall(item.known))
                drafts[id(draft)] = item, draft
                yield from self._pieces(item, draft)

        for pool in self.llm.pipeline.pools(pieces(), options):
            events: list[ChunkDone | ItemDone] = []
            for piece in pool:
                item, draft = drafts[id(piece.draft)]
                draft.add(piece)
                if piece.chunk is None:
                    result = draft.transcript(self.llm.name, self.llm.adapter)
                    events.append(ItemDone(item.number, result))
                    del drafts[id(draft)]
                elif piece.heard and (times := (piece.chunk.start, piece.chunk.end)) not in (
                    item.known
                ):
                    events.append(ChunkDone(item.number, *times, piece.seconds, piece.heard))
            yield events

    def _pieces(self, item: Item, draft: Draft) -> Iterator[Piece]:
        pipeline, options = self.llm.pipeline, self.setup.options
        if isinstance(item.what, Source):
            draft.error = _not_here(item.what, item.seconds)
            if draft.error:
                yield Piece(draft, None)
            else:
                blocks = item.what.blocks(draft.notes.append)
                yield from pipeline.pieces(draft, blocks, options)
            return
        try:
            samples = cut_audio(item.what)
        except AudioError as error:
            draft.error = error
            yield Piece(draft, None)
            return
        yield from pipeline.pieces(draft, iter([samples]), options, whole=True)


def hashes(recogniser: Recogniser) -> tuple[str, ...]:
    """The SHA-256 of the model and of each adapter.

    Raises:
        CheckpointError: there is no such model.
    """
    from asr_llm.model import checkpoints

    model = checkpoints.identity(checkpoints.locate(recogniser.model))
    return model, *(adapter.sha256 for adapter in recogniser.adapters)


def _name(item: Item) -> str:
    return str(item.what.path) if isinstance(item.what, Source) else item.what.id


def _not_here(source: Source, seconds: float) -> AudioError | None:
    """Why a file that the driver can read is not on this machine; None if it is."""
    if not seconds or source.path.exists():
        return None
    return AudioError(
        f"{source.path}: not on {socket.gethostname()}; expected a folder that all machines of the "
        "cluster share, under the same path"
    )
