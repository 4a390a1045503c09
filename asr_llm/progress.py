"""How far a job is, for whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float, float], None]
"""Called with what is being done, and how much of it is done and in total (seconds of audio)."""


def labelled(progress: Progress | None, what: str) -> Callable[[float, float], None] | None:
    """``progress`` with what is being done filled in; None if nobody shows it."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)
