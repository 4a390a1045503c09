"""`asr-llm transcribe` from input to output: where audio comes from, what is written, killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_llm.cli.console import summary
from asr_llm.corpus.recordings.audio import Source
from asr_llm.corpus.speech.synthesis import select_voices, synthesize
from asr_llm.errors import AudioError, RunError
from asr_llm.jobs.destinations import Outcome, Wanted
from asr_llm.jobs.transcribe import transcribe
from asr_llm.jobs.transcripts import text_settings
from asr_llm.progress import Feedback
from asr_llm.transcription.chunks import Chunk
from asr_llm.transcription.journal import Journals
from asr_llm.transcription.options import Recogniser, TranscribeOptions
from asr_llm.transcription.outputs import RECORD
from asr_llm.transcription.transcript import DecodedChunk, Segment, Transcript, Word


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files that a fake recogniser was given; those that say 'bad' are unreadable."""
    names: list[str] = []

    class Fake:
        def __init__(self, recogniser: Recogniser, options: TranscribeOptions, *_: Any) -> None:
            self.recogniser, self.options = recogniser, options

        def transcribe_many(
            self,
            paths: Sequence[Source],
            on_done: object,
            journal: object,
            on_segment: Callable[[Segment], None] | None,
        ) -> Iterator[Transcript | AudioError]:
            for path in (source.path for source in paths):
                names.append(path.name)
                if b"bad" in path.read_bytes():
                    yield AudioError(f"{path}: corrupt")
                    continue
                text = path.read_bytes().decode()
                words = (Word(text, 0.0, 1.0, 0.5),) if self.options.num_beams > 1 else ()
                segment = Segment(0.0, 2.0, text, words)
                if on_segment is not None:
                    on_segment(segment)
                yield Transcript(path, 2.0, (segment,), self.recogniser.model)

    monkeypatch.setattr("asr_llm.jobs.transcribe.load", Fake)
    monkeypatch.setattr("asr_llm.jobs.transcribe.unreadable", lambda path: None)
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.wav").write_text(name)
    return names


def run(*audios: str, num_beams: int = 4, **wanted: Any) -> list[Outcome]:
    made = Wanted(**wanted)
    options = TranscribeOptions(num_beams=num_beams, word_timestamps=True)
    return list(transcribe([*map(Path, audios)], made, options))


def test_printed(heard: list[str]) -> None:
    assert run("a.wav") == [Outcome(Path("a.wav"), 2.0, "a\n")]
    assert [o.printed for o in run(".")] == ["a.wav: a\n", "b.wav: b\n", "c.wav: c\n"]
    assert [o.printed for o in run("?.wav", formats=["trn"])] == ["a (a)\n", "b (b)\n", "c (c)\n"]
    assert not Path(RECORD).exists()


def test_one_text_is_shown_as_it_comes(heard: list[str]) -> None:
    shown: list[str] = []

    def outcomes(*audios: str, **wanted: Any) -> list[str]:
        made = transcribe(
            [*map(Path, audios)], Wanted(**wanted), feedback=Feedback(show=shown.append)
        )
        return [outcome.printed for outcome in made]

    assert (outcomes("a.wav"), shown) == ([""], ["a\n"])
    assert outcomes("a.wav", "b.wav") == ["a.wav: a\n", "b.wav: b\n"]
    assert outcomes("a.wav", formats=["tsv"]) == ["start\tend\ttext\n0\t2000\ta\n"]
    assert shown == ["a\n"]


def test_what_is_bound_to_fail_loads_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("asr_llm.jobs.transcribe.load", load)
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(1600, np.float32), 16_000)
    (outcome,) = run("a.wav", channels="5")
    no_such = "a.wav: has 1 channel; there is no channel 5 to take: expected 1, or mix"
    assert outcome.error == no_such
    with pytest.raises(RunError, match=r"rttm needs speakers, .*: add --channels separate"):
        run("a.wav", formats=["rttm"])
    alone = r"^a\.wav: no rttm: it has one channel, .*; leave it out"
    with pytest.raises(RunError, match=alone):
        run("a.wav", formats=["srt", "rttm"], channels="separate", folder=Path("out"))
    assert not Path("out").exists()


