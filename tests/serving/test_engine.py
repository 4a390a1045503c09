"""Many requests at once; the decoder is a fake but for the last tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ENERGY, FakeModel

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.results import Decoded
from asr_llm.errors import AudioError
from asr_llm.serving.engine import BusyError, Engine, StoppingError, TooLongError
from asr_llm.serving.turns import Job, next_batch
from asr_llm.transcription.chunks import Chunk
from asr_llm.transcription.drafts import Piece
from asr_llm.transcription.options import TranscribeOptions
from asr_llm.transcription.speech_llm import SpeechLLM
from asr_llm.transcription.transcript import Segment

SOON = 120.0  # seconds that nothing here takes


class FakeDecoder:
    """Writes how loud each audio is, in thousandths; waits while it is held."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.options: list[TranscribeOptions] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()

    def __call__(self, audios: list[np.ndarray], options: Any) -> list[Decoded]:
        texts = [str(round(1000 * float(np.abs(audio).max()))) for audio in audios]
        self.batches.append(texts)
        self.options.append(options)
        self.begun.release()
        assert self.go.wait(SOON)
        if "666" in texts:
            raise RuntimeError("no luck")
        return [Decoded(text) for text in texts]


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> FakeDecoder:
    fake = FakeDecoder()
    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", fake)
    return fake


@pytest.fixture
def model() -> SpeechLLM:
    made = SpeechLLM(FakeModel(), "mini", ENERGY, batch_seconds=4.0)  # type: ignore[arg-type]
    made.pipeline.decoder.prefers = lambda options: False  # type: ignore[method-assign]
    return made


@pytest.fixture
def engine(decoder: FakeDecoder, model: SpeechLLM) -> Iterator[Engine]:
    made = Engine(model, places=3, max_seconds=100.0)
    yield made
    decoder.go.set()
    made.close()
    made.join()


