"""Renders hibari's predicted spectra to audio, with changed pitch and vocal tract."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_VOICED = 40.0  # Hz; below it hibari makes no pulses


@dataclass(frozen=True)
class Parts:
    """The network's prediction: six arrays (F,) or (601, F), 12.5 ms per frame, 20 Hz per bin."""

    harmonic: np.ndarray  # log magnitude
    phase: np.ndarray
    noise: np.ndarray  # log magnitude
    rest: np.ndarray  # log magnitude
    rest_phase: np.ndarray
    pitch: np.ndarray  # (F,) in Hz


def shift_pitch(parts: Parts, factor: float, liveliness: float) -> Parts:
    """Multiply the mean pitch by ``factor``, and deviations from it by ``liveliness``."""
    voiced = parts.pitch > _VOICED
    if not voiced.any():
        return parts
    mean = np.exp(np.log(parts.pitch[voiced]).mean())
    curve = factor * mean * (np.maximum(parts.pitch, 1.0) / mean) ** liveliness
    pitch = np.where(voiced, np.maximum(curve, _VOICED + 5), 0.0)
    return replace(parts, pitch=pitch.astype(np.float32))


def stretch_envelope(parts: Parts, factor: float) -> Parts:
    """Move each frequency's content to ``factor`` times it, like formants of a shorter tract."""
    count = len(parts.harmonic)
    rows = np.minimum(np.round(np.arange(count) / factor), count - 1).astype(int)
    spectra = {name: array[rows] for name, array in vars(parts).items() if name != "pitch"}
    return replace(parts, **spectra)


def render(parts: Parts, noise: np.random.Generator) -> np.ndarray:
    """float32 (T,) at 24 kHz."""
    from hibari import dsp

    return np.asarray(dsp.synth(*vars(parts).values(), noise), np.float32)
