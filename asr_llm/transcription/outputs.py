"""Output folder of transcripts: atomic writes, no duplicate work, no foreign file overwritten.

The hidden file ``.asr-llm.jsonl`` gets a line for each finished audio: its input, settings and
outputs. The line is written before the outputs get their final names. So a batch killed at any
moment continues when run again, and every existing file is known to be ours or not.
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

from asr_llm.errors import RunError, number_of
from asr_llm.files import check_no_file, check_writable, printable

RECORD = ".asr-llm.jsonl"


@dataclass(frozen=True)
class Finished:
    """A line of the record.

    ``outputs`` has the SHA-256 of each file by name, or None if it was skipped; ``sha256`` is that
    of the audio, None if the audio changed during transcription. ``trouble`` says what is wrong
    with the audio, so that the text is incomplete; ``path`` where it is.
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
    """Folder for the transcripts of a batch, created with the first one.

    Args:
        folder: its path.
        settings: everything besides the audio that determines the outputs; plain data.
        overwrite: whether existing files with other content may be replaced.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        check_no_file(self.folder)
        self.settings = json.loads(json.dumps(settings))  # as read back from the record
        self.record = self.folder / RECORD
        self._before: dict[Path, os.stat_result] = {}
        # By name and content, so that outputs of any earlier run are recognised.
        self._finished: dict[tuple[str, str | None], Finished] = {}
        for finished in _read(self.record):
            self._finished.update(dict.fromkeys(finished.outputs.items(), finished))

    def unfinished(self, audios: Iterable[Path], formats: Sequence[str]) -> list[Path]:
        """The audios that lack an up-to-date output.

        Raises:
            RunError: two audios map to the same file, or an existing file may not be overwritten.
        """
        check_names(audios := list(audios), formats[0])
        todo: list[Path] = []
        in_the_way: list[str] = []
        for audio in audios:
            names = [f"{audio.stem}.{fmt}" for fmt in formats]
            try:
                self._before[audio] = audio.stat()
            except OSError:
                todo.append(audio)  # reading it will only give an error
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
        """The problem recorded for an audio when its outputs were written."""
        for fmt in formats:
            name = f"{audio.stem}.{fmt}"
            finished = self._finished.get((name, _hash_of(self.folder / name)))
            if finished is not None and finished.trouble:
                return finished.trouble
        return None

    def make(self) -> None:
        """Create the folder up front, so that hours of work cannot fail at the first write.

        Raises:
            RunError: it cannot be created.
        """
        check_writable(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(
        self, audio: Path, contents: Mapping[str, str | None], trouble: str | None = None
    ) -> list[Path]:
        """Write the outputs of an audio by format: all or, as far as possible, none.

        None instead of a text records that this output was skipped.

        Args:
            trouble: a problem with the audio, reported again until it is repaired.

        Raises:
            RunError: they cannot be written, or a file has appeared in their place since.
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
        """Whether an output exists, or was skipped, and would be the same now."""
        finished = self._finished.get((name, _hash_of(self.folder / name)))
        return (
            finished is not None
            and finished.settings == self.settings
            and self._same_audio(audio, finished)
        )

    def _in_the_way(self, audio: Path, name: str) -> str | None:
        """Describe an existing file that must not be lost."""
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
                return None  # the audio was repaired, so the text can be complete now
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
        """Append a line to the record; an incomplete last line is left as it is."""
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
    """Reject audios whose transcripts would overwrite each other, before transcribing any.

    Names that differ only in case count as the same, as on many file systems.

    Raises:
        RunError: two map to the same file.
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
    """The complete lines of a record."""
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
    """The first setting that differs."""
    before = finished.settings
    for key in sorted({*before, *settings}):
        if before.get(key) != settings.get(key):
            then, now = _short(before.get(key)), _short(settings.get(key))
            return f"{key}: {then}, now {'others' if then == now else now}"
    return "none that is known"


def _short(value: Any) -> str:
    """A setting in a few characters: a model or adapter by name and hash, a list by its length."""
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "none"
    if isinstance(value, dict) and {"name", "sha256"} <= value.keys():
        return f"{value['name']} {str(value['sha256'])[:12]}…"
    if isinstance(value, dict) and {"phrases", "strength"} <= value.keys():
        strength = "" if value["strength"] is None else f" of strength {value['strength']:g}"
        return number_of(len(value["phrases"]), "phrase") + strength
    return "none" if value is None else str(value)


def _place(audio: Path) -> str:
    return printable(audio.resolve())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_of(path: Path) -> str | None:
    """SHA-256 of a file; None if it is missing or unreadable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
