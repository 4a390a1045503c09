"""Voice activity detection: the probability of speech, frame by frame.

Silero VAD (https://github.com/snakers4/silero-vad, MIT), whose network is part of its package, or
the frame's energy on request.

Shape legend: T samples at 16 kHz, F frames of ``FRAME`` samples.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from asr_llm.corpus.recordings.audio import Samples
from asr_llm.transcription.options import VadKind

FRAME = 512
"""Samples per frame: 32 ms."""

_CONTEXT = 64  # samples of the previous frame that the network also sees
_QUIET, _LOUD = -60.0, -40.0  # dBFS of a frame that is certainly silence, and certainly speech

Probabilities = npt.NDArray[np.float32]


class Vad(Protocol):
    """Detects speech in one audio, from its start to its end."""

    def hear(self, samples: Samples) -> Probabilities:
        """Probabilities (F,) of speech in the next (T,) samples, a whole number of frames."""


def listener(kind: VadKind = "silero") -> Vad:
    """Create a detector for one audio."""
    return _Silero() if kind == "silero" else _Energy()


class _Silero:
    def __init__(self) -> None:
        self.context = np.zeros(_CONTEXT, np.float32)
        self.state = np.zeros((2, 1, 1, 128), np.float32)

    def hear(self, samples: Samples) -> Probabilities:
        frames = samples.reshape(-1, FRAME)
        if not len(frames):
            return np.zeros(0, np.float32)
        before = np.vstack([self.context, frames[:-1, -_CONTEXT:]])
        found, *state = _session().run(
            ["speech_probs", "hn", "cn"],
            {"input": np.hstack([before, frames]), "h": self.state[0], "c": self.state[1]},
        )
        self.context, self.state = frames[-1, -_CONTEXT:], np.stack(state)
        return np.asarray(found, np.float32).reshape(-1)


class _Energy:
    def hear(self, samples: Samples) -> Probabilities:
        power = np.square(samples.reshape(-1, FRAME)).mean(1)
        level = 10 * np.log10(np.maximum(power, 1e-12))
        return np.asarray(np.clip((level - _QUIET) / (_LOUD - _QUIET), 0, 1), np.float32)


@cache
def _session() -> Any:
    import torch

    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad

    torch.set_num_threads(threads)  # importing silero_vad sets torch to one thread
    return load_silero_vad(sequence=True).session
