"""Progress reporting."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float, float], None]
"""Called with the task, the amount done and the total (seconds of audio)."""


def labelled(progress: Progress | None, what: str) -> Callable[[float, float], None] | None:
    """``progress`` with the task filled in; None if progress is not shown."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)
