"""One model for many requests at once: the chunks of all are decoded together, in turns.

A thread for each request reads its audio and cuts it into chunks, a few ahead of what is decoded.
One thread owns the model. It takes the next chunk of the request that has waited longest, adds
chunks of about that length from all requests of the same setting, and decodes them in one batch;
whoever had a chunk in it goes to the end of the line. So a recording of three hours and a short
one come on side by side, and what a request gets does not depend on who else is there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr_llm.corpus.audio import SAMPLE_RATE, Samples, audio_info, read_blocks
from asr_llm.corpus.biasing_list import BiasingList
from asr_llm.errors import AsrLlmError, AudioError
from asr_llm.transcription import vad
from asr_llm.transcription.drafts import Draft, Piece
from asr_llm.transcription.transcript import Segment, Transcript

if TYPE_CHECKING:
    from asr_llm.transcription.speech_llm import SpeechLLM

_AHEAD = 8  # chunks of a request that are held
_DENSEST = 400_000  # samples a second, of all channels together: eight at 48 kHz, two at 192 kHz
_ALIKE = 2.0  # chunks share a batch if none is longer than the first by this factor, or shorter

OnSegment = Callable[[Segment], None]


class BusyError(AsrLlmError):
    """All places are taken."""


class StoppingError(AsrLlmError):
    """The engine takes nothing more."""


class TooLongError(AsrLlmError):
    """An audio lasts longer than is allowed."""


@dataclass(frozen=True)
class Setting:
    """How the model is set for a request.

    Args:
        adapters: names of those in use.
        words: tell when each word is said, and its confidence.
        phrases: to prefer where they are likely to have been said.
    """

    adapters: tuple[str, ...] = ()
    words: bool = False
    phrases: tuple[str, ...] = ()


class Job:
    """An audio that is being transcribed.

    ``result`` gives its transcript; or raises ``AudioError``, also where the audio breaks off,
    ``TooLongError``, or ``StoppingError``. It may be waited for, and cancelled, in any thread.
    """

    def __init__(self, path: Path, setting: Setting, on_segment: OnSegment | None) -> None:
        self.path, self.setting = path, setting
        self.result: Future[Transcript] = Future()
        self.draft = Draft(str(path))
        self.pieces: deque[Piece] = deque()  # in their order; changed under the engine's lock
        self.room = threading.Semaphore(_AHEAD)
        self._on_segment = on_segment

    def cancel(self) -> None:
        """Give up, if it is not done."""
        self.result.cancel()
        self.room.release()  # who waits to add a chunk need not

    def fail(self, error: BaseException) -> None:
        """End with an error, if it is not done."""
        with suppress(InvalidStateError):
            self.result.set_exception(error)
        self.room.release()

    def take_up(self, pieces: Sequence[Piece], model: str) -> None:
        """Write decoded pieces, in order, into the transcript."""
        for piece in pieces:
            for segment in self.draft.add(piece):
                if self._on_segment is not None:
                    self._on_segment(segment)
            self.room.release()
            if piece.chunk is None:
                adapter = " + ".join(self.setting.adapters) or None
                made = self.draft.error or self.draft.transcript(model, adapter)
                if isinstance(made, AudioError):
                    self.fail(made)
                else:
                    with suppress(InvalidStateError):
                        self.result.set_result(made)


Turn = tuple[Job, Piece]


class Engine:
    """Transcribes for many at a time.

    Args:
        model: nobody else may use it from now on; its ``aligner`` tells of words where asked.
        places: how many requests there may be at a time.
        max_seconds: longer audio is refused.
    """

    def __init__(
        self, model: SpeechLLM, *, places: int = 100, max_seconds: float | None = None
    ) -> None:
        self.places, self.max_seconds = places, max_seconds
        self._model, self._aligner = model, model.aligner
        self._current: Setting | None = None
        self._jobs: list[Job] = []  # in the order of their turns
        self._readers: list[threading.Thread] = []
        self._taken = 0
        self._stopping = self._closed = False
        self._changed = threading.Condition()
        vad.listener(model.vad).hear(np.zeros(vad.FRAME, np.float32))  # loaded once, and here
        self._worker = threading.Thread(target=self._work, name="decoding", daemon=True)
        self._worker.start()

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._taken

    @property
    def ready(self) -> bool:
        """Whether it takes requests, if there is a place."""
        return not self._stopping and self._worker.is_alive()

    @property
    def tells_words(self) -> bool:
        """Whether it can tell when each word is said."""
        return self._aligner is not None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for a request, for as long as it lasts.

        Raises:
            BusyError: there is none.
            StoppingError: no request is taken any more.
        """
        with self._changed:
            if not self.ready:
                raise StoppingError(
                    "the server is stopping and takes no more requests; try again later"
                )
            if self._taken >= self.places:
                raise BusyError(
                    f"all {self.places} places are taken; expected fewer requests at a time: "
                    "try again later"
                )
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1

    def submit(
        self, path: Path, setting: Setting | None = None, on_segment: OnSegment | None = None
    ) -> Job:
        """Begin to transcribe a file, which must stay until the job is done.

        Args:
            on_segment: told each segment as soon as it is certain, in a thread of the engine.

        Raises:
            StoppingError: the engine is closed.
        """
        job = Job(path, setting or Setting(), on_segment)
        with self._changed:
            if self._closed:
                raise StoppingError("the server has stopped and takes no more requests")
            self._jobs.append(job)
            self._readers = [thread for thread in self._readers if thread.is_alive()]
            reader = threading.Thread(target=self._read, args=[job], name="reading", daemon=True)
            self._readers.append(reader)
            reader.start()
        return job

    def stop(self) -> None:
        """Take no more requests; go on with those that are there."""
        self._stopping = True

    def close(self) -> None:
        """End, with the batch that is being decoded; what is not done fails at once."""
        with self._changed:
            self._stopping = self._closed = True
            jobs, self._jobs = self._jobs, []
            self._changed.notify()
        for job in jobs:
            job.fail(StoppingError("the server stopped before the transcript was done"))

    def join(self) -> None:
        """Wait, after a ``close``, for the end of the batch that is being decoded, and of reading.

        A process that ends while its threads are inside of a library is aborted.
        """
        for thread in (self._worker, *self._readers):
            thread.join()

    def _read(self, job: Job) -> None:
        """Add the pieces of a job as there is room."""
        try:
            self._check(job.path)
            for piece in self._model.pieces(job.draft, self._bounded(job)):
                job.room.acquire()
                if job.result.done():
                    return
                with self._changed:
                    job.pieces.append(piece)
                    self._changed.notify()
        except Exception as error:
            job.fail(error)

    def _check(self, path: Path) -> None:
        info = audio_info(path)
        if info.sampling_rate * info.num_channels > _DENSEST:
            raise AudioError(
                f"{path}: has {info.num_channels} channels at {info.sampling_rate} Hz; expected at "
                f"most {_DENSEST} samples a second: convert it to 16 kHz mono"
            )
        self._check_length(info.duration)

    def _bounded(self, job: Job) -> Iterator[Samples]:
        """The blocks of a job; its header may have told less than there is."""
        num_samples = 0
        for block in read_blocks(job.path):
            num_samples += len(block)
            self._check_length(num_samples / SAMPLE_RATE)
            if job.result.done():
                return
            yield block

    def _check_length(self, seconds: float) -> None:
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise TooLongError(
                f"the audio lasts longer than {self.max_seconds:g} s; "
                "expected less: cut it into parts"
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or any(j.pieces for j in self._jobs))
                if self._closed:
                    return
                self._jobs = [job for job in self._jobs if not job.result.done()]
                batch = next_batch(self._jobs, self._model.batch_seconds)
            if batch:
                self._decode(batch)
            with self._changed:
                served = {id(job) for job, _ in batch}
                self._jobs.sort(key=lambda job: id(job) in served)  # stable
                jobs = list(self._jobs)
            for job in jobs:
                self._hand_over(job)

    def _decode(self, batch: Sequence[Turn]) -> None:
        """Decode chunks of one setting; where that fails, one by one, to let but one fail."""
        try:
            self._set(batch[0][0].setting)
            self._model.decode([piece for _, piece in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][0].fail(error)
                return
            for turn in batch:
                self._decode([turn])

    def _set(self, setting: Setting) -> None:
        if self._current is None or self._current.adapters != setting.adapters:
            self._model.use(*setting.adapters)
        if (self._current or Setting()).phrases != setting.phrases:
            self._model.prefer(BiasingList(setting.phrases) if setting.phrases else None)
        self._model.aligner = self._aligner if setting.words else None
        self._model.confidence = setting.words
        self._current = setting

    def _hand_over(self, job: Job) -> None:
        """Let a job take up what is done of it."""
        with self._changed:
            done = []
            while job.pieces and (job.pieces[0].chunk is None or job.pieces[0].heard):
                done.append(job.pieces.popleft())
        try:
            job.take_up(done, self._model.name)
        except Exception as error:
            job.fail(error)


def next_batch(jobs: Sequence[Job], seconds: float) -> list[Turn]:
    """What to decode now, of jobs in the order of their turns.

    The next chunk of the first job that has one, and those of about its length of the jobs of
    the same setting: one of each, then another of each, as many as fit in ``seconds`` with
    padding.
    """
    waiting = [
        (job, [piece for piece in job.pieces if piece.chunk and not piece.heard]) for job in jobs
    ]
    waiting = [(job, pieces) for job, pieces in waiting if pieces]
    if not waiting:
        return []
    setting, length = waiting[0][0].setting, waiting[0][1][0].length
    rounds = zip_longest(
        *([(job, piece) for piece in pieces] for job, pieces in waiting if job.setting == setting)
    )
    batch: list[Turn] = []
    longest = length
    for turn in (turn for turns in rounds for turn in turns if turn is not None):
        own = turn[1].length
        alike = length / _ALIKE <= own <= length * _ALIKE
        if not batch or (alike and (len(batch) + 1) * max(longest, own) <= seconds):
            batch.append(turn)
            longest = max(longest, own)
    return batch
