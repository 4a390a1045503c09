"""Audio as people have it: phones, browsers, recorders that were switched off, hostile headers."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from lhotse import Recording
from lhotse.audio import AudioSource

from asr_llm.corpus.recordings.audio import (
    SAMPLE_RATE,
    audio_info,
    cut_audio,
    load_audio,
    read_blocks,
)
from asr_llm.corpus.recordings.audio_kinds import SUFFIXES
from asr_llm.errors import AudioError


def tone(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def encode(path: Path, codec: str, rate: int, seconds: float, layout: str = "mono") -> Path:
    """A tone as FFmpeg writes it; by the name's ending."""
    fmt = {".m4a": "mp4", ".aac": "adts"}.get(path.suffix)
    with av.open(str(path), "w", format=fmt) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 64_000 if codec != "libopencore_amrnb" else 12_200
        samples = np.stack([tone(seconds, rate)] * (1 if layout == "mono" else 2))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.rate, frame.pts = rate, 0
        fifo = av.AudioFifo()
        fifo.write(av.AudioResampler(stream.format, layout, rate).resample(frame)[0])
        size = stream.codec_context.frame_size or 1024
        while part := fifo.read(size) or fifo.read(size, partial=True):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


KINDS = [
    ("a.m4a", "aac", 44_100, "stereo"),
    ("a.mp4", "aac", 16_000, "mono"),
    ("a.mov", "aac", 48_000, "mono"),
    ("lossless.m4a", "alac", 44_100, "mono"),
    ("a.webm", "libopus", 48_000, "mono"),
    ("a.aac", "aac", 22_050, "mono"),
    ("a.amr", "libopencore_amrnb", 8_000, "mono"),
    ("a.3gp", "libopencore_amrnb", 8_000, "mono"),
    ("a.wma", "wmav2", 44_100, "stereo"),
    ("a.ac3", "ac3", 48_000, "stereo"),
    ("a.mkv", "aac", 16_000, "mono"),
    ("a.opus", "libopus", 48_000, "mono"),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), KINDS, ids=[k[0] for k in KINDS])
def test_kinds(tmp_path: Path, name: str, codec: str, rate: int, layout: str) -> None:
    path = encode(tmp_path / name, codec, rate, 3.0, layout)
    info = audio_info(path)
    assert (info.sampling_rate, info.num_channels) == (rate, 1 if layout == "mono" else 2)
    assert info.duration == pytest.approx(3.0, abs=0.15)
    samples = load_audio(path)
    assert len(samples) / SAMPLE_RATE == pytest.approx(3.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(samples[16_000:32_000]))
    assert np.argmax(spectrum) == 440
    assert np.sqrt(np.mean(samples[16_000:32_000] ** 2)) == pytest.approx(0.3535, rel=0.2)
    assert path.suffix in SUFFIXES


