"""Augmentation: speed, reverberation, band limits and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.utterance import Utterance, Word


def augment(samples: np.ndarray, rng: np.random.Generator, probability: float = 0.5) -> np.ndarray:
    """Apply each of echo, band-limiting and noise with the given probability.

    Args:
        samples: (T,) float32 at 16 kHz.

    Returns:
        (T,) float32, the same length: word timings stay valid.
    """
    if rng.random() < probability:
        samples = add_echo(samples, rng, seconds=rng.uniform(0.05, 0.3))
    if rng.random() < probability:
        samples = band_limit(samples, rng.uniform(0, 250), rng.uniform(3000, 7500))
    if rng.random() < probability:
        samples = add_noise(samples, rng, snr=rng.uniform(5, 30), slope=rng.uniform(0, 1))
    return samples.astype(np.float32)


def change_speed(utterance: Utterance, factor: float) -> Utterance:
    """Play it ``factor`` times as fast, like a tape: pitch and formants change too.

    Speed perturbation: Ko et al., "Audio augmentation for speech recognition", 2015.
    """
    import soxr

    samples = soxr.resample(utterance.samples, SAMPLE_RATE * factor, SAMPLE_RATE)
    words = tuple(Word(w.text, w.start / factor, w.end / factor) for w in utterance.words)
    return replace(utterance, samples=samples.astype(np.float32), words=words, recorded=False)


def add_echo(samples: np.ndarray, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Convolve with exponentially decaying noise after a direct path: a crude room."""
    count = int(seconds * SAMPLE_RATE)
    response = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    response *= rng.uniform(0.1, 0.5) / np.sqrt((response**2).sum())
    response[0] = 1.0
    size = _fast_length(len(samples) + count)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return wet[: len(samples)].astype(np.float32)


def band_limit(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    """Keep frequencies between two limits in Hz, like a telephone or a cheap microphone."""
    size = _fast_length(len(samples))
    spectrum = np.fft.rfft(samples, size)
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    gain = 1 / (1 + (frequencies / high) ** 16) / (1 + (low / np.maximum(frequencies, 1)) ** 8)
    return np.fft.irfft(spectrum * gain, size)[: len(samples)].astype(np.float32)


def add_noise(
    samples: np.ndarray, rng: np.random.Generator, snr: float, slope: float
) -> np.ndarray:
    """Add noise at ``snr`` dB; its spectrum falls as frequency to the power of minus ``slope``."""
    size = _fast_length(len(samples))
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0) ** slope
    noise = np.fft.irfft(spectrum, size)[: len(samples)]
    power = float((samples**2).mean())
    noise *= np.sqrt(power / 10 ** (snr / 10) / max(float((noise**2).mean()), 1e-12))
    return (samples + noise).astype(np.float32)


def _fast_length(count: int) -> int:
    """A length at which the FFT is fast."""
    return 1 << max(count - 1, 1).bit_length()
