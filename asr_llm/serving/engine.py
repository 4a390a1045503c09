"""One model for concurrent requests: chunks of all requests are decoded together, in turns.

A thread per request reads its audio and splits it into chunks, a few ahead of decoding. One thread
owns the model. It takes the next chunk of the request that has waited longest, adds chunks of
similar length from all requests with the same options, and decodes them in one batch; the requests
served go to the end of the queue. So a three-hour recording and a short one progress side by side,
and a result does not depend on other requests.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr_llm.corpus.recordings.audio import (
    SAMPLE_RATE,
    Samples,
    audio_info,
    normal_blocks,
    read_blocks,
)
from asr_llm.corpus.recordings.channels import Tell
from asr_llm.errors import AsrLlmError, AudioError
from asr_llm.serving.turns import Job, OnSegment, Turn, next_batch
from asr_llm.transcription import vad
from asr_llm.transcription.options import TranscribeOptions

if TYPE_CHECKING:
    from asr_llm.transcription.speech_llm import SpeechLLM

_DENSEST = 400_000  # samples per second over all channels: eight at 48 kHz, two at 192 kHz


class BusyError(AsrLlmError):
    """All places are taken."""


class StoppingError(AsrLlmError):
    """The engine accepts no more requests."""


class TooLongError(AsrLlmError):
    """An audio is longer than allowed."""


class Engine:
    """Transcribes for many requests at a time.

    Args:
        model: its ``aligner`` gives word times if requested.
        places: maximum concurrent requests.
        max_seconds: longer audio is rejected.
    """

    def __init__(
        self, model: SpeechLLM, *, places: int = 100, max_seconds: float | None = None
    ) -> None:
        self.places, self.max_seconds = places, max_seconds
        self._name, self._pipeline = model.name, model.pipeline
        self._options = replace(model.options, adapters=())
        self._jobs: list[Job] = []  # in order of turn
        self._readers: list[threading.Thread] = []
        self._taken = 0
        self._stopping = self._closed = False
        self._changed = threading.Condition()
        # Load it once, up front.
        vad.listener(model.options.vad).hear(np.zeros(vad.FRAME, np.float32))
        self._worker = threading.Thread(target=self._work, name="decoding", daemon=True)
        self._worker.start()

    @property
    def taken(self) -> int:
        """Number of places taken."""
        return self._taken

    @property
    def ready(self) -> bool:
        """Whether it accepts requests, if there is a place."""
        return not self._stopping and self._worker.is_alive()

    @property
    def tells_words(self) -> bool:
        """Whether it can give word times."""
        return self._pipeline.aligner is not None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Reserve a place for the duration of a request.

        Raises:
            BusyError: there is none.
            StoppingError: the engine is stopping.
        """
        with self._changed:
            if not self.ready:
                raise StoppingError(
                    "the server is shutting down and accepts no more requests; try again later"
                )
            if self._taken >= self.places:
                raise BusyError(f"all {self.places} request slots are in use; try again later")
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1

    def submit(
        self,
        path: Path,
        options: TranscribeOptions | None = None,
        on_segment: OnSegment | None = None,
    ) -> Job:
        """Start transcribing a file, which must exist until the job is done.

        Args:
            options: default: the model's own, without adapters.
            on_segment: called with each segment as soon as it is final, in an engine thread.

        Raises:
            StoppingError: the engine is closed.
        """
        job = Job(path, options or self._options, on_segment)
        with self._changed:
            if self._closed:
                raise StoppingError("the server has stopped and accepts no more requests")
            self._jobs.append(job)
            self._readers = [thread for thread in self._readers if thread.is_alive()]
            reader = threading.Thread(target=self._read, args=[job], name="reading", daemon=True)
            self._readers.append(reader)
            reader.start()
        return job

    def stop(self) -> None:
        """Accept no more requests; continue those in progress."""
        self._stopping = True

    def close(self) -> None:
        """Stop after the batch being decoded; unfinished jobs fail at once."""
        with self._changed:
            self._stopping = self._closed = True
            jobs, self._jobs = self._jobs, []
            self._changed.notify()
        for job in jobs:
            job.fail(StoppingError("the server stopped before the transcript was done"))

    def join(self) -> None:
        """Wait, after ``close``, for the current batch and the reading threads to end.

        A process that exits while its threads are inside a library is aborted.
        """
        for thread in (self._worker, *self._readers):
            thread.join()

    def _read(self, job: Job) -> None:
        """Add the pieces of a job as there is room."""
        try:
            self._check(job.path)
            blocks = normal_blocks(partial(self._bounded, job), job.draft.notes.append)
            for piece in self._pipeline.pieces(job.draft, blocks, job.options):
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

    def _bounded(self, job: Job, tell: Tell | None) -> Iterator[Samples]:
        """The blocks of a job, up to the limit; the header may understate the duration."""
        num_samples = 0
        for block in read_blocks(job.path, tell=tell):
            num_samples += len(block)
            self._check_length(num_samples / SAMPLE_RATE)
            if job.result.done():
                return
            yield block

    def _check_length(self, seconds: float) -> None:
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise TooLongError(
                f"the audio is longer than {self.max_seconds:g} s; split it into parts"
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or any(j.pieces for j in self._jobs))
                if self._closed:
                    return
                self._jobs = [job for job in self._jobs if not job.result.done()]
                seconds = [self._pipeline.seconds(job.options) for job in self._jobs]
                batch = next_batch(self._jobs, min(seconds, default=0.0))
            if batch:
                self._decode(batch)
            with self._changed:
                served = {id(job) for job, _ in batch}
                self._jobs.sort(key=lambda job: id(job) in served)  # stable
                jobs = list(self._jobs)
            for job in jobs:
                self._hand_over(job)

    def _decode(self, batch: Sequence[Turn]) -> None:
        """Decode chunks with the same options; on failure one by one, to isolate it."""
        try:
            pieces = [piece for _, piece in batch]
            deque(self._pipeline.pools(pieces, batch[0][0].options), maxlen=0)
        except Exception as error:
            if len(batch) == 1:
                batch[0][0].fail(error)
                return
            for turn in batch:
                self._decode([turn])

    def _hand_over(self, job: Job) -> None:
        """Let a job take over its results."""
        with self._changed:
            done = []
            while job.pieces and (job.pieces[0].chunk is None or job.pieces[0].heard):
                done.append(job.pieces.popleft())
        try:
            job.take_up(done, self._name)
        except Exception as error:
            job.fail(error)
