"""Damaged files: an error of ours or some audio, never anything else, and soon."""

from __future__ import annotations

import io
import random
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.recordings.audio import audio_info, read_blocks
from asr_llm.errors import AudioError

KINDS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", None)]
PER_KIND = 400
HEADER = 120


def whole(kind: str, subtype: str | None) -> bytes:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, noise, 16000, subtype, format=kind)
    return file.getvalue()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of the header changed, a stretch put out, or the end cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(min(HEADER, len(changed)))
        changed[at] = rng.choice((0, 0xFF, rng.randrange(256)))
    if rng.random() < 0.3:
        at = rng.randrange(len(changed))
        del changed[at : at + rng.randint(1, 40)]
    if rng.random() < 0.5:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_damaged_files(tmp_path: Path, kind: str, subtype: str | None) -> None:
    rng = random.Random(f"{kind} {subtype}")
    data = whole(kind, subtype)
    path = tmp_path / f"a.{kind.lower()}"
    read = 0
    for _ in range(PER_KIND):
        path.write_bytes(damaged(data, rng))
        started = time.monotonic()
        try:
            audio_info(path)
            heard = sum(len(block) for block in read_blocks(path))
            assert heard > 0
            read += 1
        except AudioError as error:
            assert str(error).startswith(f"{path}: ")
        assert time.monotonic() - started < 20
    assert 0 < read < PER_KIND
