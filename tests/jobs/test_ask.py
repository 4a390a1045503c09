"""`asr-llm ask` on a tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.speech.synthesis import Utterance, synthesize
from asr_llm.decoding.answers import answer
from asr_llm.errors import AudioError
from asr_llm.jobs import ask as job
from asr_llm.model import checkpoints
from asr_llm.sequences.tasks import message


def test_ask(tiny: Path, tmp_path: Path) -> None:
    spoken = synthesize("Good morning to you all.", "en-us")
    soundfile.write(tmp_path / "a.wav", spoken.samples, 16000)
    said = job.ask(tmp_path / "a.wav", "What is said?", model=str(tiny), max_new_tokens=4)
    model = checkpoints.load(tiny).eval()
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    prompt = message([Utterance("", "", samples), "What is said?"], model.chat)
    assert said == answer(model, [prompt], 4)[0]
    soundfile.write(tmp_path / "long.wav", np.zeros(61 * 16000), 16000)
    with pytest.raises(AudioError, match="61 s long; expected at most 60 s"):
        job.ask(tmp_path / "long.wav", model=str(tiny))


def test_nobody_is_asked_about_silence_or_noise(tiny: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 32000)
    for samples in (np.zeros(32000), noise):
        soundfile.write(tmp_path / "a.wav", samples, 16000)
        with pytest.raises(AudioError, match=r"a\.wav: nobody speaks"):
            job.ask(tmp_path / "a.wav", "What is said?", model=str(tiny))
