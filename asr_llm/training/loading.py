"""Data loading in a worker process: batches, errors, interruptions."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from asr_llm.errors import AsrLlmError
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.batching import BatchStream
from asr_llm.training.processes import ALONE, Processes


class Share(torch.utils.data.Sampler[int]):
    """Batch numbers of one of several processes; as long as the whole run, as Lightning expects.

    Args:
        length: batches of the whole run, of all processes.
        start: batches done, of all processes.
    """

    def __init__(self, length: int, start: int, processes: Processes = ALONE) -> None:
        self.length, self.start, self.processes = length, start, processes

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start + self.processes.rank, self.length, self.processes.count))

    def __len__(self) -> int:
        return self.length // self.processes.count


class _Reported(torch.utils.data.Dataset[Any]):
    """A stream that yields errors in place of batches.

    If raised in the worker process, the user would see a traceback.
    """

    def __init__(self, stream: BatchStream) -> None:
        self.stream = stream

    def __getitem__(self, index: int) -> Batch | AsrLlmError:
        try:
            return self.stream[index]
        except AsrLlmError as error:
            return error


def loader(
    stream: BatchStream, start: int, processes: Processes = ALONE
) -> torch.utils.data.DataLoader[Any]:
    """Load this process's batches of a stream from number ``start`` on, in a separate process.

    A data error is yielded in place of its batch.
    """
    return torch.utils.data.DataLoader(
        _Reported(stream),
        batch_size=None,
        sampler=Share(len(stream), start, processes),
        num_workers=1,
        prefetch_factor=4,
        worker_init_fn=_leave_endings,
    )


def _leave_endings(worker: int) -> None:
    """Keep Ctrl-C and signals to the process group from the worker: the main process ends it.

    Without the worker it could not finish its step. A thread handing over a batch prints a
    traceback if the main process is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)
    sys.excepthook = _unless_left


def _unless_left(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if not isinstance(error, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, at)


@contextmanager
def interruptible() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt, and make SIGTERM one too.

    Lightning would exit the process, with status 0 on SIGTERM, and ignore another Ctrl-C. A SIGTERM
    to all processes of a user may end the loader's first.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        asked = isinstance(stopped.__context__, KeyboardInterrupt)
        if not (asked or isinstance(stopped, SIGTERMException)):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stopped
    except RuntimeError as error:
        if "is killed by signal: Terminated" not in str(error):
            raise
        raise KeyboardInterrupt from error
