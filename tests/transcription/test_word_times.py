"""Word times: by hand, whatever is written, and end to end."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.recordings.alignment import Spelling, spell
from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.results import Decoded, DecodedWord
from asr_llm.model import checkpoints, ctc
from asr_llm.model.salm import SpanSALM
from asr_llm.transcription.speech_llm import SpeechLLM
from asr_llm.transcription.transcript import Transcript
from asr_llm.transcription.word_times import word_times

LETTERS, BLANK, FRAME = "abcdefghijklmnopqrstuvwxyz", 26, 0.1


class Heard(ctc.CtcModel):
    """Emissions as they are given: a letter for every frame of 0.1 s, "_" for the blank."""

    blank, frame = BLANK, FRAME

    def __init__(self, *frames: str) -> None:
        self.frames = frames

    def spell(self, text: str, said: Sequence[str] | None = None) -> Spelling:
        return spell(
            text,
            lambda words: [[ord(c) - 97 for c in w if c in LETTERS] for w in words],
            said=said,
        )

    def log_probs(self, audios: list[np.ndarray]) -> list[torch.Tensor]:
        found = []
        for frames in self.frames:
            ids = [BLANK if c == "_" else LETTERS.index(c) for c in frames]
            rows = torch.full((len(ids), 27), 0.1 / 26)
            rows[range(len(ids)), ids] = 0.9
            found.append(rows.log())
        assert len(found) == len(audios)
        return found


def audio(seconds: float) -> np.ndarray:
    return np.zeros(round(16000 * seconds), np.float32)


def times(text: str, frames: str, seconds: float) -> list[tuple[str, float, float]]:
    (found,) = word_times(Heard(frames), [audio(seconds)], [Decoded(text)])
    assert all(word.confidence is None for word in found)
    return [(word.text, round(word.start, 3), round(word.end, 3)) for word in found]


def test_words_by_hand() -> None:
    # "Ab," is heard from 0.1 to 0.3, and half of the 0.1 s to "c" are given to it; "c!" goes on
    # for 0.1 s and no longer; what is not said stands at the end of what was.
    assert times("Ab, c!", "_ab_c_____", 1.0) == [("Ab,", 0.1, 0.35), ("c!", 0.4, 0.6)]
    assert times("Ab - c", "_ab_c_____", 1.0) == [
        ("Ab", 0.1, 0.35),
        ("-", 0.35, 0.35),
        ("c", 0.4, 0.6),
    ]


def test_the_last_frame_may_reach_beyond_the_audio() -> None:
    assert times("a b", "a_b", 0.25) == [("a", 0.0, 0.15), ("b", 0.2, 0.25)]


def test_what_cannot_be_aligned_shares_the_time_by_its_letters() -> None:
    assert times("ab cdef", "ab", 0.2) == [("ab", 0.0, 0.067), ("cdef", 0.067, 0.2)]
    assert times("- —", "ab", 0.2) == [("-", 0.0, 0.1), ("—", 0.1, 0.2)]


def test_confidence_comes_along_and_nothing_has_no_words() -> None:
    words = (DecodedWord("a", 0.5, (math.log(0.5),)), DecodedWord("b", 0.25, (math.log(0.25),)))
    found = word_times(
        Heard("a_b"),
        [audio(0.1), audio(0.3)],
        [Decoded(""), Decoded("a b", words=words)],
    )
    assert found[0] == ()
    assert [(word.text, word.confidence) for word in found[1]] == [("a", 0.5), ("b", 0.25)]
    assert word_times(Heard(), [audio(1)], [Decoded("")]) == [()]


WORDS = st.lists(st.text("abcde-,.’é", min_size=1, max_size=5), min_size=1, max_size=8)


@given(WORDS, st.text("abcde_", min_size=1, max_size=30), st.floats(0.0, 0.099))
def test_whatever_is_written_has_times_in_order_and_inside(
    words: list[str], frames: str, short: float
) -> None:
    """Whether or not it is what was heard."""
    seconds = len(audio(len(frames) * FRAME - short)) / 16000
    (found,) = word_times(Heard(frames), [audio(seconds)], [Decoded(" ".join(words))])
    assert [word.text for word in found] == words
    bounds = [bound for word in found for bound in (word.start, word.end)]
    assert bounds == sorted(bounds)
    assert bounds[0] >= 0 and bounds[-1] <= seconds


# The real thing ------------------------------------------------------------------------------

TEXTS = (
    "My mother planted three apple trees behind the house.",
    "The train to the city leaves at half past nine.",
)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("spoken")
    paths = [folder / f"{i}.wav" for i in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS):
        soundfile.write(path, synthesize(text, "en-us+linda").samples, 16000)
    return paths


@pytest.fixture(scope="module")
def with_head(
    tiny: Path,
    enliven: Callable[[SpanSALM, float], SpanSALM],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The tiny checkpoint with a CTC head, and weights large enough to write something."""
    model = enliven(checkpoints.load(tiny), 0.3)
    model.add_ctc_head()
    folder = tmp_path_factory.mktemp("head") / "model"
    checkpoints.save(model, folder, card="")
    return folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_llm.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_words_are_where_they_were_spoken(spoken: list[Path]) -> None:
    model = SpeechLLM.load("mini", num_beams=1, word_timestamps=True)
    errors = []
    for text, result in zip(TEXTS, model.transcribe_many(spoken)):
        assert isinstance(result, Transcript)
        (segment,) = result.segments
        assert " ".join(word.text for word in segment.words) == segment.text
        sure = [word.confidence for word in segment.words]
        assert segment.confidence == pytest.approx(statistics.mean(sure), abs=1e-3)
        truth = synthesize(text, "en-us+linda").words
        if [w.text for w in truth] == [w.text for w in segment.words]:
            errors += [abs(w.start - t.start) for w, t in zip(segment.words, truth)]
            errors += [abs(w.end - t.end) for w, t in zip(segment.words, truth)]
    assert len(errors) >= 18 and statistics.median(errors) <= 0.06


