"""Decoding anything to 16 kHz mono, and cutting it at pauses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import Recording

from asr_llm.corpus.recordings.audio import (
    SAMPLE_RATE,
    AudioInfo,
    audio_info,
    cut_audio,
    is_silent,
    load_audio,
    split_at_pauses,
)
from asr_llm.errors import AudioError


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_any_format_and_rate_gives_the_same_tone(tmp_path: Path, name: str, rate: int) -> None:
    soundfile.write(tmp_path / name, tone(1.0, rate), rate)
    samples = load_audio(tmp_path / name)
    assert samples.dtype == np.float32
    assert len(samples) == SAMPLE_RATE
    middle = slice(2000, 14000)  # lossy codecs fade in and out
    tolerance = 0.01 if name in ("a.wav", "a.flac") else 0.1
    assert np.abs(samples - tone(1.0))[middle].max() < tolerance


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_subtypes(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.1), SAMPLE_RATE, subtype=subtype)
    assert np.abs(load_audio(tmp_path / "a.wav") - tone(0.1)).max() < 0.01


@pytest.mark.parametrize("num_channels", [2, 3, 6])
def test_channels_are_averaged(tmp_path: Path, num_channels: int) -> None:
    channels = np.full((1600, num_channels), 0.45, np.float32)
    channels[:, 0] = 0.5
    soundfile.write(tmp_path / "a.wav", channels, SAMPLE_RATE, subtype="FLOAT")
    mean = 0.45 + 0.05 / num_channels
    assert load_audio(tmp_path / "a.wav") == pytest.approx(np.full(1600, mean))
    assert audio_info(tmp_path / "a.wav") == AudioInfo(SAMPLE_RATE, 1600, num_channels)
    assert audio_info(tmp_path / "a.wav").duration == 0.1


def test_blocks_join_without_a_seam(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(61.0, 8000), 8000, subtype="FLOAT")
    samples = load_audio(tmp_path / "a.wav")
    assert len(samples) == 61 * SAMPLE_RATE
    assert np.abs(samples - tone(61.0))[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("num_samples", [1, 7, 800])
def test_short_files_come_as_they_are(tmp_path: Path, num_samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(num_samples, 0.25, np.float32), SAMPLE_RATE)
    assert load_audio(tmp_path / "a.wav").tolist() == [0.25] * num_samples


def test_each_fault_has_its_own_message(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "no_samples.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "notes.wav").write_text("these are notes")
    (tmp_path / "a.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "whole.flac", tone(1.0), SAMPLE_RATE)
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "broken.flac").write_bytes(whole[:20])
    for value in (np.nan, np.inf):
        samples = np.array([0.0, value, 0.0], np.float32)
        soundfile.write(tmp_path / f"{value}.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    expected = {
        "missing.wav": "no such file",
        ".": "is a directory",
        "empty.wav": r"is empty \(0 bytes\)",
        "no_samples.wav": "contains no samples",
        "notes.wav": "cannot be decoded as audio: it looks like text; expected wav, flac, mp3, ogg",
        "a.raw": "has no header",
        "broken.flac": "corrupt",
        "nan.wav": "contains samples that are NaN",
        "inf.wav": "contains samples that are NaN, infinite",
    }
    for name, message in expected.items():
        with pytest.raises(AudioError, match=message) as error:
            load_audio(tmp_path / name)
        assert str(tmp_path) in str(error.value)
        assert "\n" not in str(error.value)


def test_damage_inside_a_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", noise, SAMPLE_RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[3000:3200] = bytes(200)
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match="corrupt: it breaks off after"):
        load_audio(tmp_path / "a.flac")


def test_cut_audio_resamples_and_downmixes(tmp_path: Path) -> None:
    both = np.stack([tone(1.0, 8000), 0.8 * tone(1.0, 8000)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 8000, subtype="FLOAT")
    cut = Recording.from_file(tmp_path / "a.wav").to_cut()
    samples = cut_audio(cut.truncate(offset=0.25, duration=0.5))
    assert samples.dtype == np.float32
    assert samples.shape == (8000,)
    assert np.abs(samples - 0.9 * tone(1.0)[4000:12000])[200:-200].max() < 1e-2
    (tmp_path / "a.wav").unlink()
    with pytest.raises(AudioError, match=f"cut {cut.id}: its audio cannot be read"):
        cut_audio(cut)


def test_is_silent() -> None:
    assert is_silent(np.zeros(0, np.float32))
    assert is_silent(np.zeros(SAMPLE_RATE, np.float32))
    assert is_silent(np.full(100, 0.0009, np.float32))
    assert not is_silent(np.full(100, 0.0011, np.float32))
    one_word = np.zeros(SAMPLE_RATE, np.float32)
    one_word[8000:9600] = 0.01
    assert not is_silent(one_word)


def test_cuts_at_the_pause_nearest_the_limit() -> None:
    silence = np.zeros(8000, np.float32)
    # Pauses at 4.0-4.5, 8.5-9.0 and 14.0-14.5 s; the limit of 10 s searches 6.67 to 10 s.
    samples = np.concatenate([tone(4.0), silence, tone(4.0), silence, tone(5.0), silence, tone(2)])
    ((start, cut), (again, end)) = split_at_pauses(samples, 10.0)
    assert (start, again, end) == (0, cut, len(samples))
    assert 8.5 * SAMPLE_RATE <= cut <= 9.0 * SAMPLE_RATE


def test_short_audio_is_one_piece() -> None:
    assert split_at_pauses(tone(1.0), 1.0) == [(0, SAMPLE_RATE)]
    assert split_at_pauses(np.zeros(0, np.float32), 1.0) == []
    with pytest.raises(ValueError, match="max_seconds"):
        split_at_pauses(tone(1.0), 0.0)


@settings(max_examples=100, deadline=None)
@given(
    num_samples=st.integers(0, 20_000),
    limit=st.integers(1, 8_000),
    seed=st.integers(0, 100),
)
def test_pieces_cover_the_audio_once_in_order(num_samples: int, limit: int, seed: int) -> None:
    limit = max(limit, num_samples // 200)
    samples = np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)
    pieces = split_at_pauses(samples, limit / SAMPLE_RATE + 1e-9)
    edges = [start for start, _ in pieces] + ([pieces[-1][1]] if pieces else [])
    assert edges == sorted(set(edges))
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert all(0 < end - start <= limit for start, end in pieces)
    if num_samples:
        assert edges[0] == 0
        assert edges[-1] == num_samples
        assert min(end - start for start, end in pieces) >= min(num_samples, limit // 3)
