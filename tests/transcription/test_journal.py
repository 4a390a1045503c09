"""A long file whose transcription is stopped loses nothing and does nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ENERGY, FakeModel

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.decoding.results import Decoded, Guard
from asr_llm.errors import RunError
from asr_llm.transcription.chunks import Chunk
from asr_llm.transcription.journal import Journal, Journals
from asr_llm.transcription.speech_llm import SpeechLLM
from asr_llm.transcription.transcript import DecodedChunk, Word

CHUNK = Chunk(320, np.zeros(1600, np.float32))
HEARD = DecodedChunk("grüße", (Guard("limit", "kept"),), (Word("grüße", 0.1, 0.2, 0.9),), 0.8)


def test_stored_chunks_are_found(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".a.journal"
    Journal(path, {"size": 1}).add(CHUNK, HEARD)
    again = Journal(path, {"size": 1})
    assert again.find(CHUNK) == HEARD
    assert again.find(Chunk(320, np.zeros(1601, np.float32))) is None


def test_another_audio_or_setting_starts_over(tmp_path: Path) -> None:
    Journal(tmp_path / "j", {"size": 1}).add(CHUNK, HEARD)
    other = Journal(tmp_path / "j", {"size": 2})
    assert other.find(CHUNK) is None
    other.add(Chunk(0, CHUNK.samples), HEARD)
    assert Journal(tmp_path / "j", {"size": 1}).find(CHUNK) is None


@pytest.mark.parametrize("torn", ['{"start": 99', "\x00\x00", '{"start"'])
def test_a_line_that_was_being_written_does_not_matter(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "j"
    Journal(path, {"size": 1}).add(CHUNK, HEARD)
    with path.open("a") as file:
        file.write(torn)
    journal = Journal(path, {"size": 1})
    assert journal.find(CHUNK) == HEARD
    other = Chunk(9999, np.zeros(1600, np.float32))
    journal.add(other, HEARD)
    assert Journal(path, {"size": 1}).find(other) == HEARD


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Journal(tmp_path / "file" / "j", {}).add(CHUNK, HEARD)


def test_a_run_that_is_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    t = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    beep = np.concatenate([0.5 * np.sin(440 * t), np.zeros(2 * SAMPLE_RATE)])
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(beep, 5), SAMPLE_RATE)
    decoded: list[int] = []
    left = 3

    def decode(self: Any, audios: list[np.ndarray], options: Any) -> list[Decoded]:
        if len(decoded) + len(audios) > left:
            raise KeyboardInterrupt
        decoded.extend(len(audio) for audio in audios)
        return [Decoded(f"t{len(decoded)}") for _ in audios]

    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", decode)
    model = SpeechLLM(FakeModel(20.0), "mini", ENERGY, batch_seconds=2.5)  # type: ignore[arg-type]

    journal = Journals(tmp_path / "out", {"beams": 1})
    with pytest.raises(KeyboardInterrupt):
        list(model.transcribe_many([path], journal=journal))
    assert len(decoded) == 3
    left = 5
    (whole,) = model.transcribe_many([path], journal=journal)
    assert len(decoded) == 5
    assert whole.text == "t1 t2 t3 t4 t5"  # type: ignore[union-attr]
    journal.remove(path)
    assert list((tmp_path / "out").iterdir()) == []