def test_audio_is_encoded_once_and_times_are_those_of_encoding_again(with_head: Path) -> None:
    model = checkpoints.load(with_head)
    aligner = ctc.CheckpointCtc(model)
    audios = [  # of whole frames: decoding fills them up
        np.random.default_rng(n).normal(0, 0.1, n * model.frame_samples).astype("float32")
        for n in (24, 8)
    ]
    options = DecodeOptions(num_beams=1, confidence=True, keep_encoded=True)
    kept = Decoder(model).decode(audios, options)
    again = word_times(aligner, audios, [replace(one, encoded=None) for one in kept])
    assert any(again)

    def never(audios: list[np.ndarray]) -> list[torch.Tensor]:
        raise AssertionError("the audio was encoded a second time")

    aligner.log_probs = never  # type: ignore[method-assign]
    assert word_times(aligner, audios, kept) == again


def test_transcribe_gives_word_times(with_head: Path, spoken: list[Path]) -> None:
    plain = run("transcribe", spoken[0], "--model", with_head, "-f", "json")
    timed = run("transcribe", spoken[0], "--model", with_head, "-f", "json", "--word-timestamps")
    assert (plain.returncode, timed.returncode) == (0, 0), timed.stderr
    before, after = json.loads(plain.stdout), json.loads(timed.stdout)
    words = after["segments"][0].pop("words")
    assert before["segments"][0].pop("words") == []
    assert after == before
    assert [word["word"] for word in words] == after["text"].split()
    assert set(words[0]) == {"word", "start", "end", "probability"}
    assert all(one["end"] <= two["start"] for one, two in pairwise(words))
    assert words[-1]["end"] <= after["duration"]


def test_without_a_ctc_head_it_says_how_to_get_words(tiny: Path, spoken: list[Path]) -> None:
    done = run("transcribe", *spoken, "--model", tiny, "--word-timestamps")
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "only segments are timed" in line]
    assert "has no CTC head" in line and "--aligner" in line


def test_an_aligner_of_nemo_takes_the_heads_place(
    tiny: Path, nemo_ctc: Path, spoken: list[Path]
) -> None:
    model = SpeechLLM.load(tiny, num_beams=1, aligner=nemo_ctc)
    assert isinstance(model.aligner, ctc.NemoCtc)
    for result in model.transcribe_many(spoken):
        assert isinstance(result, Transcript)
        for segment in result.segments:
            assert [word.text for word in segment.words] == segment.text.split()
            assert segment.words[-1].end <= result.duration


def test_an_aligner_that_is_none_is_refused(tiny: Path, spoken: list[Path]) -> None:
    done = run("transcribe", spoken[0], "--model", tiny, "--aligner", "nowhere.nemo")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no file nowhere.nemo; expected a NeMo CTC model (.nemo)" in done.stderr
