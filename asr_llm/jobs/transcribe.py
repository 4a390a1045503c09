"""Transcribes audio from any input to any format, printed or in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.errors import AudioError, RunError
from asr_llm.jobs.transcripts import hashes, in_order, load, text_settings, unreadable
from asr_llm.progress import Feedback, labelled
from asr_llm.transcription import formats, inputs
from asr_llm.transcription.journal import Journals
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions
from asr_llm.transcription.outputs import OutputFolder, check_names
from asr_llm.transcription.speakers import together
from asr_llm.transcription.subtitles import Layout

if TYPE_CHECKING:
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


def transcribe(
    audios: Sequence[Path],
    wanted: Wanted,
    options: TranscribeOptions = TranscribeOptions(),
    recogniser: Recogniser = Recogniser(),
    feedback: Feedback = Feedback(),
    cluster: Cluster | None = None,
) -> Iterator[Outcome]:
    """Transcribe files, folders, patterns and stdin; finished ones are yielded first.

    Args:
        cluster: where to decode; None: in this process.
        feedback: ``show`` gets plain text as it becomes final if a single audio is printed; its
            outcome then has nothing left to print.

    Raises:
        RunError: a file is in the way, two outputs are the same, the format is unknown, or outputs
            cannot be written.
        AudioError: a folder or pattern has no audio.
        CheckpointError: the model or an adapter does not load.
    """
    names = _formats(wanted, options)
    inputs.check_channels(wanted.channels)
    expanded = inputs.expand(audios, recursive=wanted.recursive)
    found = expanded.audio
    if wanted.folder is None:
        formats.check_printable(names, len(found))
    else:
        check_names(found, names[0])
    for line in expanded.notes():
        feedback.tell(line)
    yield from (Outcome(path, error=reason) for path, reason in expanded.errors())
    with inputs.spooled(found) as files:
        folder, todo, journals = None, files, None
        begun: list[Path] = []
        parts = {file: inputs.sources(file, wanted.channels) for file in files}
        if wanted.folder is not None:
            settings = text_settings(recogniser, options)
            if wanted.channels != "mix":
                settings["channels"] = wanted.channels
            journals = Journals(wanted.folder, settings)
            settings |= asdict(wanted.layout)
            folder = OutputFolder(wanted.folder, settings, overwrite=wanted.overwrite)
            if todo := in_order(folder.unfinished(files, names), cluster):
                folder.make()
            begun = [file for file in todo if any(journals(part).known for part in parts[file])]
            if begun:
                more = f" and {len(begun) - 1} more" if begun[1:] else ""
                feedback.tell(f"resuming {inputs.name_of(begun[0])}{more}")
            waiting = set(todo)
            for file in files:
                if file not in waiting:
                    for part in parts[file]:  # killed before they were removed
                        journals.remove(part)
                    trouble = folder.trouble(file, names)
                    yield Outcome(inputs.name_of(file), error=trouble, done_before=True)
        several = len(files) > 1
        at_once = folder is None and not several and names == ("txt",)
        on_segment = _shown(feedback) if at_once and wanted.channels != "separate" else None
        sources = [part for file in todo for part in parts[file]]
        errors = [unreadable(source.path) for source in sources]
        model_sha256 = adapter_sha256 = None
        if all(errors):
            results: Iterator[Transcript | AudioError] = filter(None, errors)
        else:
            model_sha256, adapter_sha256 = hashes(recogniser)
            loaded = load(recogniser, options, feedback, cluster)
            meter = labelled(feedback.progress, "transcribing")
            results = loaded.transcribe_many(sources, meter, journals, on_segment)
        for file in todo:
            name = inputs.name_of(file)
            result = together(list(islice(results, len(parts[file]))), parts[file])
            if isinstance(result, AudioError):
                yield Outcome(name, error=str(result).replace(str(file), str(name)))
                continue
            result = replace(
                result, path=name, model_sha256=model_sha256, adapter_sha256=adapter_sha256
            )
            trouble = None if result.complete else f"{name}: {result.note}"
            if folder is None or journals is None:
                text = ""
                if on_segment is None:
                    text = formats.printed(result, names[0], wanted.layout, several=several)
                outcome = Outcome(name, result.duration, text, result.note)
            else:
                outcome = _write(folder, file, result, names, wanted, trouble)
                for part in parts[file]:
                    journals.remove(part)
            if trouble is not None:
                outcome = replace(outcome, note=None, error=trouble)
            yield replace(outcome, resumed=file in begun)


def _formats(wanted: Wanted, options: TranscribeOptions) -> tuple[str, ...]:
    names = formats.parse(wanted.formats)
    if "ctm" in names and not (formats.are_all(wanted.formats) or options.word_timestamps):
        raise RunError("ctm needs word times: add --word-timestamps")
    return names


def _shown(feedback: Feedback) -> Callable[[Segment], None] | None:
    """Return a function that shows the text of a segment, or None."""
    show = feedback.show
    return None if show is None else lambda segment: show(formats.txt_line(segment))


def _write(
    folder: OutputFolder,
    file: Path,
    result: Transcript,
    names: Sequence[str],
    wanted: Wanted,
    trouble: str | None,
) -> Outcome:
    """Write a transcript in all its formats; with ``all``, impossible ones are skipped."""
    texts, problem = formats.render_each(result, names, wanted.layout)
    reason = None if problem is None else str(problem)
    error, left_out = (None, reason) if formats.are_all(wanted.formats) else (reason, None)
    if error is not None:  # to be retried, so it is not recorded as skipped
        texts = {name: text for name, text in texts.items() if text is not None}
    paths = folder.save(file, texts, trouble)
    printed = "".join(f"{path}\n" for path in paths)
    return Outcome(result.path, result.duration, printed, result.note, error, left_out)
