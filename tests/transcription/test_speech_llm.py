"""Files of any length, many at once; the decoder is a fake but for the last tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fakes import ENERGY, FakeModel
from lhotse import CutSet, Recording

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.phrases import Phrases
from asr_llm.decoding.results import Decoded
from asr_llm.errors import AudioError, CheckpointError, ScoreError
from asr_llm.transcription import batching, pipeline
from asr_llm.transcription.speech_llm import SpeechLLM
from asr_llm.transcription.transcript import Segment, Transcript
from asr_llm.transcription.vad import FRAME


class FakeAdapters:
    """One, of speech, in a folder called "med"."""

    names, biasing = ("med",), ()

    def label(self, names: object) -> str:
        return "med"

    def check(self, names: object) -> None:
        pass

    def use(self, *names: str) -> None:
        pass

    def fusion(self, weight: float | None = None) -> dict[str, float]:
        return {}


def tone(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def save(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, SAMPLE_RATE)
    return path


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The seconds of each piece of each batch; the text of a piece is its length."""
    seen: list[list[float]] = []

    def decode(self: Any, audios: list[np.ndarray], options: Any) -> list[Decoded]:
        seen.append([len(audio) / SAMPLE_RATE for audio in audios])
        return [Decoded(f"{len(audio) / SAMPLE_RATE:g}") for audio in audios]

    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", decode)
    return seen


@pytest.fixture
def fake() -> SpeechLLM:
    loaded: Any = FakeAdapters()
    return SpeechLLM(FakeModel(20.0), "mini", ENERGY, loaded=loaded, batch_seconds=30.0)  # type: ignore[arg-type]


def test_one_file(tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]) -> None:
    path = save(tmp_path / "a.wav", tone(1.5))
    assert fake.transcript(path) == Transcript(
        path, 1.5, (Segment(0.0, 1.5, "1.5"),), "mini", "med", None
    )
    assert fake.transcript(str(path)).text == "1.5"


