"""The sound that hibari's network describes, its pitch and vocal tract changed beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_VOICED = 40.0  # Hz; below it hibari makes no pulses


@dataclass(frozen=True)
class Parts:
    """What the network predicts: six arrays (F,) or (601, F), 12.5 ms a frame, 20 Hz a bin."""

    harmonic: np.ndarray  # log magnitude
    phase: np.ndarray
    noise: np.ndarray  # log magnitude
    rest: np.ndarray  # log magnitude
    rest_phase: np.ndarray
    pitch: np.ndarray  # (F,) in Hz


def shift_pitch(parts: Parts, factor: float, liveliness: float) -> Parts:
    """Multiply its mean by ``factor``, and how far it moves from there by ``liveliness``."""
    voiced = parts.pitch > _VOICED
    if not voiced.any():
        return parts
    mean = np.exp(np.log(parts.pitch[voiced]).mean())
    curve = factor * mean * (np.maximum(parts.pitch, 1.0) / mean) ** liveliness
    pitch = np.where(voiced, np.maximum(curve, _VOICED + 5), 0.0)
    return replace(parts, pitch=pitch.astype(np.float32))


def stretch_envelope(parts: Parts, factor: float) -> Parts:
    """What was at one frequency comes to ``factor`` times it, as formants do in a shorter tract."""
    count = len(parts.harmonic)
    rows = np.minimum(np.round(np.arange(count) / factor), count - 1).astype(int)
    spectra = {name: array[rows] for name, array in vars(parts).items() if name != "pitch"}
    return replace(parts, **spectra)


def render(parts: Parts, noise: np.random.Generator) -> np.ndarray:
    """float32 (T,) at 24 kHz."""
    from hibari import dsp

    return np.asarray(dsp.synth(*vars(parts).values(), noise), np.float32)
