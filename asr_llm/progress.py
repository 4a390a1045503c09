"""How far a job is, for whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, float, float], None]
"""Called with what is being done, and how much of it is done and in total (seconds of audio)."""


def labelled(progress: Progress | None, what: str) -> Callable[[float, float], None] | None:
    """``progress`` with what is being done filled in; None if nobody shows it."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)


@dataclass(frozen=True)
class Feedback:
    """Who is told what while a job runs.

    Args:
        progress: how much is done.
        on_ready: called when the model is loaded.
        tell: called with a line on what concerns all of the input.
        show: called with text as it becomes certain, where it is shown at once.
    """

    progress: Progress | None = None
    on_ready: Callable[[], None] = lambda: None
    tell: Callable[[str], None] = lambda line: None
    show: Callable[[str], None] | None = None
