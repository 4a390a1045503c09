"""Mixes channels without losing speech.

The mean is used if it is about as loud as the channels. If they cancel (one is wired with reversed
polarity), if one is nearly silent, or if one has only noise, the better channel is used. Channels
with different voices are mixed. Deviations from the mean are reported.

Shape legend: T samples at the file's own rate, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from asr_llm.corpus.recordings.audio_kinds import Channels

Mono = npt.NDArray[np.float32]
Tell = Callable[[str], None]

_LOUD_ENOUGH = 0.84  # of the loudest channel: 1.5 dB
_SILENCE_RMS = 1e-3  # -60 dBFS
_SAME = 0.5  # minimum correlation of channels with the same sound
_OTHER = 0.25  # maximum correlation of channels with different sounds
_LAG_SECONDS = 0.02  # microphones seven metres apart
_FRAMES_A_SECOND = 10
_RISES_DB = 10.0  # speech exceeds the background by more
_MOST_GROUPS = 8
_SHORTEST_SECONDS = 0.5  # too little to tell voices apart


def mix(block: Channels, rate: int, tell: Tell | None = None) -> Mono:
    """One channel (T,) of ``block`` (T, C), some seconds at ``rate`` samples per second.

    Args:
        tell: called with what was done, if it is not the plain mean of all.
    """
    mean = block.mean(axis=1, dtype=np.float32)
    if block.shape[1] == 1 or not np.isfinite(mean).all():
        return mean
    levels = np.sqrt(np.mean(np.square(block, dtype=np.float32), axis=0, dtype=np.float64))
    sounding = np.flatnonzero(levels >= _SILENCE_RMS)
    if not len(sounding):
        return mean
    told = tell or (lambda line: None)
    if len(sounding) == 1:
        told(f"only {_name(sounding[0])} of {block.shape[1]} has sound: it is used alone")
        return np.ascontiguousarray(block[:, sounding[0]])
    loudest_first = sounding[np.argsort(-levels[sounding], kind="stable")]
    chosen = _choose(block, levels, loudest_first.tolist(), rate, told)
    return np.asarray(block[:, chosen].mean(axis=1), np.float32)


def _choose(
    block: Channels, levels: npt.NDArray[np.float64], sounding: list[int], rate: int, tell: Tell
) -> list[int]:
    """The channels to average, of those with sound."""
    groups = _groups(block, sounding, rate)
    rising = [group for group in groups if _rises(block[:, group[0]], rate)]
    best = [_of_one_source(block, levels, group, tell) for group in rising or groups]
    if len(rising) == 1 and len(groups) > 1:
        tell(f"{_name(rising[0][0])} is used: the others contain only noise")
    elif len(rising) > 1 and _differ(block, [group[0] for group in rising[:2]], rate):
        tell(
            f"{_name(rising[0][0])} and {_name(rising[1][0])} contain different voices, "
            "which were mixed; to keep them apart: --channels separate"
        )
    return sorted(channel for some in best for channel in some)


def _of_one_source(
    block: Channels, levels: npt.NDArray[np.float64], group: list[int], tell: Tell
) -> list[int]:
    """All channels of the same sound, or the loudest if their mean is quieter."""
    mean = block[:, group].mean(axis=1)
    level = float(np.sqrt(np.mean(np.square(mean), dtype=np.float64)))
    if level >= _LOUD_ENOUGH * levels[group[0]]:
        return group
    tell(f"{_name(group[0])} is used alone: mixing in the others would make it quieter")
    return group[:1]


def _groups(block: Channels, sounding: list[int], rate: int) -> list[list[int]]:
    """Channels with the same sound, grouped, loudest first."""
    groups: list[list[int]] = []
    for channel in sounding:
        for group in groups[:_MOST_GROUPS]:
            if abs(_correlation(block[:, group[0]], block[:, channel], rate)) >= _SAME:
                group.append(channel)
                break
        else:
            groups.append([channel])
    return groups


def _differ(block: Channels, both: list[int], rate: int) -> bool:
    if len(block) < _SHORTEST_SECONDS * rate:
        return False
    return abs(_correlation(block[:, both[0]], block[:, both[1]], rate)) < _OTHER


def _correlation(one: Mono, other: Mono, rate: int) -> float:
    """Correlation, from -1 to 1, at the best lag of a few milliseconds."""
    lags = max(1, round(_LAG_SECONDS * rate))
    size = 1 << (len(one) + lags).bit_length()
    spectra = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    products = np.fft.irfft(spectra, size)
    near = np.concatenate([products[: lags + 1], products[-lags:]])
    power = float(np.sqrt(np.dot(one, one)) * np.sqrt(np.dot(other, other)))
    return float(near[np.argmax(np.abs(near))]) / power if power else 0.0


def _rises(channel: Mono, rate: int) -> bool:
    """Whether something stands out of the background, like speech and unlike noise."""
    size = max(1, rate // _FRAMES_A_SECOND)
    frames = channel[: len(channel) // size * size].reshape(-1, size)
    if len(frames) < 2:
        return True
    energies = np.einsum("ft,ft->f", frames, frames)
    return float(energies.max()) > 10 ** (_RISES_DB / 10) * float(np.quantile(energies, 0.1))


def _name(channel: int) -> str:
    return f"channel {channel + 1}"
