"""What is speech and what is not, on sound that the tests make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.transcription.vad import FRAME, listener

SECONDS = 6
T = np.arange(SECONDS * SAMPLE_RATE // FRAME * FRAME) / SAMPLE_RATE


def whole(samples: np.ndarray) -> np.ndarray:
    return samples[: len(samples) // FRAME * FRAME].astype(np.float32)


SOUNDS = {
    "silence": np.zeros_like(T),
    "white noise": np.random.default_rng(0).normal(0, 0.1, len(T)),
    "hum": 0.3 * np.sin(2 * np.pi * 50 * T),
    "a chord": sum(0.1 * np.sin(2 * np.pi * f * T) for f in (220, 277, 330, 440)),
    "notes": 0.3 * np.exp(-6 * (T % 0.5)) * np.sin(2 * np.pi * 110 * (1 + T // 0.5) * T),
    "clicks": (np.arange(len(T)) % 8000 < 20) * 0.9,
}


@pytest.mark.parametrize("name", SOUNDS)
def test_no_speech(name: str) -> None:
    assert listener().hear(whole(np.asarray(SOUNDS[name]))).max() < 0.5


def test_speech() -> None:
    spoken = synthesize("The nurse gave the patient a cup of tea.", "en-us+f4")
    probabilities = listener().hear(whole(spoken.samples))
    assert (probabilities >= 0.5).mean() > 0.8


def test_streaming_equals_the_whole_audio() -> None:
    samples = whole(np.random.default_rng(0).normal(0, 0.1, 20 * FRAME))
    vad = listener()
    pieces = [
        vad.hear(samples[a * FRAME : b * FRAME]) for a, b in [(0, 1), (1, 1), (1, 8), (8, 20)]
    ]
    np.testing.assert_allclose(np.concatenate(pieces), listener().hear(samples), atol=1e-6)


def test_energy() -> None:
    levels = np.array([0.0, 0.001, 0.01, 0.0031622776, 1.0])  # none, -60, -40, -50 and 0 dBFS
    heard = listener("energy").hear(np.repeat(levels, FRAME).astype(np.float32))
    np.testing.assert_allclose(heard, [0, 0, 1, 0.5, 1], atol=1e-4)


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    listener().hear(np.zeros(FRAME, np.float32))
    assert torch.get_num_threads() == before