def beeps(*loudness: int, seconds: float = 1.0) -> np.ndarray:
    """Tones, so loud, with 1.5 s of silence after each."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    silence = np.zeros(SAMPLE_RATE * 3 // 2)
    return np.concatenate(
        [part for loud in loudness for part in (loud / 1000 * np.cos(2 * np.pi * 440 * t), silence)]
    )


@pytest.fixture
def save(tmp_path: Path) -> Callable[[np.ndarray], Path]:
    def saved(samples: np.ndarray) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.wav"
        soundfile.write(path, samples, SAMPLE_RATE)
        return path

    return saved


Save = Callable[[np.ndarray], Path]


def text(job: Job) -> str:
    return job.result.result(SOON).text


# What is decoded next ----------------------------------------------------------------------


def waiting(*lengths: float, options: TranscribeOptions = ENERGY) -> Job:
    """A job with chunks of so many seconds."""
    job = Job(Path("x"), options, None)
    job.pieces = deque(
        Piece(job.draft, Chunk(0, np.zeros(round(s * SAMPLE_RATE), np.float32))) for s in lengths
    )
    return job


def taken(batch: list[tuple[Job, Piece]], *jobs: Job) -> list[tuple[int, float]]:
    """Which job, and seconds of its chunk."""
    return [(jobs.index(job), piece.length) for job, piece in batch]


def test_one_chunk_of_each_then_another_of_each_as_many_as_fit() -> None:
    a, b = waiting(5, 5, 5, 5), waiting(4, 4)
    assert taken(next_batch([a, b], 20.0), a, b) == [(0, 5), (1, 4), (0, 5), (1, 4)]
    assert taken(next_batch([b, a], 14.9), a, b) == [(1, 4), (0, 5)]
    assert taken(next_batch([a, b], 30.0), a, b)[4:] == [(0, 5), (0, 5)]


def test_chunks_of_another_length_do_not_come_along() -> None:
    first, shorter, short, longer, long = (waiting(s) for s in (4, 2, 1.9, 8, 8.1))
    jobs = [first, shorter, short, longer, long]
    assert taken(next_batch(jobs, 100.0), *jobs) == [(0, 4), (1, 2), (3, 8)]


def test_the_first_chunk_comes_however_long() -> None:
    job = waiting(30, 1)
    assert taken(next_batch([job], 10.0), job) == [(0, 30)]


def test_options_do_not_mix() -> None:
    a, b, c = waiting(1), waiting(1, options=replace(ENERGY, adapters=("medical",))), waiting(1)
    assert taken(next_batch([a, b, c], 10.0), a, b, c) == [(0, 1), (2, 1)]
    assert taken(next_batch([b, a, c], 10.0), a, b, c) == [(1, 1)]


def test_finished_jobs_do_not_wait() -> None:
    done, ended = waiting(1, 1), waiting()
    done.pieces[0].heard = object()  # type: ignore[assignment]
    ended.pieces.append(Piece(ended.draft, None))
    assert [piece for _, piece in next_batch([ended, done], 10.0)] == [done.pieces[1]]
    assert next_batch([ended], 10.0) == []


# The engine --------------------------------------------------------------------------------


def test_a_transcript_with_its_segments(engine: Engine, save: Save) -> None:
    seen: list[Segment] = []
    job = engine.submit(save(beeps(100, 200)), on_segment=seen.append)
    transcript = job.result.result(SOON)
    assert transcript.text == "100 200"
    assert (transcript.duration, transcript.model, transcript.adapter) == (5.0, "mini", None)
    assert list(transcript.segments) == seen


def test_longest_waiting_job_is_next(engine: Engine, decoder: FakeDecoder, save: Save) -> None:
    """A recording of thirty chunks lets a short one, which comes later, pass."""
    decoder.go.clear()
    long = engine.submit(save(beeps(*range(100, 130), seconds=0.5)))
    assert decoder.begun.acquire(timeout=SOON)  # its first chunks are being decoded
    short = engine.submit(save(beeps(900, seconds=0.5)))
    wait_until(lambda: bool(short.pieces))
    decoder.go.set()
    assert text(short) == "900"
    assert decoder.batches[1][0] == "900"
    assert text(long) == " ".join(map(str, range(100, 130)))


def test_options_take_turns(engine: Engine, decoder: FakeDecoder, save: Save) -> None:
    one, other = (replace(ENERGY, adapters=(name,)) for name in ("one", "other"))
    decoder.go.clear()
    first = engine.submit(save(beeps(*range(100, 130), seconds=0.5)), one)
    assert decoder.begun.acquire(timeout=SOON)
    second = engine.submit(save(beeps(*range(200, 230), seconds=0.5)), other)
    wait_until(lambda: len(first.pieces) == len(second.pieces) == 8)  # four fit in a batch
    decoder.go.set()
    assert text(first) == " ".join(map(str, range(100, 130)))
    assert text(second) == " ".join(map(str, range(200, 230)))
    assert first.result.result().adapter == "one"
    assert decoder.options[:3] == [one, other, one]
    hundreds = [{loud[0] for loud in batch} for batch in decoder.batches]
    assert hundreds[:3] == [{"1"}, {"2"}, {"1"}]
    assert all(len(of) == 1 for of in hundreds)


def test_silence_needs_no_turn(engine: Engine, decoder: FakeDecoder, save: Save) -> None:
    transcript = engine.submit(save(np.zeros(3 * SAMPLE_RATE))).result.result(SOON)
    assert (transcript.text, transcript.note) == ("", "nobody speaks; nothing was transcribed")
    assert decoder.batches == []


def test_only_some_chunks_are_held(engine: Engine, decoder: FakeDecoder, save: Save) -> None:
    decoder.go.clear()
    job = engine.submit(save(beeps(*range(100, 130), seconds=0.2)))
    wait_until(lambda: len(job.pieces) == 8)
    time.sleep(0.1)
    assert len(job.pieces) == 8


def test_one_failure_does_not_affect_others(
    engine: Engine, decoder: FakeDecoder, save: Save
) -> None:
    decoder.go.clear()
    first = engine.submit(save(beeps(100)))
    assert decoder.begun.acquire(timeout=SOON)
    bad, good = engine.submit(save(beeps(666))), engine.submit(save(beeps(200)))
    wait_until(lambda: bool(bad.pieces and good.pieces))
    decoder.go.set()
    assert (text(first), text(good)) == ("100", "200")
    with pytest.raises(RuntimeError, match="no luck"):
        text(bad)
    assert {"666", "200"} in map(set, decoder.batches)  # they were in one batch


def test_a_cancelled_job_is_decoded_no_further(
    engine: Engine, decoder: FakeDecoder, save: Save
) -> None:
    decoder.go.clear()
    job = engine.submit(save(beeps(*range(100, 130), seconds=0.2)))
    assert decoder.begun.acquire(timeout=SOON)
    wait_until(lambda: len(job.pieces) == 8)
    job.cancel()
    decoder.go.set()
    with pytest.raises(CancelledError):
        text(job)
    assert text(engine.submit(save(beeps(900)))) == "900"
    assert len(decoder.batches) == 2
    wait_until(lambda: not any(t.name == "reading" for t in threading.enumerate()))


def test_bad_audio(engine: Engine, tmp_path: Path, save: Save) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF but not for long")
    with pytest.raises(AudioError, match="corrupt"):
        text(engine.submit(tmp_path / "bad.wav"))
    with pytest.raises(AudioError, match="no such file"):
        text(engine.submit(tmp_path / "missing.wav"))
    soundfile.write(tmp_path / "dense.wav", np.zeros((10, 9)), 48000)
    with pytest.raises(AudioError, match="has 9 channels at 48000 Hz; expected at most 400000"):
        text(engine.submit(tmp_path / "dense.wav"))


def test_audio_that_breaks_off_is_refused(engine: Engine, tmp_path: Path) -> None:
    """Who gets but a text could not tell that it is not all."""
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40 * SAMPLE_RATE)
    soundfile.write(path, noise, SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    data[len(data) * 7 // 8 :] = bytes(len(data) - len(data) * 7 // 8)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="breaks off after"):
        text(engine.submit(path))


def test_long_audio_is_refused(engine: Engine, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLongError, match="longer than 100 s"):
        text(engine.submit(save(np.zeros(101 * SAMPLE_RATE))))
    path = save(np.zeros(101 * SAMPLE_RATE))
    monkeypatch.setattr(engine, "_check", lambda path: None)  # a header that tells less
    with pytest.raises(TooLongError, match="longer than 100 s"):
        text(engine.submit(path))


def test_places(engine: Engine) -> None:
    with engine.place(), engine.place():
        with engine.place():
            assert engine.taken == 3
            with pytest.raises(BusyError, match="all 3 request slots are in use"), engine.place():
                pass
        with engine.place():
            pass
    assert engine.taken == 0
    engine.stop()
    with pytest.raises(StoppingError, match="is shutting down"), engine.place():
        pass


def test_stop_finishes_jobs_and_close_does_not(
    engine: Engine, decoder: FakeDecoder, save: Save
) -> None:
    decoder.go.clear()
    first, second = engine.submit(save(beeps(100))), engine.submit(save(beeps(200)))
    engine.stop()
    decoder.go.set()
    assert (text(first), text(second)) == ("100", "200")
    decoder.go.clear()
    third = engine.submit(save(beeps(300)))
    threading.Timer(0.1, decoder.go.set).start()
    engine.close()
    with pytest.raises(StoppingError, match="stopped before the transcript was done"):
        text(third)
    with pytest.raises(StoppingError, match="has stopped"):
        engine.submit(save(beeps(400)))


# The real model ----------------------------------------------------------------------------


def test_texts_are_those_of_each_alone(lively: Path, save: Save) -> None:
    rng = np.random.default_rng(0)
    silence = np.zeros(SAMPLE_RATE * 3 // 2)
    paths = [
        save(
            np.concatenate(
                [x for s in seconds for x in (rng.normal(0, 0.1, round(s * 16000)), silence)]
            )
        )
        for seconds in [(0.4,), (1, 0.7, 1.3), (1.3,), (0.6, 0.2), (0.8, 1, 0.5, 0.4), (0.5,)]
    ]
    model = SpeechLLM.load(lively, vad="energy")
    alone = [model.transcript(path) for path in paths]
    assert len({transcript.text for transcript in alone}) == len(paths)
    engine = Engine(model)
    jobs = [engine.submit(path) for path in paths]
    assert [job.result.result(SOON) for job in jobs] == alone
    engine.close()
    engine.join()


def test_requests_with_different_options_do_not_interfere(
    lively: Path, tmp_path: Path, save: Save
) -> None:
    from asr_llm.model import checkpoints, lora
    from asr_llm.recipe import LoraRecipe

    adapted = checkpoints.load(lively)
    lora.install(adapted, LoraRecipe())
    for name, weight in adapted.llm.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.5)
    for name, fusion in (("medical", None), ("notes", 3.0)):
        lora.save(adapted, tmp_path / name / "adapter", base=lively, fusion=fusion)
    folders = [tmp_path / name / "adapter" for name in ("medical", "notes")]
    rng = np.random.default_rng(0)
    paths = [save(rng.normal(0, 0.1, length)) for length in (9000, 16000, 20000)]
    base = replace(ENERGY, adapters=(), confidence=True)
    asked = {
        "listed": replace(base, biasing=BiasingList(("K",))),
        "base": base,
        "timed": replace(base, word_timestamps=True),
        "medical": replace(base, adapters=("medical",)),
        "greedy": replace(base, num_beams=1, confidence=False),
        "all": TranscribeOptions(
            adapters=("medical", "notes"),
            num_beams=2,
            biasing=BiasingList(("uvula", "the court"), 40.0),
            vad="energy",
        ),
    }
    model = SpeechLLM.load(lively, folders, vad="energy")
    before = dict(vars(model)), dict(vars(model.pipeline))
    alone = {}
    for name, options in asked.items():
        fresh = SpeechLLM.load(lively, folders)
        alone[name] = [fresh.transcript(path, options).segments for path in paths]
    for name in ("medical", "listed", "greedy", "all"):
        assert texts(alone[name]) != texts(alone["base"])
    engine = Engine(model)
    assert engine.tells_words
    jobs = {
        name: [engine.submit(path, options) for path in paths] for name, options in asked.items()
    }
    for name, own in jobs.items():
        found = [job.result.result(SOON).segments for job in own]
        assert texts(found) == texts(alone[name])
        assert any(one.words for some in found for one in some) == (name == "timed")
        sure = [one.confidence for some in found for one in some]
        assert all((value is None) == (name in ("greedy", "all")) for value in sure)
        expected = [one.confidence or 0 for some in alone[name] for one in some]
        assert [value or 0 for value in sure] == pytest.approx(expected, abs=1e-4)
    engine.close()
    engine.join()
    assert (vars(model), vars(model.pipeline)) == before


def texts(segments: list[tuple[Segment, ...]]) -> list[list[str]]:
    return [[segment.text for segment in some] for some in segments]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
