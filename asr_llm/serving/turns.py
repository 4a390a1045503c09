"""Transcription jobs of the engine, and their turns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from asr_llm.errors import AudioError
from asr_llm.transcription.drafts import Draft, Piece
from asr_llm.transcription.options import TranscribeOptions
from asr_llm.transcription.transcript import Segment, Transcript

_AHEAD = 8  # chunks buffered per job
_ALIKE = 2.0  # chunks share a batch if none is longer than the first by this factor, or shorter

OnSegment = Callable[[Segment], None]


class Job:
    """An audio being transcribed.

    ``result`` gives its transcript, or raises ``AudioError`` (also if the audio is truncated),
    ``TooLongError`` or ``StoppingError``. It can be awaited and cancelled from any thread.
    """

    def __init__(
        self, path: Path, options: TranscribeOptions, on_segment: OnSegment | None
    ) -> None:
        self.path, self.options = path, options
        self.result: Future[Transcript] = Future()
        self.draft = Draft(str(path))
        self.pieces: deque[Piece] = deque()  # in order; changed under the engine's lock
        self.room = threading.Semaphore(_AHEAD)
        self._on_segment = on_segment

    def cancel(self) -> None:
        """Cancel, unless done."""
        self.result.cancel()
        self.room.release()  # wakes a thread waiting to add a chunk

    def fail(self, error: BaseException) -> None:
        """End with an error, unless done."""
        with suppress(InvalidStateError):
            self.result.set_exception(error)
        self.room.release()

    def take_up(self, pieces: Sequence[Piece], model: str) -> None:
        """Add decoded pieces, in order, to the transcript."""
        for piece in pieces:
            for segment in self.draft.add(piece):
                if self._on_segment is not None:
                    self._on_segment(segment)
            self.room.release()
            if piece.chunk is None:
                adapter = " + ".join(self.options.adapters or ()) or None
                made = self.draft.error or self.draft.transcript(model, adapter)
                if isinstance(made, AudioError):
                    self.fail(made)
                else:
                    with suppress(InvalidStateError):
                        self.result.set_result(made)


Turn = tuple[Job, Piece]


def next_batch(jobs: Sequence[Job], seconds: float) -> list[Turn]:
    """Choose what to decode next, from jobs in order of turn.

    The next chunk of the first job that has one, plus chunks of similar length from jobs with the
    same options: one of each, then another of each, as many as fit in ``seconds`` with padding.
    """
    waiting = [
        (job, [piece for piece in job.pieces if piece.chunk and not piece.heard]) for job in jobs
    ]
    waiting = [(job, pieces) for job, pieces in waiting if pieces]
    if not waiting:
        return []
    options, length = waiting[0][0].options, waiting[0][1][0].length
    rounds = zip_longest(
        *([(job, piece) for piece in pieces] for job, pieces in waiting if job.options == options)
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
