"""Audio of any kind into 16 kHz mono float32, and where to cut it when it is long.

Shape legend: T samples at ``SAMPLE_RATE``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_llm.errors import AudioError

if TYPE_CHECKING:
    import soundfile
    from lhotse.cut import Cut

SAMPLE_RATE = 16000
"""Samples per second of all audio in this package."""

Samples = npt.NDArray[np.float32]

_FRAME = SAMPLE_RATE // 50  # 20 ms
_SMOOTHING_FRAMES = 5  # on each side: 200 ms, longer than the closure of a plosive
_SILENCE_RMS = 1e-3  # -60 dBFS
_BLOCK_SECONDS = 30
_EXPECTED = "expected wav, flac, mp3 or ogg; convert with: ffmpeg -i FILE FILE.wav"
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


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says."""

    sampling_rate: int
    num_samples: int
    num_channels: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sampling_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Sampling rate, length and channels of a file, mostly without decoding it.

    Raises:
        AudioError: as ``load_audio``, but for damage that only decoding shows.
    """
    with _open(Path(path)) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


def load_audio(path: str | Path) -> Samples:
    """Decode a file (wav, flac, mp3, ogg) to mono float32 (T,) at 16 kHz.

    Channels are averaged; other rates are resampled by soxr (HQ), block by
    block, so that an hour of studio audio needs no more memory than its result.
    However short the file, it is returned as it is.

    Raises:
        AudioError: missing, a directory, empty, corrupt, not audio, or not finite.
    """
    return np.concatenate(list(read_blocks(path)))


def read_blocks(path: str | Path) -> Iterator[Samples]:
    """``load_audio`` half a minute at a time, in as much memory.

    Raises:
        AudioError: as ``load_audio``; of damage, once it is come upon.
    """
    import soundfile
    import soxr

    path = Path(path)
    total = 0
    with _open(path) as file:
        rate = file.samplerate
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        try:
            while True:
                block = file.read(_BLOCK_SECONDS * rate, dtype="float32", always_2d=True)
                mono = block.mean(axis=1, dtype=np.float32)
                if not np.isfinite(mono).all():
                    raise AudioError(
                        f"{path}: holds samples that are not finite numbers (NaN or infinite); "
                        "expected finite samples. Export the file again"
                    )
                is_last = len(block) == 0
                resampled = (
                    mono if rate == SAMPLE_RATE else resampler.resample_chunk(mono, last=is_last)
                )
                total += len(resampled)
                yield resampled
                if is_last:
                    break
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{path}: corrupt: decoding stopped after {file.tell() / rate:.1f} s "
                f"({error.error_string.rstrip('.')}); {_EXPECTED}"
            ) from None
    if total == 0:
        raise AudioError(f"{path}: holds no samples; expected at least one. Export it again")
    if missing := _missing_bytes(path):
        raise AudioError(
            f"{path}: breaks off after {total / SAMPLE_RATE:.1f} s: its header tells of {missing} "
            "bytes more; copy it again"
        )


def cut_audio(cut: Cut) -> Samples:
    """The audio of a lhotse cut as mono float32 (T,) at 16 kHz.

    Raises:
        AudioError: the cut's recording cannot be read; names the cut.
    """
    import soxr

    try:
        audio = np.atleast_2d(cut.load_audio())  # (channels, samples at the cut's own rate)
    except Exception as error:  # lhotse raises as many kinds as it has backends
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise AudioError(f"cut {cut.id}: its audio cannot be read ({reason})") from error
    mono = audio.mean(axis=0, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"cut {cut.id}: holds samples that are not finite (NaN or infinite)")
    if cut.sampling_rate == SAMPLE_RATE:
        return mono
    return np.asarray(soxr.resample(mono, cut.sampling_rate, SAMPLE_RATE, quality="HQ"), np.float32)


def is_silent(samples: Samples) -> bool:
    """Whether no 20 ms frame of ``samples`` (T,) is louder than -60 dBFS RMS."""
    if len(samples) < _FRAME:
        return not len(samples) or bool(np.sqrt(np.mean(samples**2)) < _SILENCE_RMS)
    return bool(np.sqrt(_energies(samples).max()) < _SILENCE_RMS)


def pauses(
    samples: Samples, min_seconds: float = 0.3, below_db: float = 30.0
) -> list[tuple[int, int]]:
    """Stretches (start, end), in samples, of at least ``min_seconds`` without speech.

    A frame of 20 ms is quiet when it lies ``below_db`` under the loud ones (the
    95th percentile of all frames), or under -60 dBFS.
    """
    energies = _energies(samples)
    if not len(energies):
        return []
    loud = float(np.quantile(energies, 0.95))
    quiet = np.asarray(energies < max(loud * 10 ** (-below_db / 10), _SILENCE_RMS**2), np.int8)
    edges = np.flatnonzero(np.diff(quiet, prepend=0, append=0)) * _FRAME
    found = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, end) for start, end in found if end - start >= min_seconds * SAMPLE_RATE]


def split_at_pauses(samples: Samples, max_seconds: float) -> list[tuple[int, int]]:
    """Cut ``samples`` (T,) into pieces (start, end) of at most ``max_seconds``.

    The pieces cover the audio once, in order. Each cut is made at the quietest
    200 ms in the last third before the limit, and leaves no piece shorter than
    a third of it (but audio that is shorter as a whole).

    Raises:
        ValueError: ``max_seconds`` is less than a sample.
    """
    limit = math.floor(max_seconds * SAMPLE_RATE)
    if limit < 1:
        raise ValueError(f"max_seconds must be at least {1 / SAMPLE_RATE}, not {max_seconds}")
    loudness = _boundary_loudness(samples)
    pieces, start = [], 0
    while len(samples) - start > limit:
        earliest = start + limit - limit // 3
        latest = min(start + limit, len(samples) - limit // 3)
        first, last = -(-earliest // _FRAME), latest // _FRAME  # frame boundaries in between
        end = latest
        if first <= last:
            # The last of equals, for longer pieces.
            end = (last - int(np.argmin(loudness[first : last + 1][::-1]))) * _FRAME
        pieces.append((start, end))
        start = end
    return [*pieces, (start, len(samples))] if len(samples) else []


def _energies(samples: Samples) -> npt.NDArray[np.float32]:
    """Mean square of each whole frame (T // 320,)."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.asarray(np.einsum("ft,ft->f", frames, frames) / _FRAME, np.float32)


def _boundary_loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """Mean energy around each frame boundary, the start and the end among them."""
    sums = np.concatenate([[0.0], np.cumsum(_energies(samples), dtype=np.float64)])
    boundaries = np.arange(len(sums))
    low = np.maximum(boundaries - _SMOOTHING_FRAMES, 0)
    high = np.minimum(boundaries + _SMOOTHING_FRAMES, len(sums) - 1)
    return np.asarray((sums[high] - sums[low]) / np.maximum(high - low, 1))


def _missing_bytes(path: Path) -> int:
    """How many bytes a WAV file lacks of what its header tells; libsndfile passes over that."""
    with path.open("rb") as file:
        head = file.read(12)
    told = int.from_bytes(head[4:8], "little") + 8
    # A recorder that was switched off, or that writes into a pipe, leaves one of these.
    if head[:4] != b"RIFF" or head[8:] != b"WAVE" or told >= 2**32 - 64 or told == 8:
        return 0
    return max(0, told - path.stat().st_size)


def _open(path: Path) -> soundfile.SoundFile:
    import soundfile

    if path.is_dir():
        raise AudioError(f"{path}: is a directory; expected an audio file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    if size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); expected audio. Copy or export it again")
    try:
        return soundfile.SoundFile(os.fsencode(path))  # a name may be any bytes
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        what = f"corrupt ({reason})" if head.startswith(_MAGIC) else "not audio we can decode"
        raise AudioError(f"{path}: {what}; {_EXPECTED}") from None
    except TypeError:  # .raw: a format without a header
        raise AudioError(f"{path}: has no header to tell its rate; {_EXPECTED}") from None
