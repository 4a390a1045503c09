"""Audio file types, and the interface of an open audio file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

Channels = npt.NDArray[np.float32]
"""Samples of all channels, (T, C)."""

_NAMES = """
wav wave flac mp3 mp2 mpga ogg oga opus spx aif aiff aifc au snd caf sph nist w64 rf64 bwf voc avr
iff m4a m4b mp4 m4v mov qt webm mka mkv weba aac ac3 eac3 amr awb 3gp 3gpp 3g2 wma wmv asf avi
mts m2ts flv alac ape wv tta
"""
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
"""Suffixes of audio files, and of video with sound, when searching folders."""

KINDS = "expected wav, flac, mp3, ogg, m4a, webm or the like"
EXPECTED = f"{KINDS}; convert with: ffmpeg -i FILE F.wav"


class AudioFile(Protocol):
    """An open audio file: ``num_samples`` per channel according to its header."""

    rate: int
    num_channels: int
    num_samples: int

    def blocks(self, size: int) -> Iterator[Channels]:
        """The samples, ``size`` at a time.

        Raises:
            AudioError: it is damaged or truncated.
        """
