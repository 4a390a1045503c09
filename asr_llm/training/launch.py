"""Starts this command once per device of this machine, and waits for all of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from asr_llm.errors import RunError

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
"""For the others to end when one has failed; on GPUs they wait for it in vain."""

Children = list[subprocess.Popen[bytes]]


def launch(count: int) -> int:
    """Run this command in ``count`` processes, which find each other by environment variables.

    Once one has failed the others are ended. Signals are passed on.

    Returns:
        the exit status: 0, or that of the first process that failed.

    Raises:
        RunError: a process was killed.
    """
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(count),
    }
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    command = [sys.executable, *sys.orig_argv[1:]]
    # The command line may have moved stderr to another descriptor than 2.
    children = [
        subprocess.Popen(command, env=shared | {"LOCAL_RANK": str(rank)}, stderr=sys.stderr)
        for rank in range(count)
    ]
    with _passing_signals(children):
        failed = _first_failed(children)
    if failed is None:
        return 0
    status = children[failed].returncode
    if status < 0:
        raise RunError(
            f"process {failed + 1} of {count} was killed by {signal.Signals(-status).name}; the "
            "last checkpoint, if there was one, is whole: continue with --resume"
        )
    return status


def _first_failed(children: Children) -> int | None:
    """Wait for all; the number of the first that failed, a killed one before others."""
    failed: int | None = None
    deadline = float("inf")
    while any(child.poll() is None for child in children):
        if failed is None and (failed := _failed(children)) is not None:
            deadline = time.monotonic() + _GRACE_SECONDS
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(_POLL_SECONDS)
    return _failed(children) if failed is None else failed


def _failed(children: Children) -> int | None:
    ended = {rank: child.returncode for rank, child in enumerate(children) if child.returncode}
    return min(ended, key=lambda rank: ended[rank]) if ended else None


@contextmanager
def _passing_signals(children: Children) -> Iterator[None]:
    """Pass Ctrl-C and SIGTERM on; a process that gets one twice within a second counts one."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """A port that no process of this machine listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