def test_written_and_not_again(heard: list[str]) -> None:
    first, *_ = run("a.wav", "b.wav", formats=["txt,ctm"], folder=Path("out"))
    assert first == Outcome(Path("a.wav"), 2.0, "out/a.txt\nout/a.ctm\n")
    assert Path("out/a.ctm").read_text() == "a 1 0.000 1.000 a 0.500\n"
    again = run(".", formats=["txt", "ctm"], folder=Path("out"))
    assert [(o.name.name, o.done_before) for o in again] == [
        ("a.wav", True),
        ("b.wav", True),
        ("c.wav", False),
    ]
    assert heard == ["a.wav", "b.wav", "c.wav"]


def test_ctm_needs_the_times_of_words(heard: list[str]) -> None:
    wanted = Wanted(formats=["txt,ctm"], folder=Path("out"))
    with pytest.raises(RunError, match="add --word-timestamps"):
        list(transcribe([Path("a.wav")], wanted))
    assert heard == []


def test_an_existing_file_is_reported_before_decoding(heard: list[str]) -> None:
    Path("out").mkdir()
    Path("out/c.txt").write_text("mine")
    with pytest.raises(RunError, match=r"out/c\.txt is there .* --overwrite"):
        run("a.wav", "c.wav", folder=Path("out"))
    assert heard == [] and not Path("out/a.txt").exists()
    run("a.wav", "c.wav", folder=Path("out"), overwrite=True)
    assert Path("out/c.txt").read_text() == "c\n"


def test_other_settings_are_in_the_way(heard: list[str]) -> None:
    run("a.wav", folder=Path("out"))
    with pytest.raises(RunError, match="num_beams: 4, now 1"):
        run("a.wav", folder=Path("out"), num_beams=1)
    from asr_llm.transcription.subtitles import Layout

    with pytest.raises(RunError, match="max_line_width: 42, now 30"):
        run("a.wav", folder=Path("out"), layout=Layout(30))


def test_all_leaves_out_what_has_no_word_times(heard: list[str]) -> None:
    (outcome,) = run("a.wav", formats=["txt,all"], folder=Path("out"), num_beams=1)
    assert outcome.error is None
    assert outcome.left_out and outcome.left_out.startswith("a.wav: no ctm: ")
    assert {p.suffix for p in Path("out").glob("a.*")} == {
        ".txt", ".srt", ".vtt", ".tsv", ".json", ".trn"
    }  # fmt: skip
    (again,) = run("a.wav", formats=["txt, ALL"], folder=Path("out"), num_beams=1)
    assert again.done_before


def test_asked_for_by_name_it_is_an_error_and_the_rest_is_written(heard: list[str]) -> None:
    for _ in range(2):  # it is no success, so it is tried again
        (outcome,) = run("a.wav", formats=["ctm,txt"], folder=Path("out"), num_beams=1)
        assert outcome.error and outcome.error.endswith("get them with --word-timestamps")
        assert (outcome.printed, outcome.left_out) == ("out/a.txt\n", None)


def test_a_bad_file_among_good_ones(heard: list[str]) -> None:
    Path("b.wav").write_text("bad")
    outcomes = run("a.wav", "b.wav", "c.wav", folder=Path("out"))
    assert [o.error for o in outcomes] == [None, "b.wav: corrupt", None]
    assert not outcomes[1].done_before
    assert not Path("out/b.txt").exists()


