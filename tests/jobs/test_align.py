"""`asr-llm align` on speech whose word times are known."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet

from asr_llm.corpus.recordings.alignment import Spelling, word_items
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.recordings.pieces import cut_pieces
from asr_llm.corpus.speech.synthesis import Utterance, synthesize
from asr_llm.errors import CheckpointError, DomainError
from asr_llm.jobs.align import Thresholds, WordTimes, align_manifest
from asr_llm.model.ctc import CtcModel

TEXTS = {
    "kitchen": "Please put the kettle on, and wash the cups.",
    "train": "The train to the city leaves at half past nine.",
    "garden": "My mother planted three apple trees behind the house.",
}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Utterance]]:
    """A manifest of synthetic speech, and with it a wrong transcript, silence, a click."""
    folder = tmp_path_factory.mktemp("spoken")
    utterances = {name: synthesize(text, "en-us+linda") for name, text in TEXTS.items()}
    rows = [f"{name}.wav\t{text}" for name, text in TEXTS.items()]
    for name, utterance in utterances.items():
        soundfile.write(folder / f"{name}.wav", utterance.samples, 16000)
    soundfile.write(folder / "wrong.wav", utterances["train"].samples, 16000)
    soundfile.write(folder / "click.wav", np.ones(800, np.float32), 16000)
    soundfile.write(folder / "short.wav", utterances["train"].samples[:8000], 16000)
    rows += [
        "wrong.wav\tWe bought some bread, butter and jam for breakfast.",
        "click.wav\tYes.",
        f"short.wav\t{TEXTS['train']} {TEXTS['garden']}",
    ]
    (folder / "trans.txt").write_text("\n".join(rows) + "\n", "utf-8")
    return folder / "trans.txt", utterances


def test_words_are_found_where_they_were_spoken(
    spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path
) -> None:
    manifest, utterances = spoken
    done = align_manifest(manifest, tmp_path / "aligned.jsonl.gz")
    assert done.aligned == 3
    assert done.words == sum(len(text.split()) for text in TEXTS.values())
    errors = []
    for cut in read_manifest(done.path):
        (supervision,) = cut.supervisions
        assert supervision.alignment is not None
        found = supervision.alignment["word"]
        truth = utterances[cut.id].words
        assert [item.symbol for item in found] == [word.text for word in truth]
        scores = [item.score for item in found]
        assert all(0 < score <= 1 for score in scores)
        assert len(set(scores)) > 1  # each word's own
        assert statistics.geometric_mean(scores) > 0.2
        errors += [abs(item.start - word.start) for item, word in zip(found, truth)]
    assert statistics.median(errors) <= 0.08


def test_times_made_elsewhere(spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path) -> None:
    """One recording cut in two segments, as a CTM has it; what the CTM lacks is dropped."""
    manifest, utterances = spoken
    words = utterances["kitchen"].words
    lines = [f"kitchen 1 {w.start} {w.end - w.start} {w.text.upper()}" for w in words]
    (tmp_path / "made.ctm").write_text("\n".join(lines), "utf-8")
    audio, at = manifest.parent / "kitchen.wav", words[3].start
    rows: list[dict[str, object]] = [
        {"audio_filepath": str(audio), "duration": at, "text": "Please put the"},
        {
            "audio_filepath": str(audio),
            "offset": at,
            "duration": 1e3,
            "text": "kettle, on and wash",
        },
        {"audio_filepath": str(manifest.parent / "train.wav"), "text": TEXTS["train"]},
    ]
    rows[1]["duration"] = words[7].start - at
    (tmp_path / "segments.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    done = align_manifest(
        tmp_path / "segments.jsonl", times=WordTimes(timings=tmp_path / "made.ctm")
    )
    assert [dropped.reason for dropped in done.dropped] == ["no times for this recording"]
    _, second = read_manifest(done.path)
    items = second.supervisions[0].alignment["word"]
    assert [item.symbol for item in items] == ["kettle,", "on", "and", "wash"]
    assert [item.start for item in items] == pytest.approx(
        [w.start - at for w in words[3:7]], abs=1e-3
    )
    again = align_manifest(
        tmp_path / "segments.jsonl", tmp_path / "b.jsonl", times=WordTimes(timings=done.path)
    )
    assert (again.aligned, again.words) == (done.aligned, done.words) == (2, 7)


def test_dropped_recordings_are_reported_with_reasons(
    spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path
) -> None:
    done = align_manifest(spoken[0], tmp_path / "aligned.jsonl.gz")
    reasons = {dropped.id: dropped.reason for dropped in done.dropped}
    assert set(reasons) == {"wrong", "click", "short"}
    assert reasons["wrong"].endswith(" below 0.02")
    assert 0 < float(reasons["wrong"].split()[1]) < 0.02
    assert reasons["click"] == "shorter than 0.1 s"
    assert " frames needed, 7 there)" in reasons["short"]


def test_word_times_that_are_there_may_be_kept(
    spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path
) -> None:
    """Of a folder's recordings one is timed by hand; the others are aligned beside it, in order."""
    manifest, _ = spoken
    words = TEXTS["train"].split()
    lines = [f"train 1 {i / 10} 0.1 {word}" for i, word in enumerate(words)]
    (tmp_path / "hand.ctm").write_text("\n".join(lines), "utf-8")
    (by_hand,) = read_manifest(
        align_manifest(
            manifest.parent, tmp_path / "t.jsonl", times=WordTimes(timings=tmp_path / "hand.ctm")
        ).path
    )
    others = [cut for cut in read_manifest(manifest) if cut.id in ("kitchen", "garden")]
    CutSet.from_cuts([others[0], by_hand, others[1]]).to_file(tmp_path / "some.jsonl")
    done = align_manifest(
        tmp_path / "some.jsonl", tmp_path / "all.jsonl", times=WordTimes(anew=False)
    )
    cuts = list(read_manifest(done.path))
    assert [cut.id for cut in cuts] == ["kitchen", "train", "garden"]
    starts = [item.start for item in word_items(cuts[1])]
    assert starts == pytest.approx([i / 10 for i in range(len(words))])
    assert [item.score for item in word_items(cuts[1])] == [None] * len(words)
    anew = align_manifest(tmp_path / "some.jsonl", tmp_path / "anew.jsonl")
    assert all(item.score for cut in read_manifest(anew.path) for item in word_items(cut))


