"""Progress reporting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, float, float], None]
"""Called with the task, the amount done and the total (seconds of audio)."""


def labelled(progress: Progress | None, what: str) -> Callable[[float, float], None] | None:
    """``progress`` with the task filled in; None if progress is not shown."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)


@dataclass(frozen=True)
class Feedback:
    """Callbacks of a running job.

    Args:
        progress: called with how much is done.
        on_ready: called when the model is loaded.
        tell: called with general messages.
        show: called with text as it becomes final.
    """

    progress: Progress | None = None
    on_ready: Callable[[], None] = lambda: None
    tell: Callable[[str], None] = lambda line: None
    show: Callable[[str], None] | None = None
