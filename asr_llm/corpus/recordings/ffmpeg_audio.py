"""Reads audio with FFmpeg's libraries, which the package ``av`` (PyAV) includes.

For formats that libsndfile cannot read: m4a, mp4, mov, webm, aac, amr, 3gp, wma etc. Only formats
that contain their own audio are opened, never playlists, which could refer to other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from asr_llm.corpus.recordings.audio_kinds import EXPECTED, Channels
from asr_llm.errors import AudioError

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,loas,ac3,eac3,amr,amrnb,amrwb,asf,avi,flv,mpegts,"
    "mpeg,wav,w64,caf,aiff,au,ogg,flac,ape,wv,tta,tak,dsf,voc,sox"
)
_EXACT = ("mov", "matroska", "asf")  # their headers tell the length; others' is a guess


class NotReadableError(Exception):
    """FFmpeg finds no audio that it can decode; says why."""


class FfmpegAudio:
    """The first audio track of a file, as ``AudioFile``.

    Raises:
        NotReadableError: see there.
        AudioError: it is a video without sound.
    """

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self.path = path
        try:
            self._container: Any = av.open(
                raw,
                container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError, OSError) as error:
            raise NotReadableError(_reason(error)) from None
        try:
            self._open()
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> None:
        if not self._container.streams.audio:
            raise AudioError(
                f"{self.path}: contains no audio; expected a recording. Check the file"
            )
        self._stream: Any = self._container.streams.audio[0]
        try:
            self.num_samples = 0
            seconds = self._seconds()
            self._frames: Iterator[Any] = self._container.decode(self._stream)
            self._first = next(self._frames)
        except StopIteration:
            raise NotReadableError("no samples in it") from None
        except (av.FFmpegError, ValueError, OSError) as error:
            raise NotReadableError(_reason(error)) from None
        # The decoder knows better than the container, as of AAC whose upper half is coded apart.
        self.rate: int = self._first.sample_rate
        self.num_channels: int = self._first.layout.nb_channels
        self.num_samples = max(1, round(seconds * self.rate))

    def __enter__(self) -> FfmpegAudio:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def blocks(self, size: int) -> Iterator[Channels]:
        held: list[Channels] = []
        count = total = 0
        problem: Exception | None = None
        try:
            for samples in self._decoded():
                held.append(samples)
                count += len(samples)
                total += len(samples)
                while count >= size:
                    joined = np.concatenate(held)
                    yield joined[:size]
                    held, count = [joined[size:]], count - size
        except (av.FFmpegError, ValueError, OSError) as error:
            problem = error
        if count:
            yield np.concatenate(held)
        if problem is not None:
            raise AudioError(
                f"{self.path}: corrupt: it breaks off after {total / self.rate:.1f} s "
                f"({_reason(problem)}); {EXPECTED}"
            ) from None

    def _decoded(self) -> Iterator[Channels]:
        yield _samples(self._first)
        for frame in self._frames:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.num_channels):
                raise ValueError("its rate or its channels change")
            yield _samples(frame)

    def _seconds(self) -> float:
        """Duration by the header or the last packet, because browser recorders write none."""
        if self._container.format.name.startswith(_EXACT):
            if self._stream.duration:
                return float(self._stream.duration * self._stream.time_base)
            if self._container.duration and len(self._container.streams) == 1:
                return float(self._container.duration / av.time_base)
        end = 0.0
        for packet in self._container.demux(self._stream):
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        self._container.seek(0)
        return end


def _samples(frame: Any) -> Channels:
    """(T, C) from -1 to 1, of a frame in any of FFmpeg's sample formats."""
    data = frame.to_ndarray()
    if frame.format.is_planar:
        data = data.T
    else:
        data = data.reshape(-1, frame.layout.nb_channels)
    if data.dtype.kind == "f":
        return np.asarray(data, np.float32)
    if data.dtype.kind == "u":
        return (data.astype(np.float32) - 128) / 128
    return np.asarray(data / float(-np.iinfo(data.dtype).min), np.float32)


def _reason(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return str(said).strip().rstrip(".") or type(error).__name__