def test_long_audio_is_cut_at_its_pause(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    samples = np.concatenate([tone(16), silence(0.512), tone(12)])
    transcript = fake.transcript(save(tmp_path / "a.wav", samples))
    first, second = transcript.segments
    assert (first.start, first.end, second.end) == (0.0, 16.256, 28.512)
    assert second.start == 16.32  # 0.2 s before speech begins again, in whole frames
    assert transcript.text == f"{first.text} {second.text}" == "16.256 12.192"
    assert transcript.note is None


def test_where_nobody_pauses_chunks_overlap_and_their_texts_are_joined(
    tmp_path: Path, fake: SpeechLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each second of the tone says its number; 20 s are 625 frames, 2 s are 62."""

    def decode(self: Any, audios: list[np.ndarray], options: Any) -> list[Decoded]:
        starts = [round(float(a[0]) * 1000) for a in audios]
        return [
            Decoded(" ".join(f"w{s}" for s in range(start, start + round(len(a) / SAMPLE_RATE))))
            for start, a in zip(starts, audios)
        ]

    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", decode)
    seconds = np.arange(50 * SAMPLE_RATE) // SAMPLE_RATE
    path = tmp_path / "a.wav"
    soundfile.write(path, (seconds / 1000).astype(np.float32), SAMPLE_RATE, subtype="FLOAT")
    monkeypatch.setattr(pipeline, "listener", lambda kind: Speaking())
    transcript = fake.transcript(path)
    assert transcript.text == " ".join(f"w{s}" for s in range(50))
    assert [s.end for s in transcript.segments[:-1]] == [s.start for s in transcript.segments[1:]]
    assert list(fake.transcribe(path)) == list(transcript.segments)


class Speaking:
    """Hears speech everywhere."""

    def hear(self, samples: np.ndarray) -> np.ndarray:
        return np.ones(len(samples) // FRAME, np.float32)


def test_where_nobody_speaks_nothing_is_decoded(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    silent = fake.transcript(save(tmp_path / "silent.wav", silence(45)))
    assert (silent.text, silent.segments, silent.duration) == ("", (), 45.0)
    assert silent.note == "nobody speaks; nothing was transcribed"
    assert batches == []
    half = fake.transcript(save(tmp_path / "half.wav", np.concatenate([tone(10), silence(50)])))
    assert [(s.start, s.end) for s in half.segments] == [(0.0, 10.208)]
    assert half.note is None


def test_segments_come_while_the_rest_is_still_to_be_heard(
    tmp_path: Path,
    fake: SpeechLLM,
    batches: list[list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_POOLED", 1)
    samples = np.concatenate([tone(16), silence(1.5), tone(16), silence(1.5), tone(16)])
    segments = fake.transcribe(save(tmp_path / "a.wav", samples))
    first = next(segments)
    assert (first.start, first.end) == (0.0, 16.192)
    assert len(batches) == 2  # the next is there too: it might have shared the first one's end
    assert len(list(segments)) == 2

    told: list[str] = []
    (whole,) = fake.transcribe_many(
        [tmp_path / "a.wav"], on_segment=lambda segment: told.append(segment.text)
    )
    assert " ".join(told) == whole.text  # type: ignore[union-attr]
    assert len(told) == 3


def test_a_truncated_file_is_transcribed_up_to_the_break(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(path, noise, SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    data[len(data) * 7 // 8 :] = bytes(len(data) - len(data) * 7 // 8)
    path.write_bytes(data)
    transcript = fake.transcript(path)
    assert not transcript.complete
    assert transcript.note and transcript.note.startswith("corrupt: it breaks off after ")
    assert transcript.note.endswith("; what comes before is transcribed")
    assert transcript.segments[-1].end == transcript.duration
    assert 34.5 < transcript.duration < 35  # a part of the second block of half a minute, too
    with pytest.raises(AudioError, match="corrupt"):
        list(fake.transcribe(path))


@pytest.mark.parametrize("seconds", [1 / SAMPLE_RATE, 0.05])
def test_very_short_audio_is_empty_with_a_note(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]], seconds: float
) -> None:
    short = fake.transcript(save(tmp_path / "a.wav", tone(seconds)))
    assert short.text == "" and batches == []
    assert short.note == (
        f"{seconds:.3f} s of audio is too short to hold a word; expected at least 0.1 s"
    )


def test_a_bad_file_does_not_stop_the_rest(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF but not for long")
    paths = [
        save(tmp_path / "a.wav", tone(3)),
        tmp_path / "bad.wav",
        tmp_path / "missing.wav",
        save(tmp_path / "b.wav", tone(1)),
    ]
    a, bad, missing, b = fake.transcribe_many(paths)
    assert isinstance(bad, AudioError) and "bad.wav: corrupt" in str(bad)
    assert isinstance(missing, AudioError) and "missing.wav: no such file" in str(missing)
    assert isinstance(a, Transcript) and (a.path, a.text) == (paths[0], "3")
    assert isinstance(b, Transcript) and (b.path, b.text) == (paths[3], "1")
    with pytest.raises(AudioError, match="no such file"):
        fake.transcript(paths[2])


def test_pieces_of_similar_length_share_a_batch(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    seconds = [1, 19, 2, 9, 3, 16, 10, 18]  # two batches' worth to a pool: the last is alone
    paths = [save(tmp_path / f"{s}.wav", tone(s)) for s in seconds]
    texts = [result.text for result in fake.transcribe_many(paths)]  # type: ignore[union-attr]
    assert texts == [str(s) for s in seconds]
    # Padded length times count is at most 30 s: 3 x 9 s, but not 4 x 9 s.
    assert batches == [[1, 2, 3], [9, 10], [16], [19], [18]]


def test_a_batch_that_does_not_fit_is_halved(
    tmp_path: Path, fake: SpeechLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def decode(self: Any, audios: list[np.ndarray], options: Any) -> list[Decoded]:
        sizes.append(len(audios))
        if len(audios) > 2:
            raise torch.OutOfMemoryError
        return [Decoded(f"{len(audio) / SAMPLE_RATE:g}") for audio in audios]

    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", decode)
    paths = [save(tmp_path / f"{s}.wav", tone(s)) for s in (1, 2, 3, 4, 5)]
    texts = [result.text for result in fake.transcribe_many(paths)]  # type: ignore[union-attr]
    assert texts == ["1", "2", "3", "4", "5"]
    assert (sizes, fake.pipeline.batch_seconds) == ([5, 2, 3, 1, 2], 7.5)


def test_a_batch_is_what_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_AVPHYS_PAGES": 10**6, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert SpeechLLM(FakeModel(20.0), "mini").pipeline.batch_seconds == pytest.approx(51.2)  # type: ignore[arg-type]
    pages["SC_AVPHYS_PAGES"] = 10
    assert SpeechLLM(FakeModel(20.0), "mini").pipeline.batch_seconds == 20.0  # type: ignore[arg-type]


def test_files_are_decoded_before_all_are_loaded(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_POOLED", 1)
    fake.pipeline.batch_seconds = 6.0
    paths = [save(tmp_path / f"{i}.wav", tone(2)) for i in range(7)]
    results = fake.transcribe_many(paths)
    next(results)
    assert batches == [[2, 2, 2]]
    assert len(list(results)) == 6
    assert batches == [[2, 2, 2], [2, 2, 2], [2]]


def test_progress_is_in_seconds_of_audio(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    paths = [
        save(tmp_path / "a.wav", tone(16)),
        save(tmp_path / "silent.wav", silence(4)),
        tmp_path / "missing.wav",
        save(tmp_path / "b.wav", tone(20)),
    ]
    calls: list[tuple[float, float]] = []
    list(fake.transcribe_many(paths, on_done=lambda done, total: calls.append((done, total))))
    assert calls == [(16, 40), (36, 40), (40, 40)]


@pytest.mark.parametrize(
    ("decoded", "note"),
    [
        (
            Decoded("a", complete=False),
            "the model reached its token limit, words may be missing",
        ),
        (Decoded("a", complete=False, loop_cut=True), "the model repeated itself, the repetitions"),
        (Decoded(""), "the model recognised no words"),
    ],
)
def test_note_says_where_text_may_be_missing(
    tmp_path: Path,
    fake: SpeechLLM,
    monkeypatch: pytest.MonkeyPatch,
    decoded: Decoded,
    note: str,
) -> None:
    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", lambda *_, **__: [decoded])
    transcript = fake.transcript(save(tmp_path / "a.wav", tone(2)))
    assert transcript.note and transcript.note.startswith(f"0.0 to 2.0 s: {note}")


def test_cuts(tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]) -> None:
    cuts = CutSet.from_cuts(
        Recording.from_file(save(tmp_path / f"{name}.wav", samples)).to_cut().with_id(name)
        for name, samples in [("long", tone(5)), ("short", tone(1)), ("silent", silence(2))]
    )
    calls: list[tuple[float, float]] = []
    texts = fake.transcribe_cuts(cuts, lambda done, total: calls.append((done, total)))
    assert texts == {"long": "5", "short": "1", "silent": ""}
    assert batches == [[1, 5]]
    assert calls == [(6, 8), (8, 8)]


def test_cuts_that_cannot_be_told_apart_or_read(
    tmp_path: Path, fake: SpeechLLM, batches: list[list[float]]
) -> None:
    cut = Recording.from_file(save(tmp_path / "a.wav", tone(1))).to_cut().with_id("one")
    with pytest.raises(ScoreError, match="2 cuts have the id 'one'"):
        fake.transcribe_cuts([cut, cut])  # type: ignore[arg-type]
    (tmp_path / "a.wav").unlink()
    with pytest.raises(AudioError, match="cut one"):
        fake.transcribe_cuts([cut])  # type: ignore[arg-type]


def test_the_real_model(tmp_path: Path, tiny: Path) -> None:
    real = SpeechLLM.load(tiny, vad="energy")
    assert not real.model.training
    paths = [save(tmp_path / "a.wav", tone(0.3)), save(tmp_path / "b.wav", tone(0.1))]
    a, b = real.transcribe_many(paths)
    assert isinstance(a, Transcript) and isinstance(b, Transcript)
    assert (a.model, a.adapter, a.duration, b.duration) == (str(tiny), None, 0.3, 0.1)


def make_adapter(base: Path, folder: Path, weight: float = 0.1, **more: Any) -> None:
    """An adapter that does something; ``more`` is for ``lora.save``."""
    from asr_llm.model import checkpoints, lora
    from asr_llm.recipe import LoraRecipe

    model = checkpoints.load(base)
    lora.install(model, LoraRecipe())
    for name, parameter in model.llm.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(weight)
    lora.save(model, folder, base=base, **more)


def test_an_adapter_is_merged(tmp_path: Path, tiny: Path) -> None:
    make_adapter(tiny, tmp_path / "adapter")
    adapted = SpeechLLM.load(tiny, tmp_path / "adapter", vad="energy")
    assert adapted.adapter == str(tmp_path / "adapter")
    assert not any("lora" in name for name, _ in adapted.model.named_parameters())
    assert isinstance(adapted.transcript(save(tmp_path / "a.wav", tone(0.3))), Transcript)


def test_adapters_are_swapped_by_name(tmp_path: Path, tiny: Path) -> None:
    folders = {"a": tmp_path / "a" / "adapter", "b": tmp_path / "b" / "adapter"}
    for sign, (name, folder) in enumerate(folders.items()):
        make_adapter(tiny, folder, 0.1 - 0.3 * sign, fusion=0.5 if name == "b" else None)
    audio = save(tmp_path / "a.wav", tone(0.5))
    several = SpeechLLM.load(tiny, list(folders.values()), vad="energy")
    assert several.adapters == ("a", "b")
    for names in (("a", "b"), ("b",), (), ("a",)):
        if names != several.adapters:
            several.use(*names)
        found = several.transcript(audio)
        expected = SpeechLLM.load(tiny, [folders[name] for name in names], vad="energy").transcript(
            audio
        )
        assert found == expected
        assert found.adapter == (" + ".join(str(folders[name]) for name in names) or None)
    with pytest.raises(CheckpointError, match="no adapter 'c' was loaded; expected some of a, b"):
        several.use("c")


def test_nothing_to_swap(tiny: Path) -> None:
    bare = SpeechLLM.load(tiny, vad="energy")
    assert bare.adapters == ()
    bare.use()
    with pytest.raises(CheckpointError, match="no adapter 'a' was loaded; expected its folder"):
        bare.use("a")


def test_no_such_model() -> None:
    with pytest.raises(CheckpointError, match=r"no model at \./nowhere"):
        SpeechLLM.load("./nowhere")


def preferred(model: SpeechLLM) -> tuple[tuple[str, ...], float] | None:
    """What the decoder prefers, and the most that a token gains."""
    found = model.pipeline.decoder._preferences(model.options).phrases
    return None if found is None else (found.named, float(found.gain.max()))


def test_lists_that_take_turns_are_made_ready_once(
    lively: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SpeechLLM.load(lively)
    made = []
    of = Phrases.of
    monkeypatch.setattr(Phrases, "of", lambda *a: made.append(a[0][0].phrases[0]) or of(*a))
    lists = [BiasingList((f"word{i}",)) for i in range(9)]
    for _ in range(2):
        for one in lists[:8]:
            model.prefer(one)
            preferred(model)
    assert made == [f"word{i}" for i in range(8)]
    for one in (lists[8], lists[1], lists[0]):  # the ninth takes the place of the first
        model.prefer(one)
        preferred(model)
    assert made[8:] == ["word8", "word0"]
    model.prefer(None)
    assert preferred(model) is None


def test_phrases_may_be_plain_strings(lively: Path) -> None:
    model = SpeechLLM.load(lively, vad="energy", biasing=["uvula", "Ann Lee"])
    assert preferred(model) == (("uvula", "Ann Lee"), 2.5)
    model.prefer("uvula")
    assert preferred(model) == (("uvula",), 2.5)


def test_lists_of_active_adapters_apply(tmp_path: Path, lively: Path) -> None:
    brought = BiasingList(("sotalol", "uvula"), 2.0)
    make_adapter(lively, tmp_path / "drugs", biasing=brought)

    plain = SpeechLLM.load(lively, tmp_path / "drugs", vad="energy")
    named, gain = preferred(plain) or ((), 0.0)
    assert (named, gain) == (("sotalol", "uvula"), 2.0)
    plain.use()
    assert preferred(plain) is None
    plain.prefer(BiasingList(("uvula", "Ann Lee")))
    plain.use("drugs")
    assert (preferred(plain) or ((), 0.0))[0] == ("uvula", "Ann Lee", "sotalol")
    off = SpeechLLM.load(lively, tmp_path / "drugs", vad="energy", biasing=BiasingList((), 0.0))
    assert preferred(off) == ((), 0.0)


@pytest.mark.parametrize("brought", [{"fusion": 0.5}, {"biasing": BiasingList(("uvula",))}, {}])
def test_a_preference_that_runs_wild_is_left_out(
    tmp_path: Path, lively: Path, monkeypatch: pytest.MonkeyPatch, brought: dict[str, Any]
) -> None:
    make_adapter(lively, tmp_path / "drugs", **brought)
    model = SpeechLLM.load(lively, tmp_path / "drugs", vad="energy")
    asked = []

    def decode(self: Any, audios: Any, options: Any) -> list[Decoded]:
        alone = options == options.without_preferences
        asked.append(alone)
        return [Decoded("the uvula" if alone else "uvula uvula-uvula", complete=alone)]

    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", decode)
    transcript = model.transcript(save(tmp_path / "a.wav", tone(2)))
    (segment,) = transcript.segments
    if brought:
        assert (segment.text, asked) == ("the uvula", [False, True])
        assert transcript.note == (
            "0.0 to 2.0 s: the model reached its token limit, decoded again without biasing lists "
            "and text adapters"
        )
    else:
        assert (segment.text, asked) == ("uvula uvula-uvula", [False])
