"""The job behind ``asr-llm corpus shar``: recordings packed into a Lhotse Shar folder.

A shard is written at a time, and noted in a journal; so a run that was killed goes on after the
last shard noted. The folder gets its name when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.recordings.importers import cut_of
from asr_llm.corpus.recordings.manifests import Entry, stream_entries
from asr_llm.corpus.recordings.pieces import LONGEST_SECONDS, cut_pieces
from asr_llm.corpus.recordings.shar import INDEX
from asr_llm.corpus.text.lines import Problem
from asr_llm.errors import AudioError, DomainError, RunError
from asr_llm.files import new_folder, write_text
from asr_llm.progress import Feedback

if TYPE_CHECKING:
    from lhotse.cut import Cut

_JOURNAL = "journal.jsonl"
_TOLD = 20  # bad lines named; the rest are counted


@dataclass(frozen=True)
class Shard:
    """A shard as the journal notes it: up to which line of the manifest, and what it holds.

    ``dropped`` counts the recordings left out since the shard before.
    """

    line: int
    cuts: int
    seconds: float
    dropped: int


@dataclass(frozen=True)
class Packed:
    """The folder, and what is in it."""

    path: Path
    shards: int
    cuts: int
    seconds: float
    dropped: int


def pack(
    manifest: Path, output: Path, shard_size: int = 1000, feedback: Feedback | None = None
) -> Packed:
    """Pack the recordings of a manifest: mono, 16 kHz, FLAC, long ones split between words.

    Args:
        manifest: as for ``read_manifest``, but not CSV; of any length.
        output: a new or empty folder. What a killed run left beside it is used.
        shard_size: cuts in a shard.
        feedback: told of every recording that is left out, with its line.

    Raises:
        DomainError: the manifest lists nothing or has bad lines: the first are named.
        RunError: the folder is in use, or cannot be written.
    """
    feedback = feedback or Feedback()
    place = new_folder(output)
    lines = _checked(manifest)
    part = place.with_name(f".{place.name}.part")
    with _locked(part):
        done = _begun(part, manifest, shard_size)
        tell, show = feedback.tell, feedback.progress
        if done:
            tell(f"going on after line {done[-1].line:,} of {manifest}")
        for shard in _shards(manifest, part, shard_size, done, tell):
            done.append(shard)
            _note(part, asdict(shard))
            if show is not None:
                show("packing", shard.line, lines)
        if not any(shard.cuts for shard in done):
            raise DomainError(f"{manifest}: none of its recordings can be used; see above")
        sizes = [shard.cuts for shard in done if shard.cuts]
        write_text(part / INDEX, json.dumps({"cuts": sizes}) + "\n")
        (part / _JOURNAL).unlink()
        if place.is_dir():
            place.rmdir()
        part.rename(place)
    seconds, dropped = sum(s.seconds for s in done), sum(s.dropped for s in done)
    return Packed(place, len(sizes), sum(sizes), seconds, dropped)


def _checked(manifest: Path) -> int:
    """The number of the last line of a manifest of which every line is good.

    Raises:
        DomainError: names the first bad lines, and counts the others.
    """
    named: list[Problem] = []
    count = last = 0
    for last, entry in stream_entries(manifest):
        wrong, fix = entry, "fix this line"
        if isinstance(entry, Entry):
            if entry.audio.is_file():
                continue
            wrong, fix = f"{entry.audio} is missing", "paths are relative to the manifest"
        count += 1
        if len(named) < _TOLD:
            named.append(Problem(str(manifest), last, "error", str(wrong), fix))
    if last == 0:
        raise DomainError(f"{manifest}: lists no recordings; expected one a line")
    if more := count - len(named):
        named.append(Problem(str(manifest), None, "error", f"{more:,} more bad lines", "fix them"))
    if named:
        raise DomainError("\n".join(map(str, named)))
    return last


class _locked:
    """Keeps other processes from the same folder.

    Raises:
        RunError: there is one.
    """

    def __init__(self, part: Path) -> None:
        from filelock import FileLock

        part.parent.mkdir(parents=True, exist_ok=True)
        self.path = part.with_name(f"{part.name}.lock")
        self.lock = FileLock(self.path)

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self.lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"{self.path} is held by another process that packs this folder; wait for it"
            ) from error

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        self.path.unlink(missing_ok=True)


def _begun(part: Path, manifest: Path, shard_size: int) -> list[Shard]:
    """The shards that a killed run has written; a folder of something else is removed."""
    stat = manifest.stat()
    task: dict[str, Any] = {
        "manifest": str(manifest.absolute()),
        "bytes": stat.st_size,
        "modified": stat.st_mtime_ns,
        "shard_size": shard_size,
    }
    rows = _journal(part)
    if rows[:1] == [task]:
        done = [Shard(**row) for row in rows[1:]]
        _remove_from(part, sum(1 for shard in done if shard.cuts))
        return done
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    _note(part, task)
    return []


def _remove_from(part: Path, number: int) -> None:
    """Remove the files of the shard that was being written."""
    for path in part.iterdir():
        if path.name != _JOURNAL and int(path.name.split(".")[1]) >= number:
            path.unlink()


def _journal(part: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; the last may be cut off."""
    try:
        lines = (part / _JOURNAL).read_text("utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    whole = [line for line in lines if line.endswith("\n")]
    if whole != lines:
        write_text(part / _JOURNAL, "".join(whole))
    return [json.loads(line) for line in whole]


def _note(part: Path, row: dict[str, Any]) -> None:
    with (part / _JOURNAL).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _shards(
    manifest: Path, part: Path, shard_size: int, done: list[Shard], tell: Callable[[str], None]
) -> Iterator[Shard]:
    """Write the shards that are not done yet; each is whole when it is yielded."""
    number, after = sum(1 for shard in done if shard.cuts), done[-1].line if done else 0
    writer, dropped, last = _Writer(part, number), 0, after
    for line, entry in stream_entries(manifest):
        if line <= after or not isinstance(entry, Entry):
            continue
        last = line
        try:
            for cut in _pieces(entry, manifest):
                writer.write(cut)
        except (AudioError, DomainError) as error:
            dropped += 1
            tell(f"left out: {error}")
        if writer.cuts >= shard_size:
            yield writer.close(line, dropped)
            number, dropped = number + 1, 0
            writer = _Writer(part, number)
    if writer.cuts or dropped:
        yield writer.close(last, dropped)


def _pieces(entry: Entry, manifest: Path) -> list[tuple[Cut, Any]]:
    """What a recording is trained on, with its samples.

    Raises:
        AudioError: it cannot be decoded; names the line.
        DomainError: it is too long and has no word times.
    """
    cut = cut_of(entry, manifest)
    pieces = cut_pieces(cut)
    where = f"{manifest}:{entry.line}"
    if not pieces and not word_items(cut):
        raise DomainError(
            f"{where}: {cut.duration:.1f} s, longer than {LONGEST_SECONDS:g} s, and without word "
            "times to split it by; find them out with: asr-llm align MANIFEST"
        )
    try:
        return [(piece, cut_audio(piece)) for piece in pieces]
    except AudioError as error:
        raise AudioError(f"{where}: {error}") from error


class _Writer:
    """Writes a shard; its files are there from the first cut on."""

    def __init__(self, part: Path, number: int) -> None:
        from lhotse.shar.writers import AudioTarWriter, JsonlShardWriter

        self.cuts, self.seconds = 0, 0.0
        self.audio = AudioTarWriter(f"{part}/recording.{number:06d}.tar", None, format="flac")
        self.list = JsonlShardWriter(f"{part}/cuts.{number:06d}.jsonl.gz", None)

    def write(self, piece: tuple[Cut, Any]) -> None:
        """Add a cut and its samples."""
        from lhotse import Recording
        from lhotse.audio import AudioSource
        from lhotse.utils import fastcopy

        cut, samples = piece
        recording = Recording(
            id=cut.id,
            sources=[AudioSource("shar", channels=[0], source="")],
            sampling_rate=SAMPLE_RATE,
            num_samples=len(samples),
            duration=len(samples) / SAMPLE_RATE,
            channel_ids=[0],
        )
        packed = recording.to_cut().with_id(cut.id)
        packed.supervisions = [
            fastcopy(cut.supervisions[0], recording_id=cut.id, channel=0, start=0.0)
        ]
        self.audio.write(cut.id, samples[None], SAMPLE_RATE, recording)
        self.list.write(packed)
        self.cuts += 1
        self.seconds += recording.duration

    def close(self, line: int, dropped: int) -> Shard:
        """Finish the files."""
        self.audio.close()
        self.list.close()
        return Shard(line, self.cuts, round(self.seconds, 3), dropped)
