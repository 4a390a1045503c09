"""Progress of a command on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from asr_llm.progress import Progress

_LOG_SECONDS = 60.0  # between progress lines if stderr is a log


class Bar:
    """Progress on stderr: bars on a terminal, or one line per minute in a log.

    Args:
        of_audio: progress counts seconds of audio, shown with the RTFx so far.
    """

    def __init__(self, *, of_audio: bool = False) -> None:
        self._of_audio, self._began = of_audio, time.monotonic()
        self._logged, self._named, self._shown = self._began, "", ""
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}
        self._awaited: Any = None

    def __enter__(self) -> Progress:
        return self._show if sys.stderr.isatty() else self._log

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def echo(self, text: str, *, err: bool = False) -> None:
        """Write lines to stdout or stderr without breaking the bars."""
        if self._progress is not None and text:
            self._progress.stop()
        typer.echo(text, nl=False, err=err)
        if self._progress is not None and text:
            self._progress.start()

    def wait(self, what: str) -> None:
        """Show a message until ``restart``, before progress can be measured."""
        if sys.stderr.isatty():
            self._awaited = self._bars().add_task(what, total=None, note="")

    @property
    def seconds(self) -> float:
        """Seconds since it was created or restarted."""
        return max(time.monotonic() - self._began, 1e-3)

    def restart(self) -> None:
        """Reset the timer, to exclude the preparation from the measured time."""
        self._arrive()
        self._began = time.monotonic()

    def _bars(self) -> Any:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import Progress as Bars
            from rich.progress import TextColumn

            columns = (*Bars.get_default_columns(), TextColumn("{task.fields[note]}"))
            # Output during progress goes through ``echo``, because rich would send stdout to
            # stderr.
            self._progress = Bars(
                *columns,
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
        return self._progress

    def _arrive(self) -> None:
        if self._awaited is not None:
            self._progress.remove_task(self._awaited)
            self._awaited = None

    def _show(self, what: str, done: float, total: float) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars().add_task(what, note="")
        note = self._heard(done, total) if self._of_audio else ""
        self._progress.update(self._tasks[what], completed=done, total=total, note=note)

    def _log(self, what: str, done: float, total: float) -> None:
        """Log a line per minute, one for each new task after the first, and each end of these."""
        now = time.monotonic()
        begins = what != self._named and now - self._began >= _LOG_SECONDS
        ends = what == self._shown and done >= total
        self._named = what
        if begins or ends or now - self._logged >= _LOG_SECONDS:
            self._logged, self._shown = now, what if done < total else ""
            note = self._heard(done, total) if self._of_audio else f"{done / max(total, 1):.0%}"
            typer.echo(f"{what}: {note}", err=True)

    def _heard(self, done: float, total: float) -> str:
        return f"{clock(done)} of {clock(total)}, RTFx {done / self.seconds:.1f}"


def clock(seconds: float) -> str:
    """Seconds as H:MM:SS."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
