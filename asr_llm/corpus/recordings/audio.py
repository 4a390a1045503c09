"""Reads audio of any kind as 16 kHz mono float32 of a normal level, and splits long audio.

Shape legend: T samples at ``SAMPLE_RATE``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asr_llm.corpus.recordings.audio_files import open_audio
from asr_llm.corpus.recordings.audio_kinds import AudioFile
from asr_llm.corpus.recordings.channels import Tell, mix
from asr_llm.errors import AudioError, number_of

if TYPE_CHECKING:
    from lhotse.cut import Cut

SAMPLE_RATE = 16000
"""Samples per second of all audio in this package."""

Samples = npt.NDArray[np.float32]

_FRAME = SAMPLE_RATE // 50  # 20 ms
_SMOOTHING_FRAMES = 5  # on each side: 200 ms, longer than the closure of a plosive
_SILENCE_RMS = 1e-3  # -60 dBFS; all levels are those of the loudest 20 ms
_FAINT_RMS, _QUIET_RMS, _LOUD_RMS, _NORMAL_RMS = 1e-4, 0.03, 1.0, 0.1
_BLOCK_SECONDS = 30
_LARGEST = 1e6  # per sample; some programs write unscaled 16-bit values, up to 32,768
_BLOCK_SIZE = 2**24  # samples of all channels: 64 MB


@dataclass(frozen=True)
class AudioInfo:
    """The header of an audio file."""

    sampling_rate: int
    num_samples: int
    num_channels: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sampling_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Sampling rate, length and channels of a file, usually without decoding it.

    Raises:
        AudioError: as ``load_audio``, except for damage that only decoding reveals.
    """
    with open_audio(Path(path)) as file:
        return AudioInfo(file.rate, file.num_samples, file.num_channels)


def duration(path: Path) -> float:
    """Seconds by a file's header; 0 if it cannot be read, which is reported when it is decoded."""
    try:
        return audio_info(path).duration
    except AudioError:
        return 0.0


def load_audio(path: str | Path, channel: int | None = None, tell: Tell | None = None) -> Samples:
    """Decode a file of any kind (``audio_kinds``) to mono float32 (T,) at 16 kHz.

    Channels are mixed by ``channels.mix``; other rates are resampled by soxr (HQ), block by block,
    so that an hour of studio audio needs no more memory than its result. Short files are not
    padded. The level is ``normal``.

    Args:
        channel: take only this one, counted from 1.
        tell: called with the channels used, if it is not the mean of all.

    Raises:
        AudioError: missing, a directory, empty, corrupt, truncated, not audio, or not finite; or it
            has no such channel.
    """
    return normal(np.concatenate(list(read_blocks(path, channel, tell))))


