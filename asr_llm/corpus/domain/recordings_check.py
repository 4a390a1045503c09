"""Finds problems of a split's recordings that would stop cutting or decoding."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from asr_llm.corpus.domain.names import audio_of, named, split_problems
from asr_llm.corpus.recordings.audio import audio_info, read_blocks
from asr_llm.corpus.recordings.manifests import (
    LAYOUTS,
    Entry,
    read_entries,
    split_manifest,
    stretch,
)
from asr_llm.corpus.text.lines import Line, Problem
from asr_llm.errors import AsrLlmError, AudioError, DomainError, number_of


class CheckedSplit(NamedTuple):
    """The transcripts of a split, its length in seconds, and its problems."""

    transcripts: list[Line]
    seconds: float
    problems: list[Problem]


def check_recordings(folder: Path) -> CheckedSplit:
    """Read the manifest of a split, and every recording in it to the end."""
    try:
        manifest = split_manifest(folder.parent, folder.name)
    except DomainError as error:
        place, _, said = str(error).partition(": ")
        message, _, fix = said.partition(". ")
        return CheckedSplit([], 0.0, [Problem(place, None, "error", message, fix)])
    audio = audio_of(folder)
    if manifest is None:
        problems = split_problems(folder, audio)
        if audio:
            message = f"{number_of(len(audio), 'audio file')} without transcripts"
            fix = f"list them in one of {', '.join(LAYOUTS)}"
            problems.insert(0, Problem(str(folder), None, "error", message, fix))
        return CheckedSplit([], 0.0, problems)
    problems = []
    entries = read_entries(manifest, problems)
    seconds = sum(_seconds(manifest, entry, problems) for entry in entries)
    if not any(problem.severity == "error" for problem in problems):
        problems += _refused(manifest, entries)
    problems += _unlisted(manifest, audio, entries)
    problems += split_problems(folder, [entry.audio for entry in entries])
    transcripts = [Line(entry.text, manifest, entry.line) for entry in entries]
    return CheckedSplit(transcripts, seconds, problems)


def _seconds(manifest: Path, entry: Entry, problems: list[Problem]) -> float:
    """The length of an utterance, 0 if its audio cannot be read."""
    if not entry.text.strip():
        message = "recording without transcript"
        problems.append(
            Problem(str(manifest), entry.line, "warning", message, "write what is said")
        )
    if entry.audio.exists() and not entry.audio.is_file():
        message = f"{entry.audio}: a folder, a pipe or a device; expected an audio file"
        problems.append(Problem(str(manifest), entry.line, "error", message, "name a file"))
        return 0.0
    try:
        whole = audio_info(entry.audio).duration
        start, end = (0.0, whole) if entry.lhotse_cut else stretch(entry, whole)
    except (AudioError, DomainError) as error:
        problems.append(Problem(str(manifest), entry.line, "error", str(error)))
        return 0.0
    return min(entry.duration or whole, end - start)


def _refused(manifest: Path, entries: list[Entry]) -> list[Problem]:
    """Problems that only cutting and decoding would reveal."""
    if not entries:
        message = "lists no recordings"
        return [Problem(str(manifest), None, "error", message, "write one on each line")]
    problems = []
    if any(entry.lhotse_cut for entry in entries):
        problems = _refused_by_lhotse(manifest)
    first = {entry.audio: entry for entry in reversed(entries)}
    for entry in first.values():
        try:
            for _ in read_blocks(entry.audio):
                pass
        except AudioError as error:
            problems.append(Problem(str(manifest), entry.line, "error", str(error)))
    if not any(entry.text.strip() for entry in entries):
        message = "not one recording has a transcript"
        problems.append(Problem(str(manifest), None, "error", message, "write what is said"))
    return problems


def _refused_by_lhotse(manifest: Path) -> list[Problem]:
    from asr_llm.corpus.recordings.importers import read_manifest  # lhotse: seconds

    try:
        read_manifest(manifest)
    except AsrLlmError as error:
        place, _, message = str(error).partition(": ")
        line = place.removeprefix(f"{manifest}:")
        number = int(line) if line.isdigit() else None
        return [Problem(str(manifest), number, "error", message)]
    return []


def _unlisted(manifest: Path, audio: set[Path], entries: list[Entry]) -> list[Problem]:
    left = sorted(audio - {entry.audio for entry in entries})
    if not left:
        return []
    names = named([path.name for path in left])
    message = f"{number_of(len(left), 'audio file')} without transcripts, ignored ({names})"
    fix = "list them here, or remove them"
    return [Problem(str(manifest), None, "warning", message, fix)]