def test_times_beyond_the_recording(
    spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path
) -> None:
    (tmp_path / "late.ctm").write_text("click 1 7.5 0.5 Yes.\n", "utf-8")
    with pytest.raises(DomainError, match=r"timed up to 8\.0 s, but the recording has 0\.1 s"):
        align_manifest(
            click_alone(spoken[0], tmp_path), times=WordTimes(timings=tmp_path / "late.ctm")
        )
    with pytest.raises(DomainError, match="found no list of recordings"):
        align_manifest(tmp_path / "empty")


def click_alone(manifest: Path, place: Path) -> Path:
    (place / "empty").mkdir()
    alone = place / "alone.jsonl"
    audio = str(manifest.parent / "click.wav")
    alone.write_text(json.dumps({"audio_filepath": audio, "text": "Yes."}) + "\n", "utf-8")
    return alone


def test_nothing_is_overwritten_and_nothing_aligned_is_an_error(
    spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text("mine", "utf-8")
    with pytest.raises(DomainError, match="exists already"):
        align_manifest(spoken[0], tmp_path / "a.jsonl")
    with pytest.raises(DomainError, match=r"expected a name ending in \.jsonl\.gz"):
        align_manifest(spoken[0], tmp_path / "a.txt")
    with pytest.raises(DomainError, match="none of 6 recordings could be aligned"):
        align_manifest(spoken[0], tmp_path / "b.jsonl", thresholds=Thresholds(confidence=1.0))
    untold = tmp_path / "untold.jsonl"
    audio = str(spoken[0].parent / "click.wav")
    untold.write_text(json.dumps({"audio_filepath": audio}) + "\n", "utf-8")
    with pytest.raises(DomainError, match="none of its recordings has a transcript to align"):
        align_manifest(untold, tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()
    assert (tmp_path / "a.jsonl").read_text("utf-8") == "mine"


def test_a_ctc_model_of_nemo(
    spoken: tuple[Path, dict[str, Utterance]], nemo_ctc: Path, tmp_path: Path
) -> None:
    """It aligns at random, but in order and within bounds."""
    done = align_manifest(
        spoken[0],
        tmp_path / "a.jsonl",
        WordTimes(str(nemo_ctc), "viterbi"),
        Thresholds(confidence=0.0),
    )
    assert {dropped.id for dropped in done.dropped} == {"click", "short"}
    for cut in read_manifest(done.path):
        times = [(item.start, item.end) for item in cut.supervisions[0].alignment["word"]]
        assert times == sorted(times)
        assert times[0][0] >= 0 and times[-1][1] <= cut.duration + 0.04


def test_models_that_cannot_align(
    spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        align_manifest(spoken[0], tmp_path / "a.jsonl", WordTimes("nowhere.nemo"))
    (tmp_path / "bad.nemo").write_text("x", "utf-8")
    with pytest.raises(CheckpointError, match="not a model that NeMo can load"):
        align_manifest(spoken[0], tmp_path / "a.jsonl", WordTimes(str(tmp_path / "bad.nemo")))


def test_json(spoken: tuple[Path, dict[str, Utterance]], tmp_path: Path) -> None:
    done = align_manifest(spoken[0], tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in done.path.read_text("utf-8").splitlines()]
    assert {row["id"] for row in rows} == set(TEXTS)


class Counting(CtcModel):
    """Hears in each frame of four samples what the first of them is; and one frame too many."""

    blank, frame = 0, 4 / 16000

    def spell(self, text: str) -> Spelling:
        raise NotImplementedError

    def log_probs(self, audios: list[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(np.append(audio[::4], -1.0))[:, None] for audio in audios]


def test_long_audio_is_heard_in_pieces_frame_by_frame() -> None:
    rng = np.random.default_rng(1)
    short, long = (rng.standard_normal(n).astype(np.float32) for n in (16000, 61 * 16000 + 3))
    heard = Counting().hear([long, short, long])
    for audio, rows in zip((long, short, long), heard):
        assert (rows[:-1, 0].numpy() == audio[::4]).all()
    assert Counting().hear([]) == []


def test_a_model_hears_no_more_at_once_than_its_encoder_takes() -> None:
    """Whisper has positions for 30 s; recordings of 31 s are common."""

    class Whisper(Counting):
        longest = 30.0

        def log_probs(self, audios: list[np.ndarray]) -> list[torch.Tensor]:
            assert max(map(len, audios)) <= 30 * 16000
            return super().log_probs(audios)

    audio = np.random.default_rng(2).standard_normal(31 * 16000 + 1).astype(np.float32)
    (rows,) = Whisper().hear([audio])
    assert (rows[:-1, 0].numpy() == audio[::4]).all()


def test_recordings_of_minutes(tmp_path: Path) -> None:
    """Seventy seconds in one file: aligned, and cut for learning."""
    text = "We bought some bread, butter and jam for breakfast."
    spoken = synthesize(text, "en-us")
    gap = np.zeros(16000, np.float32)
    count = math.ceil(70 / (spoken.duration + 1))
    soundfile.write(tmp_path / "a.wav", np.concatenate([spoken.samples, gap] * count), 16000)
    (tmp_path / "trans.txt").write_text("a.wav\t" + " ".join([text] * count), "utf-8")
    done = align_manifest(tmp_path / "trans.txt")
    (cut,) = read_manifest(done.path)
    found = cut.supervisions[0].alignment["word"]
    truth = [word.start + i * (spoken.duration + 1) for i in range(count) for word in spoken.words]
    assert statistics.median(abs(w.start - t) for w, t in zip(found, truth, strict=True)) <= 0.08
    pieces = cut_pieces(cut)
    assert len(pieces) >= 3
    # Cut in the pauses: each piece is whole sentences.
    assert all(piece.supervisions[0].text.startswith("We bought") for piece in pieces)
    assert all(piece.supervisions[0].text.endswith("breakfast.") for piece in pieces)


SAID = {  # what is written, what is said, and the spoken word that each written one begins with
    "dose": (
        "We gave him 40 mg in 1996.",
        "We gave him forty milligrams in nineteen ninety six.",
        [0, 1, 2, 3, 4, 5, 6],
    ),
    "room": ("Room 120 is free.", "Room one twenty is free.", [0, 1, 3, 4]),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transcripts with digits and units, and one that leaves most of its recording out."""
    folder = tmp_path_factory.mktemp("written")
    rows = {name: (text, said) for name, (text, said, _) in SAID.items()}
    rows["part"] = ("My mother planted", f"{TEXTS['garden']} {TEXTS['train']}")
    for name, (_, said) in rows.items():
        soundfile.write(folder / f"{name}.wav", synthesize(said, "en-us+linda").samples, 16000)
    lines = [f"{name}.wav\t{text}\n" for name, (text, _) in rows.items()]
    (folder / "trans.txt").write_text("".join(lines), "utf-8")
    return folder / "trans.txt"


def test_digits_are_aligned_as_they_are_said(written: Path, tmp_path: Path) -> None:
    done = align_manifest(written, tmp_path / "a.jsonl.gz")
    cuts = {cut.id: cut for cut in read_manifest(done.path)}
    for name, (text, said, first) in SAID.items():
        items = word_items(cuts[name])
        assert [item.symbol for item in items] == text.split()
        truth = synthesize(said, "en-us+linda").words
        for item, i in zip(items, first, strict=True):
            assert item.start == pytest.approx(truth[i].start, abs=0.2), item.symbol


def test_an_incomplete_transcript_is_reported(written: Path, tmp_path: Path) -> None:
    done = align_manifest(written, tmp_path / "a.ctm", form="ctm")
    (dropped,) = done.dropped
    assert dropped.id == "part"
    assert "% of what is said, less than 70%: complete it, or cut the audio" in dropped.reason
    assert {line.split()[0] for line in done.path.read_text().splitlines()} == {"dose", "room"}
    kept = align_manifest(
        written, tmp_path / "grids", form="textgrid", thresholds=Thresholds(coverage=0.0)
    )
    assert sorted(path.stem for path in kept.path.iterdir()) == ["dose", "part", "room"]
    again = align_manifest(written, tmp_path / "b.jsonl", times=WordTimes(timings=kept.path))
    assert again.aligned == 3
    with pytest.raises(DomainError, match=r"expected a name ending in \.ctm"):
        align_manifest(written, tmp_path / "a.txt", form="ctm")
