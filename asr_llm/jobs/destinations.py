"""Where transcripts go: to stdout, or to a folder that knows what was done before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.progress import Feedback
from asr_llm.transcription import formats, inputs
from asr_llm.transcription.journal import Journals
from asr_llm.transcription.outputs import OutputFolder
from asr_llm.transcription.subtitles import Layout

if TYPE_CHECKING:
    from asr_llm.corpus.recordings.audio import Source
    from asr_llm.transcription.transcript import Segment, Transcript


@dataclass(frozen=True)
class Wanted:
    """The requested output.

    Args:
        formats: as for ``-f``: ``("srt,vtt", "json")`` or ``("all",)``.
        folder: output folder; None: print, one format only.
        overwrite: whether to replace existing files with other content.
        layout: of subtitles.
        recursive: search subfolders.
        channels: ``mix``; ``separate``, one speaker per channel; or the number of one, from 1.
    """

    formats: Sequence[str] = ("txt",)
    folder: Path | None = None
    overwrite: bool = False
    layout: Layout = Layout()
    recursive: bool = False
    channels: str = "mix"


@dataclass(frozen=True)
class Outcome:
    """Result of one audio.

    ``printed`` goes to stdout: the text, or the names of written files. ``error`` says why it could
    not be read, or not to its end, or why a format could not be written. An audio ``done_before``
    has nothing else. ``resumed``: some of it had been decoded before.
    """

    name: Path
    seconds: float | None = None
    printed: str = ""
    note: str | None = None
    error: str | None = None
    left_out: str | None = None
    resumed: bool = False
    done_before: bool = False


@dataclass(frozen=True)
class Plan:
    """Audio files, each with its channels: what is to be done and what was done before.

    ``resumed``: files to do of which some was decoded before.
    """

    todo: dict[Path, list[Source]]
    done: dict[Path, list[Source]] = field(default_factory=dict)
    resumed: Sequence[Path] = ()

    @property
    def sources(self) -> list[Source]:
        """What is to be decoded, in order."""
        return [source for sources in self.todo.values() for source in sources]

    def notes(self) -> Iterator[str]:
        """A message on what is resumed."""
        if self.resumed:
            more = f" and {len(self.resumed) - 1} more" if self.resumed[1:] else ""
            yield f"resuming {inputs.name_of(self.resumed[0])}{more}"


class Printed:
    """Transcripts for stdout, in one format; a single text is shown as it becomes final."""

    journals = None

    def __init__(self, wanted: Wanted, fmt: str, feedback: Feedback, *, several: bool) -> None:
        self.fmt, self.layout, self.several = fmt, wanted.layout, several
        at_once = fmt == "txt" and not several and wanted.channels != "separate"
        self.on_segment = _shown(feedback) if at_once else None

    def plan(self, files: dict[Path, list[Source]]) -> Plan:
        """Do all files."""
        return Plan(files)

    def done(self, plan: Plan) -> Iterator[Outcome]:
        """Nothing was done before."""
        return iter(())

    def write(self, file: Path, result: Transcript, sources: Sequence[Source]) -> Outcome:
        """The text to be printed, if it was not shown.

        Raises:
            RunError: the format does not allow it.
        """
        text = ""
        if self.on_segment is None:
            text = formats.printed(result, self.fmt, self.layout, several=self.several)
        return _outcome(result, text)


class Saved:
    """Transcripts in a folder, in several formats, and journals of those that are unfinished.

    Args:
        settings: those of the texts, see ``text_settings``.
    """

    on_segment = None

    def __init__(
        self, wanted: Wanted, folder: Path, names: Sequence[str], settings: dict[str, Any]
    ) -> None:
        self.wanted, self.names = wanted, names
        if wanted.channels != "mix":
            settings = settings | {"channels": wanted.channels}
        self.journals = Journals(folder, settings)
        settings = settings | asdict(wanted.layout)
        self.folder = OutputFolder(folder, settings, overwrite=wanted.overwrite)

    def plan(self, files: dict[Path, list[Source]]) -> Plan:
        """Do the unfinished files.

        Raises:
            RunError: a file is in the way, or the folder cannot be written.
        """
        if unfinished := self.folder.unfinished(files, self.names):
            self.folder.make()
        todo = {file: files[file] for file in unfinished}
        done = {file: sources for file, sources in files.items() if file not in todo}
        begun = [file for file in todo if any(self.journals(part).known for part in todo[file])]
        return Plan(todo, done, begun)

    def done(self, plan: Plan) -> Iterator[Outcome]:
        """What was done before, with the trouble recorded then."""
        for file, sources in plan.done.items():
            self._forget(sources)  # an earlier run was killed before that
            trouble = self.folder.trouble(file, self.names)
            yield Outcome(inputs.name_of(file), error=trouble, done_before=True)

    def write(self, file: Path, result: Transcript, sources: Sequence[Source]) -> Outcome:
        """Write all formats; with ``all``, impossible ones are skipped.

        Raises:
            RunError: they cannot be written.
        """
        texts, problem = formats.render_each(result, self.names, self.wanted.layout)
        reason = None if problem is None else str(problem)
        error, left_out = (None, reason) if formats.are_all(self.wanted.formats) else (reason, None)
        if error is not None:  # to be retried, so it is not recorded as skipped
            texts = {name: text for name, text in texts.items() if text is not None}
        paths = self.folder.save(file, texts, _trouble(result))
        self._forget(sources)
        return replace(
            _outcome(result, "".join(f"{path}\n" for path in paths), error), left_out=left_out
        )

    def _forget(self, sources: Sequence[Source]) -> None:
        for source in sources:
            self.journals.remove(source)


def _shown(feedback: Feedback) -> Callable[[Segment], None] | None:
    """Return a function that shows the text of a segment, or None."""
    show = feedback.show
    return None if show is None else lambda segment: show(formats.txt_line(segment))


def _trouble(result: Transcript) -> str | None:
    """Why a transcript is incomplete."""
    return None if result.complete else f"{result.path}: {result.note}"


def _outcome(result: Transcript, printed: str, error: str | None = None) -> Outcome:
    if trouble := _trouble(result):
        return Outcome(result.path, result.duration, printed, error=trouble)
    return Outcome(result.path, result.duration, printed, result.note, error)
