"""Opens audio files with libsndfile, or FFmpeg (``ffmpeg_audio``) if that fails.

WAV files with a wrong length in the header are read to their end: programs that write to a pipe
(sox, arecord, ffmpeg) cannot know the length, and recorders that are switched off never write it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from asr_llm.corpus.recordings.audio_kinds import EXPECTED, KINDS, AudioFile, Channels
from asr_llm.errors import AudioError
from asr_llm.files import is_lfs_pointer
from asr_llm.text_files import looks_like_text

_LOWEST_RATE, _HIGHEST_RATE = 1_000, 1_000_000
_MAGIC = (
    b"RIFF",
    b"RF64",
    b"FORM",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf2",
)
_CONTAINERS = (b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"FLV")

# Lengths that mean "unknown": 0, and large values such as sox's 0x7ffff000 and arecord's
# 0x80000000, each plus its header.
_UNKNOWN = (range(1), range(0x7FFFF000, 0x80000100), range(0xFFFFFF00, 0x100000000))
_TOLERANCE = 0.5  # seconds that may be lacking: encoders' delays, edit lists
_BLOCK = 2**20
_MOST_CHUNKS = 1000  # before the samples of a WAV file
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_TAGS = (b"ID3", b"TAG", b"APET")  # what some programs append


@contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """Open an audio file of any kind.

    Raises:
        AudioError: missing, a directory, empty, corrupt, not audio, or with an impossible sampling
            rate.
    """
    import soundfile

    from asr_llm.corpus.recordings.sndfile_audio import SndfileAudio

    head = _head(path)
    with path.open("rb") as raw:
        length = _wav_length(raw)
        is_wrong = length is not None and length.is_wrong
        source: Any = _Mended(raw, length if is_wrong else None)
        try:
            # By suffix where possible: suffixes such as .raw mean something to libsndfile.
            decoder: Any = SndfileAudio(path, source if is_wrong else path)
        except soundfile.LibsndfileError as error:
            decoder = _by_ffmpeg(path, source, head, error.error_string.rstrip("."))
        except TypeError:  # .raw: a format without a header
            raise AudioError(
                f"{path}: has no header, so its sampling rate is unknown; {EXPECTED}"
            ) from None
        with decoder:
            if not _LOWEST_RATE <= decoder.rate <= _HIGHEST_RATE:
                raise AudioError(
                    f"{path}: has {decoder.rate} samples a second; expected {_LOWEST_RATE} to "
                    f"{_HIGHEST_RATE}: its header may be damaged, export it again"
                )
            yield _ToItsEnd(path, decoder, length)


def _head(path: Path) -> bytes:
    """The first bytes of an existing, non-empty file."""
    if path.is_dir():
        raise AudioError(f"{path}: is a directory; expected an audio file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    if size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); expected audio: copy or export it again")
    return head


def _by_ffmpeg(path: Path, source: BinaryIO, head: bytes, reason: str) -> Any:
    try:
        from asr_llm.corpus.recordings.ffmpeg_audio import FfmpegAudio, NotReadableError
    except ImportError:
        raise AudioError(
            f"{path}: libsndfile cannot decode it ({reason}), and the package av, which might, "
            "does not import: pip install av"
        ) from None
    if is_lfs_pointer(path):
        raise AudioError(f"{path}: is a Git LFS pointer, not the file; fetch it: git lfs pull")
    source.seek(0)
    try:
        return FfmpegAudio(path, source)
    except NotReadableError as error:
        if head[4:8] == b"ftyp" or head.startswith(_CONTAINERS):
            what = f"corrupt ({error})"
        elif head.startswith(_MAGIC):
            what = f"corrupt ({reason})"
        else:
            what = "cannot be decoded as audio"
            if looks_like_text(head):
                raise AudioError(f"{path}: {what}: it looks like text; {KINDS}") from None
        raise AudioError(f"{path}: {what}; {EXPECTED}") from None


class _ToItsEnd:
    """A file that is read to its end, and reported as truncated if its header promises more."""

    def __init__(self, path: Path, decoder: AudioFile, length: _WavLength | None) -> None:
        self._path, self._decoder, self._length = path, decoder, length
        self.rate, self.num_channels = decoder.rate, decoder.num_channels
        self.num_samples = decoder.num_samples

    def blocks(self, size: int) -> Iterator[Channels]:
        total = 0
        for block in self._decoder.blocks(size):
            total += len(block)
            yield block
        missing = _missing_bytes(self._path, self._length)
        lacking = (self.num_samples - total) / self.rate
        if total and (missing or lacking > _TOLERANCE):
            more = f"{missing} bytes" if missing else f"{lacking:.1f} s"
            raise AudioError(
                f"{self._path}: truncated: it breaks off after {total / self.rate:.1f} s, but its "
                f"header promises {more} more; copy it again"
            )


@dataclass(frozen=True)
class _WavLength:
    """The sample data of a WAV file: ``told`` bytes by the header, ``rest`` to the end of the file.

    ``place`` is the header position that says so; ``riff`` the size of the whole file by the
    header; ``follows`` whether another chunk follows where the samples should end.
    """

    place: int
    told: int
    rest: int
    riff: int
    follows: bool

    @property
    def is_unknown(self) -> bool:
        """Whether the writer did not know the length."""
        return any(self.told in some or self.riff in some for some in _UNKNOWN)

    @property
    def is_wrong(self) -> bool:
        """Whether there are more samples than the header says; then all that follow are read."""
        return self.told < self.rest and not self.follows

    @property
    def missing(self) -> int:
        """Bytes that the header promises but the file lacks."""
        return 0 if self.is_unknown else max(0, self.told - self.rest)


def _wav_length(file: BinaryIO) -> _WavLength | None:
    """Where a WAV file states its length; None if it is not a WAV file, or has no samples."""
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    end, place = os.fstat(file.fileno()).st_size, 12
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        chunk = file.read(8)
        if len(chunk) < 8:
            return None
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            after = place + 8 + size
            follows = after >= end - 1 or _is_chunk(file, after + size % 2, end)
            riff = int.from_bytes(head[4:8], "little")
            return _WavLength(place + 4, size, end - place - 8, riff, follows)
        place += 8 + size + size % 2
    return None


def _is_chunk(file: BinaryIO, place: int, end: int) -> bool:
    """Whether a chunk starts there, or only padding or a tag."""
    file.seek(place)
    found = file.read(64)
    if len(found) < 8 or found.startswith(_TAGS):
        return True
    if not any(found):  # recordings begin with silence too: padding goes on to the end
        return not any(block.strip(b"\0") for block in iter(lambda: file.read(_BLOCK), b""))
    size = int.from_bytes(found[4:8], "little")
    return found[:4].isascii() and found[:4].decode().isprintable() and place + 8 + size <= end


class _Mended(io.RawIOBase):
    """A file with the correct length patched into its header, and no data outside.

    Damaged headers make decoders seek to positions outside the file; here those are its end.
    """

    def __init__(self, file: BinaryIO, length: _WavLength | None) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self._mended: dict[int, bytes] = {}
        if length is not None:
            told = min(length.rest, 0xFFFFFFFF)
            riff = min(length.place - 4 + length.rest, 0xFFFFFFFF)
            self._mended = {4: riff.to_bytes(4, "little"), length.place: told.to_bytes(4, "little")}
        file.seek(0)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:  # a header of many chunks has decoders seek a million times
            offset += self._file.tell()
        elif whence == os.SEEK_END:
            offset += self._size
        return self._file.seek(offset if 0 <= offset <= self._size else self._size)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        place = self._file.tell()
        found = bytearray(self._file.read(len(buffer)))
        for start, mended in self._mended.items():
            for i, byte in enumerate(mended, start - place):
                if 0 <= i < len(found):
                    found[i] = byte
        buffer[: len(found)] = bytes(found)
        return len(found)


def _missing_bytes(path: Path, length: _WavLength | None) -> int:
    """Bytes that a file lacks by its header, if its decoder ignores that."""
    if length is not None:
        return length.missing
    with path.open("rb") as file:
        head = file.read(4096)
    told = 0
    if head[:4] == b"FORM":
        told = int.from_bytes(head[4:8], "big") + 8
    elif (place := head.find(_ASF_PROPERTIES)) >= 0:
        told = int.from_bytes(head[place + 40 : place + 48], "little")
    if any(told - 8 in some or told in some for some in _UNKNOWN):
        return 0
    return max(0, told - path.stat().st_size)
