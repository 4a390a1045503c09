"""Quiet and unscaled recordings come at a normal level; others as they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from lhotse import Recording

from asr_llm.corpus.recordings.audio import (
    SAMPLE_RATE,
    Samples,
    Source,
    cut_audio,
    load_audio,
    normal,
    normal_blocks,
)
from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.errors import AudioError
from asr_llm.transcription.chunks import chunks
from asr_llm.transcription.vad import listener


def tone(amplitude: float, seconds: float = 0.1) -> Samples:
    """400 Hz, 8 periods in each 20 ms: RMS is amplitude / sqrt(2)."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * 400 * t)).astype(np.float32)


@pytest.mark.parametrize("amplitude", [0.0002, 0.002, 0.04, 2.0, 10_000.0])
def test_other_levels_become_normal(amplitude: float) -> None:
    np.testing.assert_allclose(normal(tone(amplitude)), tone(0.1 * np.sqrt(2)), atol=1e-5)


@pytest.mark.parametrize("amplitude", [0.0, 0.0001, 0.05, 0.5, 1.4])
def test_a_normal_level_and_silence_are_kept(amplitude: float) -> None:
    samples = tone(amplitude)
    assert normal(samples) is samples
    assert len(normal(samples[:0])) == 0


def test_the_loudest_moment_counts() -> None:
    spoken = np.concatenate([tone(0.0), tone(0.001), tone(0.01), tone(0.0)])
    np.testing.assert_allclose(normal(spoken), spoken * 10 * np.sqrt(2), rtol=1e-4)


@given(st.lists(st.integers(1, 4800), min_size=1, max_size=5), st.floats(0.0003, 3.0))
def test_blocks_do_not_matter(sizes: list[int], amplitude: float) -> None:
    whole = tone(amplitude, 0.3)
    edges = [0, *np.minimum(np.cumsum(sizes) // 320 * 320, len(whole)), len(whole)]
    blocks = [whole[start:end] for start, end in pairwise(edges)]
    joined = np.concatenate(list(normal_blocks(lambda tell: iter(blocks))))
    np.testing.assert_allclose(joined, normal(whole), rtol=1e-4)


def test_a_normal_recording_is_not_read_twice() -> None:
    read: list[int] = []

    def blocks(tell: object) -> Iterator[Samples]:
        for number, amplitude in enumerate([0.001, 0.5, 0.001, 0.5]):
            read.append(number)
            yield tone(amplitude)

    assert len(list(normal_blocks(blocks))) == 4
    assert read == [0, 1, 0, 1, 2, 3]


def test_damage_is_told_after_what_comes_before() -> None:
    told: list[str] = []

    def blocks(tell: object) -> Iterator[Samples]:
        if callable(tell):
            tell("only channel 1 has sound")
        yield tone(0.001)
        raise AudioError("broken")

    found = normal_blocks(blocks, told.append)
    np.testing.assert_allclose(next(found), tone(0.1 * np.sqrt(2)), atol=1e-5)
    with pytest.raises(AudioError, match="broken"):
        next(found)
    assert told == ["only channel 1 has sound"]


def test_files_and_cuts(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.001, 1.0), 16000, subtype="FLOAT")
    expected = tone(0.1 * np.sqrt(2), 1.0)
    cut = Recording.from_file(path).to_cut()
    for found in (load_audio(path), np.concatenate([*Source(path).blocks()]), cut_audio(cut)):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("gain", [0.003, 30_000.0])
def test_no_word_is_missed_for_its_level(tmp_path: Path, gain: float) -> None:
    spoken = synthesize("Do you know where he lives?", "en-us")
    for name, factor in (("a", 1.0), ("b", gain)):
        samples = spoken.samples * np.float32(factor)
        soundfile.write(tmp_path / f"{name}.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    a, b = (
        [
            time
            for c in chunks(Source(tmp_path / name).blocks(), listener(), 28.0, 2.0)
            for time in (c.start, c.end)
        ]
        for name in ("a.wav", "b.wav")
    )
    assert len(a) == 2 and a == pytest.approx(b, abs=0.1 * SAMPLE_RATE)