def test_stdin_is_called_so(heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for said, error in (("bad", "stdin: corrupt"), ("hello", None)):
        Path("in").write_text(said)
        with Path("in").open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            (outcome,) = run("-", formats=["json"], folder=Path("out"))
        assert (outcome.name, outcome.error) == (Path("stdin"), error)
    found = json.loads(Path("out/stdin.json").read_text())
    assert (found["id"], found["path"], found["text"]) == ("stdin", "stdin", "hello")


def test_unprintable_output_is_reported_before_decoding(heard: list[str]) -> None:
    for wanted in ({"formats": ["srt"]}, {"formats": ["txt,json"]}):
        with pytest.raises(RunError, match="-o DIR"):
            run("a.wav", "b.wav", **wanted)
    assert heard == []


def test_the_last_lines() -> None:
    outcomes = [
        Outcome(Path("a.wav"), done_before=True),
        Outcome(Path("b.wav"), 3600.0, "x", left_out="b.wav: no ctm"),
        Outcome(Path("c.wav"), 65.5, "x", left_out="c.wav: no ctm"),
        Outcome(Path("d.wav"), error="d.wav: corrupt"),
    ]
    assert summary(outcomes, 10.0, Path("out")) == [
        "left out: b.wav: no ctm; so for 1 more",
        "1 file done already, in out",
        "2 files, 1:01:06 of audio in 10.0 s, RTFx 366.6",
    ]
    assert summary(outcomes[3:], 1.0, None) == []
    # Of what was decoded before it is not known how long it took.
    outcomes[1] = replace(outcomes[1], resumed=True)
    assert summary(outcomes, 10.0, Path("out"))[-1] == (
        "2 files, 1:01:06 of audio; what was left of it took 10.0 s"
    )


# The real command line, on a tiny model ------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "asr_llm.cli", "transcribe", *map(str, arguments)]


def call(*arguments: object, cwd: Path, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        command(*arguments), input=stdin, capture_output=True, cwd=cwd, timeout=600
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Talks of over four minutes of sound, so that each is decoded by itself."""
    place = tmp_path_factory.mktemp("talks")
    for i in range(5):
        samples = np.random.default_rng(i).normal(0, 0.1, (50, 6 * 16000))
        samples[:, 5 * 16000 :] = 0
        soundfile.write(place / f"talk{i}.flac", samples.reshape(-1), 16000)
    return place


def test_killed_and_run_again(talks: Path, tiny: Path, tmp_path: Path) -> None:
    """Nothing is lost, nothing is done twice, and the files are those of a run in peace."""
    options = (
        talks,
        "--model",
        tiny,
        "--beam-size",
        "1",
        "--vad",
        "energy",
        "-f",
        "txt,json",
        "-o",
    )
    status, _, errors = call(*options, "peace", cwd=tmp_path)
    assert status == 0, errors
    peace = {path.name: path.read_bytes() for path in (tmp_path / "peace").glob("talk*")}
    assert len(peace) == 10

    war = tmp_path / "war"
    war.mkdir()
    process = subprocess.Popen(
        command(*options, "war"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len([*war.glob("talk*.json")]) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = {path.name: path.stat().st_mtime_ns for path in war.glob("talk*")}
    done = {Path(name).stem for name in left if Path(name).with_suffix(".json").name in left}
    assert 2 <= len(done) < 5, left

    status, printed, errors = call(*options, "war", cwd=tmp_path)
    assert status == 0, errors
    assert f"{len(done)} files done already, in war\n" in errors
    assert {path.name: path.read_bytes() for path in war.glob("talk*")} == peace
    again = {Path(line).stem for line in printed.splitlines()}
    assert again == {f"talk{i}" for i in range(5)} - done
    for name, written in left.items():
        if Path(name).stem in done:
            assert (war / name).stat().st_mtime_ns == written
    assert not list(war.glob(".*.part"))

    status, printed, errors = call(*options, "war", cwd=tmp_path)
    assert (status, printed, errors) == (0, "", "5 files done already, in war\n")


def test_audio_that_breaks_off_is_not_lost(tmp_path: Path) -> None:
    spoken = synthesize("Please call the office in the morning.", select_voices(["*"])[0])
    soundfile.write(tmp_path / "a.wav", spoken.samples, 16000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) * 2 // 3])
    status, printed, errors = call("a.wav", cwd=tmp_path)
    assert status == 3, errors  # 2 is for nothing at all
    assert printed.startswith("Please call")
    assert "error: a.wav: truncated" in errors


def test_problems_are_reported_until_repaired(lively: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * 16000)
    soundfile.write(tmp_path / "b.wav", noise, 16000)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) * 2 // 3])
    options = ("a.wav", "b.wav", "--model", lively, "--vad", "energy", "-o", "out")
    for _ in range(2):
        status, _, errors = call(*options, cwd=tmp_path)
        assert status == 3, errors
        assert "breaks off after 2.0 s" in errors
    assert "2 files done already, in out\n" in errors
    (tmp_path / "a.wav").write_bytes(whole)
    status, printed, errors = call(*options, cwd=tmp_path)
    assert (status, printed) == (0, "out/a.txt\n"), errors
    assert call(*options, cwd=tmp_path) == (0, "", "2 files done already, in out\n")


def test_a_folder_of_all_sorts(tiny: Path, tmp_path: Path) -> None:
    """What is strange is named and makes the status 3; what is known to be no audio does not."""
    place = tmp_path / "in"
    place.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (16000, 2))
    soundfile.write(place / "a.wav", noise, 16000)
    (place / "notes.txt").write_text("a.wav")
    options = ("in", "--model", tiny, "--vad", "energy", "--beam-size", "1")
    status, _, errors = call(*options, cwd=tmp_path)
    assert status == 0 and "skipped: not audio: in/notes.txt\n" in errors
    (place / "b.zip").write_bytes(b"PK and so on")
    status, _, errors = call(*options, cwd=tmp_path)
    assert status == 3 and "error: in/b.zip: cannot be decoded as audio" in errors
    assert "channel 1 and channel 2 contain different" not in errors  # noise is no voice
    status, _, errors = call(*options, "--channels", "3", cwd=tmp_path)
    assert status == 2 and "a.wav: has 2 channels; there is no channel 3 to take" in errors
    status, _, errors = call(*options, "--channels", "left", cwd=tmp_path)
    assert status == 2 and errors.startswith("error: --channels left: expected mix")


def test_two_speakers_on_two_channels(tmp_path: Path) -> None:
    """Each is clear by itself; mixed, that is said."""
    voices = select_voices(["en-us", "en-gb-scotland"])
    said = ("Please call the office in the morning.", "The weather is very cold today.")
    spoken = [synthesize(text, voice).samples for text, voice in zip(said, voices)]
    length = max(map(len, spoken))
    both = np.stack([np.pad(one, (0, length - len(one))) for one in spoken], axis=1)
    soundfile.write(tmp_path / "call.wav", both, 16000)
    options = ("--channels", "separate", "--word-timestamps", "-f", "vtt,ctm,rttm,json", "-o", "o")
    status, _, errors = call("call.wav", *options, cwd=tmp_path)
    assert status == 0, errors
    vtt = (tmp_path / "o" / "call.vtt").read_text()
    assert "<v channel1>Please call" in vtt and "<v channel2>The" in vtt
    assert {line.split()[1] for line in (tmp_path / "o/call.ctm").read_text().splitlines()} == {
        "1", "2"
    }  # fmt: skip
    assert call("call.wav", *options, cwd=tmp_path)[::2] == (0, "1 file done already, in o\n")
    status, _, errors = call("call.wav", cwd=tmp_path)
    assert status == 0 and "contain different voices, which were mixed" in errors


def test_from_a_pipe(tiny: Path, tmp_path: Path) -> None:
    """A format that only its bytes tell; then something that is no audio."""
    soundfile.write(
        tmp_path / "a.ogg", np.random.default_rng(0).normal(0, 0.1, 16000), 16000, format="OGG"
    )
    audio = (tmp_path / "a.ogg").read_bytes()
    options = ("-", "--model", tiny, "--vad", "energy", "-f", "json")
    status, printed, errors = call(*options, cwd=tmp_path, stdin=audio)
    assert status == 0, errors
    piped, named = json.loads(printed), json.loads(call("a.ogg", *options[1:], cwd=tmp_path)[1])
    assert (piped.pop("id"), piped.pop("path")) == ("stdin", "stdin")
    assert (named.pop("id"), named.pop("path")) == ("a", "a.ogg")
    assert piped == named
    assert len(piped["model"]["sha256"]) == 64
    assert re.search(r"^1 file, 0:00:01 of audio in \d+\.\d s, RTFx \d+\.\d\n\Z", errors, re.M)

    for nonsense, why in ((b"not a sound", "cannot be decoded as audio"), (b"", "is empty")):
        status, printed, errors = call(*options, cwd=tmp_path, stdin=nonsense)
        assert (status, printed) == (2, "")
        assert errors.startswith(f"error: stdin: {why}")
    assert not [path for path in tmp_path.iterdir() if path.name != "a.ogg"]


def test_resuming_is_reported(talks: Path, tiny: Path, tmp_path: Path) -> None:
    options = TranscribeOptions(num_beams=1, vad="energy")
    recogniser = Recogniser(str(tiny))
    journal = Journals(tmp_path, text_settings(recogniser, options))(talks / "talk0.flac")
    journal.add(Chunk(0, np.zeros(16000, np.float32)), DecodedChunk("known before"))
    told: list[str] = []
    asked = [talks / "talk0.flac"], Wanted(folder=tmp_path), options, recogniser
    found = transcribe(*asked, Feedback(tell=told.append))
    assert [outcome.error for outcome in found] == [None]
    assert told == [f"resuming {talks / 'talk0.flac'}"]
    told.clear()
    journal.add(Chunk(0, np.zeros(16000, np.float32)), DecodedChunk("known before"))
    list(transcribe(*asked, Feedback(tell=told.append)))
    assert told == []
    assert not journal.path.exists()  # killed once its text was written, before this was removed
