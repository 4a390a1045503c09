"""Transcribes audio from any input to any format, printed or in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.errors import AudioError, RunError, number_of
from asr_llm.jobs.destinations import Outcome, Printed, Saved, Wanted
from asr_llm.jobs.transcripts import hashes, in_order, load, text_settings, unreadable
from asr_llm.progress import Feedback, labelled
from asr_llm.transcription import formats, inputs
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions
from asr_llm.transcription.outputs import check_names
from asr_llm.transcription.speakers import together

if TYPE_CHECKING:
    from asr_llm.corpus.recordings.audio import Source
    from asr_llm.transcription.transcript import Transcript


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
        feedback: ``show`` gets plain text as it becomes final if a single audio is printed; its
            outcome then has nothing left to print.
        cluster: where to decode; None: in this process.

    Raises:
        RunError: a file is in the way, two outputs are the same, the format is unknown, or outputs
            cannot be written.
        AudioError: a folder or pattern has no audio.
        CheckpointError: the model or an adapter does not load.
    """
    names = _formats(wanted, options)
    found = _expanded(audios, wanted, names)
    for line in found.notes():
        feedback.tell(line)
    yield from (Outcome(path, error=reason) for path, reason in found.errors())
    with inputs.spooled(found.audio) as files:
        output: Printed | Saved
        if wanted.folder is None:
            output = Printed(wanted, names[0], feedback, several=len(files) > 1)
        else:
            output = Saved(wanted, wanted.folder, names, text_settings(recogniser, options))
            files = in_order(files, cluster)
        sources_of = {file: inputs.sources(file, wanted.channels) for file in files}
        if "rttm" in names:
            _check_speakers(sources_of)
        plan = output.plan(sources_of)
        for line in plan.notes():
            feedback.tell(line)
        yield from output.done(plan)
        errors = [unreadable(source) for source in plan.sources]
        results: Iterator[Transcript | AudioError] = filter(None, errors)
        model = adapters = None
        if not all(errors):  # else no model is needed
            model, adapters = hashes(recogniser)
            loaded = load(recogniser, options, feedback, cluster)
            meter = labelled(feedback.progress, "transcribing")
            results = loaded.transcribe_many(
                plan.sources, meter, output.journals, output.on_segment
            )
        for file, sources in plan.todo.items():
            result = together([*islice(results, len(sources))], sources)
            if isinstance(result, AudioError):
                yield _failed(file, result)
            else:
                name = inputs.name_of(file)
                result = replace(result, path=name, model_sha256=model, adapter_sha256=adapters)
                outcome = output.write(file, result, sources)
                yield replace(outcome, resumed=file in plan.resumed)


def _formats(wanted: Wanted, options: TranscribeOptions) -> tuple[str, ...]:
    names = formats.parse(wanted.formats)
    if "ctm" in names and not (formats.are_all(wanted.formats) or options.word_timestamps):
        raise RunError("ctm needs word times: add --word-timestamps")
    if "rttm" in names and wanted.channels != "separate":
        raise RunError(
            "rttm needs speakers, and they are told apart by channel alone: add --channels "
            "separate if each has one of their own; else choose another format"
        )
    return names


def _check_speakers(sources_of: dict[Path, list[Source]]) -> None:
    alone = [
        file
        for file, (first, *others) in sources_of.items()
        if not others and unreadable(first) is None  # what cannot be read is an error of its own
    ]
    if alone:
        more = f" (and {number_of(len(alone) - 1, 'more file')})" if alone[1:] else ""
        raise RunError(
            f"{inputs.name_of(alone[0])}{more}: no rttm: it has one channel, and speakers are told "
            "apart by channel alone; leave it out, or choose another format"
        )


def _expanded(audios: Sequence[Path], wanted: Wanted, names: tuple[str, ...]) -> inputs.Found:
    """The audio files, whose transcripts can be told apart."""
    inputs.check_channels(wanted.channels)
    found = inputs.expand(audios, recursive=wanted.recursive)
    if wanted.folder is None:
        formats.check_printable(names, len(found.audio))
    else:
        check_names(found.audio, names[0])
    return found


def _failed(file: Path, error: AudioError) -> Outcome:
    name = inputs.name_of(file)
    return Outcome(name, error=str(error).replace(str(file), str(name)))