def test_bytes_tell_the_kind_not_the_name(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", "aac", 44_100, 1.0).rename(tmp_path / "a.wav")
    assert len(load_audio(path)) / SAMPLE_RATE == pytest.approx(1.0, abs=0.1)


def test_streamed(tmp_path: Path) -> None:
    """Ten minutes in the memory of half a minute."""
    path = encode(tmp_path / "a.m4a", "aac", 16_000, 600.0)
    tracemalloc.start()
    total = sum(len(block) for block in read_blocks(path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total / SAMPLE_RATE == pytest.approx(600.0, abs=0.2)
    assert most < 20e6


@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.wma", "a.3gp", "a.mov"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_cut_short(tmp_path: Path, name: str, part: float) -> None:
    """What is lost is told, whatever there is to hear; or the container has no length to miss."""
    codec, rate = next((codec, rate) for known, codec, rate, _ in KINDS if known == name)
    path = encode(tmp_path / name, codec, rate, 10.0)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(AudioError, match=r"truncated|corrupt|no samples") as error:
        load_audio(path)
    assert "\n" not in str(error.value)


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234567\n"
    )
    with pytest.raises(AudioError, match=r"a\.mp3: is a Git LFS pointer.*: git lfs pull$"):
        load_audio(tmp_path / "a.mp3")


def test_a_film_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="contains no audio"):
        load_audio(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {secret}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path: Path, text: str) -> None:
    soundfile.write(tmp_path / "secret.wav", tone(1.0), SAMPLE_RATE)
    path = tmp_path / "a.m4a"
    path.write_text(text.format(secret=tmp_path / "secret.wav"))
    with pytest.raises(AudioError, match="cannot be decoded as audio"):
        load_audio(path)


def test_a_cut_of_a_kind_that_lhotse_cannot_read(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.webm", "libopus", 48_000, 3.0)
    info = audio_info(path)
    recording = Recording(
        "a",
        [AudioSource("file", [0], str(path))],
        info.sampling_rate,
        info.num_samples,
        info.duration,
    )
    samples = cut_audio(recording.to_cut().truncate(offset=1.0, duration=0.5))
    assert samples.shape == (8000,)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.3535, rel=0.2)


# WAV files whose header tells a wrong length ---------------------------------------------

LIST = b"LIST" + struct.pack("<I", 10) + b"INFOISFT\0\0"


def wav(riff: int, told: int, samples: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    fmt = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    return head + before + b"data" + struct.pack("<I", told) + samples + after


PCM = np.random.default_rng(0).normal(0, 3000, SAMPLE_RATE).astype("<i2").tobytes()  # a second
UNKNOWN = [0, 0x7FFFF000, 0x7FFFF024, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFFFFF]


@pytest.mark.parametrize("told", UNKNOWN)
@pytest.mark.parametrize("riff", [*UNKNOWN, 8, 36, 32_036])
@pytest.mark.parametrize("before", [b"", LIST], ids=["plain", "list"])
def test_a_length_that_was_not_known(tmp_path: Path, riff: int, told: int, before: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(riff, told, PCM, before))
    samples = load_audio(path)
    assert samples == pytest.approx(np.frombuffer(PCM, "<i2") / 32768)
    assert audio_info(path).duration == 1.0


def test_a_length_of_a_moment_before(tmp_path: Path) -> None:
    """A recorder writes the length now and then, and is switched off in between."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(36 + 8000, 8000, PCM))
    assert len(load_audio(path)) == SAMPLE_RATE


@pytest.mark.parametrize("told", [0, 8000])
def test_a_length_told_before_a_silence(tmp_path: Path, told: int) -> None:
    """Zeros after the length that is told are padding only if nothing but zeros follow."""
    path = tmp_path / "a.wav"
    silent = PCM[:told] + bytes(3000) + PCM
    path.write_bytes(wav(0, told, silent))
    assert load_audio(path) == pytest.approx(np.frombuffer(silent, "<i2") / 32768)


@pytest.mark.parametrize("after", [LIST, LIST + LIST, b"\0" * 4000, b"ID3\3" + b"\1\2\3" * 99])
def test_trailing_chunks_are_not_audio(tmp_path: Path, after: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(36 + len(PCM) + len(after), len(PCM), PCM, LIST, after))
    assert len(load_audio(path)) == SAMPLE_RATE


def test_a_wav_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(36 + len(PCM), len(PCM), PCM[:16_000], LIST))
    blocks = read_blocks(path)
    assert len(next(blocks)) == SAMPLE_RATE // 2
    with pytest.raises(
        AudioError, match=r"truncated: it breaks off after 0\.5 s, .* 16000 bytes more"
    ):
        list(blocks)
    # What lacks is no sound.
    path.write_bytes(wav(36 + len(PCM) + 500, len(PCM), PCM))
    assert len(load_audio(path)) == SAMPLE_RATE


@pytest.mark.parametrize("name", ["a.aiff", "a.flac", "a.mp3"])
def test_others_that_break_off(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / name, noise, SAMPLE_RATE)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"breaks off after"):
        load_audio(tmp_path / name)
    blocks = read_blocks(tmp_path / name)
    before = next(blocks)  # in one block: it is less than half a minute
    assert 2 * SAMPLE_RATE < len(before) < 3 * SAMPLE_RATE
    with pytest.raises(AudioError):
        next(blocks)


# Hostile files ---------------------------------------------------------------------------


TEN_GB = 10**10


def hostile(channels: int, rate: int, told: int, bits: int = 16) -> bytes:
    align = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 1, channels, rate, (align * rate) % 2**32, align % 2**16, bits)
    return (
        b"RIFF" + struct.pack("<I", told) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
        + b"data" + struct.pack("<I", told) + bytes(200_000)
    )  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        hostile(65_535, 48_000, 100),
        hostile(1024, 768_000, 2**31 + 5),
        hostile(1, 2**32 - 1, 100),
        hostile(1, 1, 100),
        hostile(0, 16_000, 100),
        hostile(2, 0, 100),
        b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 300_000,
        b"fLaC\x00\x00\x00\x22" + bytes(10) + b"\x0a\xc4\x42\xff\xff\xff\xff\xff" + bytes(100),
        b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + b"\xff\xff\xff\xffmoov" + bytes(1000),
        b"RF64\xff\xff\xff\xffWAVEds64"
        + struct.pack("<IQQQI", 28, TEN_GB, TEN_GB, TEN_GB, 0)
        + hostile(1, 16_000, 2**32 - 1)[12:],
        b"\0\0\0\x18ftypisom\0\0\0\0isomiso2\0\0\0\1mdat" + struct.pack(">Q", TEN_GB) + bytes(1000),
    ],
    ids=[
        "channels",
        "dense",
        "fast",
        "slow",
        "none",
        "still",
        "chunks",
        "flac",
        "mp4",
        "rf64",
        "10 GB of mp4",
    ],
)
def test_a_hostile_header_takes_neither_time_nor_memory(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(data)
    began = time.process_time()
    tracemalloc.start()
    try:
        assert sum(map(len, read_blocks(tmp_path / "a.wav"))) < 1000 * SAMPLE_RATE
    except AudioError as error:
        assert "\n" not in str(error)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began < 10
    assert most < 500e6


# What the fuzzer found (eval/fuzz.py) ------------------------------------------------------


def test_a_place_that_is_outside_of_the_file(tmp_path: Path) -> None:
    """Bytes before the samples of a CAF file made FFmpeg look for them before its beginning."""
    path = tmp_path / "a.caf"
    soundfile.write(path, tone(0.1), SAMPLE_RATE, "PCM_16", format="CAF")
    data = path.read_bytes()
    path.write_bytes(data[:1000] + b"1e999\n" + data[1000:])
    with pytest.raises(AudioError):
        load_audio(path)


def test_samples_beyond_all_measure(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = np.stack([tone(0.5), tone(0.5)], axis=1)
    samples[1000] = 1e30
    soundfile.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="infinite or beyond"):
        load_audio(path)
    samples[1000] = 0
    soundfile.write(path, samples * 32768, SAMPLE_RATE, subtype="FLOAT")
    assert len(load_audio(path)) == SAMPLE_RATE // 2
