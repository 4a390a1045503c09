"""What Ctrl-C and SIGTERM do: training finishes its step, validation its batch; then they leave."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import lightning

_AT_ONCE_SECONDS = 1.0
"""`timeout` and some job managers send a signal to the process and again to its group."""


class Stop(lightning.Callback):
    """Notes a request to stop, which ``LastCheckpoint`` follows after the step or validation batch.

    Another request interrupts it, and what the step did is lost.

    Args:
        say: called with a message for the user at the first request.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say
        self._asked: float | None = None

    @property
    def asked(self) -> bool:
        """Whether the user wants to stop."""
        return self._asked is not None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Handle signals; Lightning, which has just set its own handlers, restores the former."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as after nohup or '&'
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            if self._say is not None:
                self._say("stopping after this step; press Ctrl-C again to stop now and lose it")
        elif now - self._asked > _AT_ONCE_SECONDS:
            raise KeyboardInterrupt
