"""A folder of transcripts: each written whole, none made twice, no other file overwritten.

Beside the outputs lies ``.asr-llm.jsonl``, to which a line is added for each audio that is
finished: what it was made from, with which settings, and what was written. The line is there
before the outputs get their names. So a batch that was killed at any moment goes on when it is
run again, and what is there is either known to be ours or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_llm.errors import RunError
from asr_llm.files import printable

RECORD = ".asr-llm.jsonl"


@dataclass(frozen=True)
class Finished:
    """A line of the record.

    ``outputs`` has the SHA-256 of each file by its name, or None where it was left out;
    ``sha256`` that of the audio, None if the audio changed while it was transcribed. ``trouble``
    says what is wrong with the audio, so that the text is not whole; ``path`` where that is.
    """

    input: str
    size: int
    mtime_ns: int
    sha256: str | None
    settings: dict[str, Any]
    outputs: dict[str, str | None]
    trouble: str | None = None
    path: str | None = None


class OutputFolder:
    """Where the transcripts of a batch go; it is made when the first is written.

    Args:
        folder: where.
        settings: all that determines what is written but for the audio; plain data.
        overwrite: whether files that are there, and are not what would be written, may go.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(
                f"{self.folder}: is a file; expected a folder for the transcripts with -o"
            )
        self.settings = json.loads(json.dumps(settings))  # as the record gives it back
        self.record = self.folder / RECORD
        self._before: dict[Path, os.stat_result] = {}
        # By name and content: what is there is recognised, whichever run it comes from.
        self._finished: dict[tuple[str, str | None], Finished] = {}
        for finished in _read(self.record):
            self._finished.update(dict.fromkeys(finished.outputs.items(), finished))

    def unfinished(self, audios: Iterable[Path], formats: Sequence[str]) -> list[Path]:
        """The audios of which not all outputs are there, as they would be made now.

        Raises:
            RunError: two audios would be written to the same file; or a file is there that
                would be overwritten, and may not be.
        """
        check_names(audios := list(audios), formats[0])
        todo: list[Path] = []
        in_the_way: list[str] = []
        for audio in audios:
            names = [f"{audio.stem}.{fmt}" for fmt in formats]
            try:
                self._before[audio] = audio.stat()
            except OSError:
                todo.append(audio)  # nothing will come of it but an error, when it is read
                continue
            if not all(self._is_finished(audio, name) for name in names):
                todo.append(audio)
                in_the_way += filter(None, (self._in_the_way(audio, name) for name in names))
        if in_the_way and not self.overwrite:
            more = f"; {len(in_the_way) - 1} more in the way" if in_the_way[1:] else ""
            raise RunError(
                f"{in_the_way[0]}{more}; nothing was transcribed. Choose another folder with -o, "
                "or replace such files with --overwrite"
            )
        return todo

    def trouble(self, audio: Path, formats: Sequence[str]) -> str | None:
        """What was wrong with an audio whose outputs are there, when they were made."""
        for fmt in formats:
            name = f"{audio.stem}.{fmt}"
            finished = self._finished.get((name, _hash_of(self.folder / name)))
            if finished is not None and finished.trouble:
                return finished.trouble
        return None

    def make(self) -> None:
        """Make the folder, before hours of work go into what could not be written.

        Raises:
            RunError: it cannot be.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot be made ({error.strerror}); choose another folder with -o"
            ) from error
        if not os.access(self.folder, os.W_OK):
            raise RunError(f"{self.folder}: cannot be written; choose another folder with -o")

    def save(
        self, audio: Path, contents: Mapping[str, str | None], trouble: str | None = None
    ) -> list[Path]:
        """Write the outputs of an audio by their formats, all or, as far as can be, none.

        None in place of a text says that this output was left out.

        Args:
            trouble: what is wrong with the audio, to be said again until it is mended.

        Raises:
            RunError: they cannot be written, or something has come into their way since.
        """
        texts = {f"{audio.stem}.{fmt}": text for fmt, text in contents.items()}
        written = {name: text.encode() for name, text in texts.items() if text is not None}
        parts = {name: self.folder / f".{name}.part" for name in written}
        outputs = {name: _sha256(written[name]) if name in written else None for name in texts}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, part in parts.items():
                part.write_bytes(written[name])
                if not self.overwrite and (found := self._in_the_way(audio, name)):
                    raise RunError(f"{found}, meanwhile; replace it with --overwrite")
            self._add(audio, outputs, trouble)
            for name, part in parts.items():
                os.replace(part, self.folder / name)
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot be written ({error.strerror}); check the folder "
                "and its free space, then run the same command again to resume, or "
                "choose another folder with -o"
            ) from error
        finally:
            for part in parts.values():
                with contextlib.suppress(OSError):
                    part.unlink()
        return [self.folder / name for name in parts]

    def _is_finished(self, audio: Path, name: str) -> bool:
        """Whether it is there, or was left out, and would be no other if it were made now."""
        finished = self._finished.get((name, _hash_of(self.folder / name)))
        return (
            finished is not None
            and finished.settings == self.settings
            and self._same_audio(audio, finished)
        )

    def _in_the_way(self, audio: Path, name: str) -> str | None:
        """What is there and should not be lost, in words."""
        path = self.folder / name
        if not os.path.lexists(path):
            return None
        finished = self._finished.get((name, _hash_of(path)))
        if finished is None and any(name == known for known, _ in self._finished):
            return f"{path} was changed after it was written"
        if finished is None:
            return f"{path} is there and is not from this command"
        if not self._same_audio(audio, finished):
            if finished.trouble and finished.path == _place(audio):
                return None  # the audio was mended, and the text can be whole now
            return f"{path} was made from another recording ({finished.input})"
        if finished.settings != self.settings:
            return f"{path} was made with other settings ({_difference(finished, self.settings)})"
        return None

    def _same_audio(self, audio: Path, finished: Finished) -> bool:
        now = self._before.get(audio)
        if now is None or now.st_size != finished.size:
            return False
        return now.st_mtime_ns == finished.mtime_ns or _hash_of(audio) == finished.sha256

    def _add(self, audio: Path, outputs: dict[str, str | None], trouble: str | None) -> None:
        """Add a line to the record; one that was cut short before is left as it is."""
        before, now = self._before[audio], audio.stat()
        unchanged = (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
        finished = Finished(
            printable(audio.name),
            before.st_size,
            before.st_mtime_ns,
            _hash_of(audio) if unchanged else None,
            self.settings,
            outputs,
            trouble,
            _place(audio) if trouble else None,
        )
        known = {key: value for key, value in asdict(finished).items() if value is not None}
        line = json.dumps({"sha256": None} | known, ensure_ascii=False) + "\n"
        with self.record.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
        self._finished.update(dict.fromkeys(outputs.items(), finished))


def check_names(audios: Iterable[str | Path], fmt: str) -> None:
    """Refuse audios whose transcripts would overwrite each other, before any is made.

    Names that differ only in case count as the same, as they do on many disks.

    Raises:
        RunError: two would be written to the same file.
    """
    seen: dict[str, Path] = {}
    for audio in map(Path, audios):
        other = seen.setdefault(audio.stem.casefold(), audio)
        if other is not audio:
            raise RunError(
                f"{other} and {audio} would both be written to {audio.stem}.{fmt}; "
                "expected different names: rename one, or use separate output folders"
            )


def _read(record: Path) -> Iterator[Finished]:
    """The lines of a record, but those that were cut short."""
    try:
        lines = record.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(
            f"{record}: cannot be read ({error.strerror}); it records what has been "
            "transcribed: check its folder, or choose another with -o"
        ) from error
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            finished = Finished(**json.loads(line))
            if isinstance(finished.outputs, dict) and isinstance(finished.settings, dict):
                yield finished


def _difference(finished: Finished, settings: dict[str, Any]) -> str:
    """The first setting that is another one now."""
    before = finished.settings
    for key in sorted({*before, *settings}):
        if before.get(key) != settings.get(key):
            return f"{key}: {_short(before.get(key))}, now {_short(settings.get(key))}"
    return "none that is known"


def _short(value: Any) -> str:
    """A setting in a few characters; of a model or adapter, its name and weights."""
    if isinstance(value, dict) and {"name", "sha256"} <= value.keys():
        return f"{value['name']} {str(value['sha256'])[:12]}…"
    return "none" if value is None else str(value)


def _place(audio: Path) -> str:
    return printable(audio.resolve())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_of(path: Path) -> str | None:
    """SHA-256 of a file; None of what is not there or cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
