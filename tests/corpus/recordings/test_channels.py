"""Channels into one: nobody's words are lost where channels cancel, differ, or hold two voices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.recordings.audio import load_audio
from asr_llm.corpus.recordings.channels import mix
from asr_llm.corpus.speech.synthesis import select_voices, synthesize
from asr_llm.errors import AudioError

RATE = 16_000


@pytest.fixture(scope="module")
def speech() -> tuple[np.ndarray, np.ndarray]:
    """Two people, five seconds each."""
    said = "The kettle is on the stove and the tea is in the second drawer on the left."
    other = "Nobody has answered the letter that we sent to the council in the spring."
    voices = select_voices(["en-us", "en-gb-scotland"])
    made = [np.tile(synthesize(s, v).samples, 2) for s, v in zip((said, other), voices)]
    return made[0][: 5 * RATE], made[1][: 5 * RATE]


def mixed(*channels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    told: list[str] = []
    return mix(np.stack(channels, axis=1).astype(np.float32), RATE, told.append), told


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return abs(float(np.corrcoef(one, other)[0, 1]))


def test_the_same_in_all_is_averaged(speech: tuple[np.ndarray, np.ndarray]) -> None:
    one, _ = speech
    for channels in ([one], [one, one], [one, 0.8 * one], [one, one, one]):
        got, told = mixed(*channels)
        assert got == pytest.approx(np.mean(channels, axis=0), abs=1e-6)
        assert told == []


def test_channels_that_cancel(speech: tuple[np.ndarray, np.ndarray]) -> None:
    one, _ = speech
    for other in (-one, -0.9 * one, -0.5 * one):
        got, told = mixed(other, one)
        assert likeness(got, one) > 0.99
        assert np.std(got) == pytest.approx(np.std(one), rel=0.01)
        assert len(told) == 1 and "used alone" in told[0]
    # A few milliseconds apart they cancel at some frequencies, which the ear hears as a comb.
    late = np.roll(one, 40)
    got, told = mixed(one, late)
    assert np.std(got) >= 0.84 * np.std(one)


def test_channels_that_differ_in_level(speech: tuple[np.ndarray, np.ndarray]) -> None:
    one, _ = speech
    got, told = mixed(0.1 * one, one)
    assert got == pytest.approx(one)
    assert told == ["channel 2 is used alone: mixing in the others would make it quieter"]
    got, told = mixed(np.zeros_like(one), one, np.zeros_like(one))
    assert got == pytest.approx(one)
    assert told == ["only channel 2 of 3 has sound: it is used alone"]


@pytest.mark.parametrize("level", [0.003, 0.05, 0.2])
def test_a_channel_of_noise(speech: tuple[np.ndarray, np.ndarray], level: float) -> None:
    one, _ = speech
    noise = np.random.default_rng(0).normal(0, level, len(one))
    hum = 1.4 * level * np.sin(2 * np.pi * 50 * np.arange(len(one)) / RATE)
    for other in (noise, hum):
        got, told = mixed(other, one)
        assert got == pytest.approx(one)
        assert told == ["channel 2 is used: the others contain only noise"]


def test_two_voices_are_both_kept(speech: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = speech
    got, told = mixed(one, other)
    assert got == pytest.approx((one + other) / 2, abs=1e-6)
    assert len(told) == 1 and "different voices, which were mixed" in told[0]
    # In turns, one of them briefly.
    first, second = one.copy(), other.copy()
    first[4 * RATE :] = 0
    second[: 4 * RATE] = 0
    for quieter in (1.0, 0.1):
        got, told = mixed(first, quieter * second)
        assert likeness(got[: 4 * RATE], one[: 4 * RATE]) > 0.99
        assert likeness(got[4 * RATE :], other[4 * RATE :]) > 0.99
        assert len(told) == 1 and "different voices" in told[0]
    # One of them by a pair of channels that cancel.
    got, told = mixed(one, -one, other)
    assert got == pytest.approx((one + other) / 2, abs=1e-6)
    assert len(told) == 2


def test_nothing_to_hear() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 2 * RATE))
    for channels in ([np.zeros(RATE), np.zeros(RATE)], [np.zeros(1), np.ones(1)], list(noise)):
        got, _ = mixed(*channels)
        assert got.dtype == np.float32 and len(got) == len(channels[0])


def test_one_channel_of_a_file(tmp_path: Path, speech: tuple[np.ndarray, np.ndarray]) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack(speech, axis=1), RATE, subtype="FLOAT")
    for channel in (1, 2):
        assert load_audio(path, channel) == pytest.approx(speech[channel - 1])
    with pytest.raises(AudioError, match="has 2 channels; there is no channel 3 to take"):
        load_audio(path, 3)


def test_channel_choice_is_reported_once_with_its_time(
    tmp_path: Path, speech: tuple[np.ndarray, np.ndarray]
) -> None:
    one = np.tile(speech[0], 20)  # 100 s
    other = -one
    other[: 60 * RATE] = one[: 60 * RATE]
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([one, other], axis=1), RATE, subtype="FLOAT")
    told: list[str] = []
    load_audio(path, tell=told.append)
    assert told == [
        "from 60 s: channel 1 is used alone: mixing in the others would make it quieter"
    ]