def read_blocks(
    path: str | Path, channel: int | None = None, tell: Tell | None = None
) -> Iterator[Samples]:
    """``load_audio`` half a minute at a time, in constant memory, at the file's own level.

    Raises:
        AudioError: as ``load_audio``; for damage, when it is reached.
    """
    import soxr

    path = Path(path)
    with open_audio(path) as file:
        resampler = soxr.ResampleStream(file.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        total = 0
        try:
            for mono in _one_channel(path, file, channel, tell):
                total += len(mono)
                yield mono if file.rate == SAMPLE_RATE else resampler.resample_chunk(mono)
        except AudioError:  # keep everything before the damage
            if total and file.rate != SAMPLE_RATE:
                yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            raise
        if file.rate != SAMPLE_RATE:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    if total == 0:
        raise AudioError(f"{path}: contains no samples; expected at least one. Export it again")


@dataclass(frozen=True)
class Source:
    """An audio file, mixed down, or one ``channel`` of it, counted from 1."""

    path: Path
    channel: int | None = None

    @classmethod
    def of(cls, given: str | Path | Source) -> Source:
        """Convert a path to a source; sources are returned unchanged."""
        return given if isinstance(given, Source) else cls(Path(given))

    def check(self) -> None:
        """Check by the header that it can be read.

        Raises:
            AudioError: it cannot, or has no such channel.
        """
        _check_channel(self.path, self.channel, audio_info(self.path).num_channels)

    def blocks(self, tell: Tell | None = None) -> Iterator[Samples]:
        """``read_blocks`` of the source, at a normal level."""
        return normal_blocks(lambda tell: read_blocks(self.path, self.channel, tell), tell)


def _check_channel(path: Path, channel: int | None, num_channels: int) -> None:
    if channel is not None and not 1 <= channel <= num_channels:
        raise AudioError(
            f"{path}: has {number_of(num_channels, 'channel')}; there is no channel {channel} to "
            f"take: expected {'1' if num_channels == 1 else f'1 to {num_channels}'}, or mix"
        )


def _one_channel(
    path: Path, file: AudioFile, channel: int | None, tell: Tell | None
) -> Iterator[Samples]:
    """The blocks of a file, mixed down or one channel, at the file's own rate."""
    _check_channel(path, channel, file.num_channels)
    size = min(_BLOCK_SECONDS * file.rate, max(1, _BLOCK_SIZE // file.num_channels))
    seconds, told = 0.0, set[str]()

    def tell_once(line: str) -> None:
        if tell is not None and line not in told:
            told.add(line)
            tell(f"from {seconds:.0f} s: {line}" if seconds else line)

    for block in file.blocks(size):
        chosen = block if channel is None else block[:, channel - 1 : channel]
        if not np.abs(chosen).max(initial=0.0) <= _LARGEST:
            raise AudioError(
                f"{path}: contains samples that are NaN, infinite or beyond "
                f"{_LARGEST:g}; expected samples from -1 to 1. Export the file again"
            )
        mono = mix(chosen, file.rate, tell_once)
        seconds += len(block) / file.rate
        yield mono


def cut_audio(cut: Cut) -> Samples:
    """The audio of a Lhotse cut as mono float32 (T,) at 16 kHz, of a ``normal`` level.

    Raises:
        AudioError: the cut's recording cannot be read; names the cut.
    """
    import soxr

    try:
        audio = np.atleast_2d(cut.load_audio())  # (channels, samples at the cut's own rate)
    except Exception as error:  # lhotse's backends raise many kinds
        own = _own_reading(cut)
        if own is not None:
            return normal(own)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise AudioError(f"cut {cut.id}: its audio cannot be read ({reason})") from error
    mono = mix(audio.T.astype(np.float32), cut.sampling_rate)
    if not np.isfinite(mono).all():
        raise AudioError(f"cut {cut.id}: contains samples that are NaN or infinite")
    if cut.sampling_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, cut.sampling_rate, SAMPLE_RATE, quality="HQ")
    return normal(np.asarray(mono, np.float32))


def _own_reading(cut: Cut) -> Samples | None:
    """The audio of a cut, if it is a plain file that Lhotse cannot read; else None."""
    recording = getattr(cut, "recording", None)
    if recording is None or recording.transforms or len(recording.sources) != 1:
        return None
    (source,) = recording.sources
    if source.type != "file" or not Path(source.source).is_file():
        return None
    channel = cut.channel + 1 if isinstance(cut.channel, int) else None
    if recording.num_channels == 1:
        channel = None
    first, count = round(cut.start * SAMPLE_RATE), round(cut.duration * SAMPLE_RATE)
    held, place = [np.zeros(0, np.float32)], 0
    for block in read_blocks(source.source, channel):
        held.append(block[max(0, first - place) : max(0, first + count - place)])
        place += len(block)
        if place >= first + count:
            break
    return np.concatenate(held)


def normal(samples: Samples) -> Samples:
    """Audio (T,) at a normal level; not changed if it has one, or is fainter than -80 dBFS.

    Voice activity detection misses words of quiet speech, and the encoder makes nothing of unscaled
    16-bit values (eval/RESULTS.md#loudness).
    """
    gain = _gain([samples])
    return samples if gain == 1 else samples * np.float32(gain)


def normal_blocks(
    read: Callable[[Tell | None], Iterator[Samples]], tell: Tell | None = None
) -> Iterator[Samples]:
    """The blocks of an audio at a ``normal`` level; it is read up to the first that has one, twice.

    Args:
        read: starts reading from the beginning; called with ``tell``, the first time with None.
    """
    gain = np.float32(_gain(read(None)))
    for block in read(tell):
        yield block if gain == 1 else block * gain


def _gain(blocks: Iterable[Samples]) -> float:
    """The factor to a normal level; of damaged audio, by what comes before the damage."""
    level = 0.0
    with suppress(AudioError):
        for block in blocks:
            level = max(level, loudest(block))
            if _QUIET_RMS <= level <= _LOUD_RMS:
                return 1.0
    return 1.0 if level < _FAINT_RMS else _NORMAL_RMS / level


def is_silent(samples: Samples) -> bool:
    """Whether no 20 ms frame of ``samples`` (T,) is louder than -60 dBFS RMS."""
    return loudest(samples) < _SILENCE_RMS


def loudest(samples: Samples) -> float:
    """RMS of the loudest 20 ms frame."""
    if not len(samples):
        return 0.0
    frames = _energies(samples) if len(samples) >= _FRAME else np.mean(samples**2, keepdims=True)
    return float(np.sqrt(frames.max()))


def split_at_pauses(samples: Samples, max_seconds: float) -> list[tuple[int, int]]:
    """Split ``samples`` (T,) into pieces (start, end) of at most ``max_seconds``.

    The pieces cover the audio once, in order. Each split is at the quietest 200 ms in the last
    third before the limit, and no piece is shorter than a third of the limit, unless the whole
    audio is.

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
            # The last on ties, for longer pieces.
            end = (last - int(np.argmin(loudness[first : last + 1][::-1]))) * _FRAME
        pieces.append((start, end))
        start = end
    return [*pieces, (start, len(samples))] if len(samples) else []


def _energies(samples: Samples) -> npt.NDArray[np.float32]:
    """Mean square of each whole frame (T // 320,)."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.asarray(np.einsum("ft,ft->f", frames, frames) / _FRAME, np.float32)


def _boundary_loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """Mean energy around each frame boundary, including the start and the end."""
    sums = np.concatenate([[0.0], np.cumsum(_energies(samples), dtype=np.float64)])
    boundaries = np.arange(len(sums))
    low = np.maximum(boundaries - _SMOOTHING_FRAMES, 0)
    high = np.minimum(boundaries + _SMOOTHING_FRAMES, len(sums) - 1)
    return np.asarray((sums[high] - sums[low]) / np.maximum(high - low, 1))
