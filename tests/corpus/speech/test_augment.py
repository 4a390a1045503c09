"""Augmentation keeps the length, hits the SNR asked for, and repeats from its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.augment import add_echo, add_noise, augment, band_limit, change_speed
from asr_llm.corpus.speech.utterance import Utterance, Word


def tone(hertz: float = 440.0, count: int = SAMPLE_RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE)).astype(np.float32)


def power(samples: np.ndarray) -> float:
    return float((samples.astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("count", [1, 160, 16000, 16384, 40001])
def test_length_and_type_are_kept(count: int) -> None:
    samples = tone(count=count)
    before = samples.copy()
    for seed in range(8):
        changed = augment(samples, np.random.default_rng(seed), probability=1.0)
        assert changed.shape == (count,) and changed.dtype == np.float32
        assert np.isfinite(changed).all()
    assert np.array_equal(samples, before)


def test_the_same_seed_gives_the_same_samples() -> None:
    first, again, other = (augment(tone(), np.random.default_rng(s), 0.9) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_probability_zero_changes_nothing() -> None:
    assert np.array_equal(augment(tone(), np.random.default_rng(0), 0.0), tone())


@pytest.mark.parametrize("snr", [0.0, 5.0, 20.0, 30.0])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_noise_has_the_requested_snr(snr: float, slope: float) -> None:
    noise = add_noise(tone(), np.random.default_rng(1), snr, slope) - tone()
    assert 10 * np.log10(power(tone()) / power(noise)) == pytest.approx(snr, abs=0.5)


def test_silence_stays_silent() -> None:
    silence = np.zeros(1000, np.float32)
    assert not augment(silence, np.random.default_rng(0), probability=1.0).any()


def test_frequencies_outside_the_band_are_gone() -> None:
    assert power(band_limit(tone(6000), 200, 3400)) < power(tone(6000)) / 1000
    assert power(band_limit(tone(50), 250, 3400)) < power(tone(50)) / 1000
    assert power(band_limit(tone(1000), 200, 3400)) == pytest.approx(power(tone(1000)), rel=0.05)


def test_echo_comes_after_the_sound() -> None:
    click = np.zeros(8000, np.float32)
    click[1000] = 1.0
    wet = add_echo(click, np.random.default_rng(0), seconds=0.2)
    assert np.abs(wet[:1000]).max() < 1e-6
    assert wet[1000] == pytest.approx(1.0, abs=1e-5)
    assert 0.1 - 1e-3 < np.sqrt((wet[1001:] ** 2).sum()) < 0.5 + 1e-3


def test_speed_moves_pitch_length_and_word_times() -> None:
    utterance = Utterance(
        "a b", "x", tone(400.0, 16000), (Word("a", 0.0, 0.5), Word("b", 0.6, 1.0))
    )
    fast = change_speed(replace(utterance, recorded=True), 1.25)
    assert not fast.recorded  # it will not come again
    assert len(fast.samples) == 12800 and fast.samples.dtype == np.float32
    assert np.argmax(np.abs(np.fft.rfft(fast.samples[:8000]))) == 250  # bins of 2 Hz: 500 Hz
    assert fast.words == (Word("a", 0.0, 0.4), Word("b", pytest.approx(0.48), 0.8))
    assert change_speed(utterance, 1.0).duration == 1.0
