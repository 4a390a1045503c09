"""Lhotse Shar folders: recordings in shards, read shard by shard.

A shard is a list of cuts (``cuts.000000.jsonl.gz``) and a tar file with their audio, in the same
order (``recording.000000.tar``). ``asr-llm corpus shar`` writes such folders; those that Lhotse
writes are read too. Of a folder with millions of cuts only a few shards' lists are in memory.
"""

from __future__ import annotations

import functools
import gzip
import json
import tarfile
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from asr_llm.errors import AudioError, DomainError

if TYPE_CHECKING:
    from lhotse.cut import Cut

INDEX = "cuts.index.json"
"""Lists the number of cuts in each shard; Lhotse would take another name for a kind of data."""

GROUP = 8
"""Shards whose cuts are mixed in training. The lists of twice as many are in memory, because the
batches drawn together may be of two groups."""

_CUTS = "cuts.*.jsonl*"


def is_shar(path: Path) -> bool:
    """Whether a folder is in Lhotse's Shar format."""
    return path.is_dir() and any(path.glob(_CUTS))


class SharCuts(Sequence[dict[str, Any]]):
    """The cuts of a Shar folder, as they are listed, without audio.

    Raises:
        DomainError: the folder is incomplete, or a shard cannot be read; names the file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = sorted(folder.glob(_CUTS))
        self.sizes = _sizes(folder, self.shards)
        self._ends = array("Q", accumulate(self.sizes))
        self._read = functools.lru_cache(2 * GROUP)(_Shard.read)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, i: int) -> dict[str, Any]:  # type: ignore[override]
        """The i-th cut as JSON.

        Raises:
            DomainError: its shard is not what it was, or damaged.
        """
        number, place = self._place(i)
        return self._shard(number).cut(place)

    def load(self, i: int) -> Cut:
        """The i-th cut with its audio in memory.

        Raises:
            AudioError: it has none, or another cut's.
            DomainError: as ``[i]``; or it has more than one transcript, or none.
        """
        from lhotse.serialization import deserialize_item
        from lhotse.shar.utils import fill_shar_placeholder

        number, place = self._place(i)
        shard = self._shard(number)
        cut = deserialize_item(shard.cut(place))
        if len(cut.supervisions) != 1:
            raise DomainError(
                f"{shard.path}:{place + 1}: found {len(cut.supervisions)} supervisions; expected "
                "one (CutSet.trim_to_supervisions makes it so)"
            )
        data, manifest = shard.audio(place, cut.id)
        cut.recording = deserialize_item(json.loads(manifest))
        fill_shar_placeholder(cut.recording, data, shard.tar)
        return cut

    def _place(self, i: int) -> tuple[int, int]:
        number = bisect_right(self._ends, i)
        return number, i - (self._ends[number - 1] if number else 0)

    def _shard(self, number: int) -> _Shard:
        shard = self._read(self.shards[number])
        if len(shard.lines) != self.sizes[number]:
            raise DomainError(
                f"{shard.path}: holds {len(shard.lines)} cuts; expected {self.sizes[number]}, as "
                f"when it was written: make the folder again with 'asr-llm corpus shar'"
            )
        return shard


@dataclass(frozen=True)
class _Shard:
    """The lines of a shard's list, and where its audio is."""

    path: Path
    lines: list[bytes]

    @classmethod
    def read(cls, path: Path) -> _Shard:
        return cls(path, list(_lines(path)))

    @property
    def tar(self) -> Path:
        """The file with the audio."""
        number = self.path.name.split(".")[1]
        return self.path.with_name(f"recording.{number}.tar")

    def cut(self, place: int) -> dict[str, Any]:
        """A cut as JSON."""
        try:
            found: dict[str, Any] = json.loads(self.lines[place])
        except ValueError as error:
            raise DomainError(
                f"{self.path}:{place + 1}: not JSON; expected a Lhotse cut: make the folder again"
            ) from error
        return found

    def audio(self, place: int, cut_id: str) -> tuple[bytes, bytes]:
        """The audio file of a cut, and its recording as JSON.

        Raises:
            AudioError: it is another's, or there is none.
        """
        members = self._members
        name = members[2 * place][0] if 2 * place + 1 < len(members) else "nothing"
        if name.rpartition(".")[0] != cut_id or name.endswith(".nodata"):
            raise AudioError(
                f"{self.tar}: found {name} for cut {cut_id}; expected its audio, in the order of "
                f"{self.path.name}: make the folder again"
            )
        with self.tar.open("rb") as file:
            data, manifest = (_bytes(file, member) for member in members[2 * place : 2 * place + 2])
        return data, manifest

    @functools.cached_property
    def _members(self) -> list[tuple[str, int, int]]:
        """Name, first byte and size of each file in the tar."""
        try:
            with tarfile.open(self.tar, "r:") as tar:
                return [(member.name, member.offset_data, member.size) for member in tar]
        except (OSError, tarfile.TarError) as error:
            raise AudioError(
                f"{self.tar} cannot be read ({error}); expected the audio of {self.path.name}: "
                "make the folder again"
            ) from error


def _bytes(file: IO[bytes], member: tuple[str, int, int]) -> bytes:
    _, first, size = member
    file.seek(first)
    return file.read(size)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise DomainError(f"{path} cannot be read ({error}); make the folder again") from error


def _sizes(folder: Path, shards: list[Path]) -> list[int]:
    """The number of cuts in each shard; counted, where the folder has no index."""
    index = folder / INDEX
    if not index.is_file():
        return [sum(1 for _ in _lines(path)) for path in shards]
    sizes: list[int] = json.loads(index.read_text("utf-8"))["cuts"]
    if len(sizes) != len(shards):
        raise DomainError(
            f"{folder}: found {len(shards)} shards; expected {len(sizes)}, as {INDEX} says: some "
            "are missing. Copy them again"
        )
    return sizes
