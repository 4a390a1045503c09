"""Audio read by libsndfile: WAV, FLAC, MP3, Ogg and the like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from asr_llm.corpus.recordings.audio_kinds import EXPECTED, Channels
from asr_llm.errors import AudioError

_STEP = 4096  # samples: a FLAC frame


class SndfileAudio:
    """An open audio file, see ``AudioFile``.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot read it.
        TypeError: it has no header.
    """

    def __init__(self, path: Path, source: Path | BinaryIO) -> None:
        self.path, self._source = path, source
        self._file = self._open()
        self.rate: int = self._file.samplerate
        self.num_channels: int = self._file.channels
        self.num_samples: int = self._file.frames

    def __enter__(self) -> SndfileAudio:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def blocks(self, size: int) -> Iterator[Channels]:
        """The samples, ``size`` at a time; of a damaged file, those before the damage.

        Raises:
            AudioError: it is damaged (after the samples before).
        """
        total = 0
        try:
            while len(block := self._file.read(size, "float32", always_2d=True)):
                total += len(block)
                yield block
        except soundfile.LibsndfileError:  # which gives nothing of this block
            if len(block := self._until_damage(total)):
                yield block
            after = f"{(total + len(block)) / self.rate:.1f} s"
            raise AudioError(
                f"{self.path}: corrupt: it breaks off after {after}; {EXPECTED}"
            ) from None

    def _until_damage(self, start: int) -> Channels:
        """The samples from ``start`` on that can be read, in small steps."""
        self._file.close()
        self._file = self._open()
        held: list[Channels] = [np.zeros((0, self.num_channels), np.float32)]
        with suppress(soundfile.LibsndfileError):
            self._file.seek(start)
            while len(piece := self._file.read(_STEP, "float32", always_2d=True)):
                held.append(piece)
        return np.concatenate(held)

    def _open(self) -> soundfile.SoundFile:
        if isinstance(self._source, Path):
            return soundfile.SoundFile(os.fsencode(self._source))  # a name may be any bytes
        self._source.seek(0)
        return soundfile.SoundFile(self._source)
