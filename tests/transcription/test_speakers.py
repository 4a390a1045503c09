"""Calls with a speaker in each channel, in every format that can say so."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import webvtt
from lhotse import SupervisionSet

from asr_llm.corpus.recordings.audio import Source
from asr_llm.errors import AudioError, RunError
from asr_llm.transcription.formats import FORMATS, parse, render
from asr_llm.transcription.speakers import together
from asr_llm.transcription.subtitles import cues
from asr_llm.transcription.transcript import Segment, Transcript, Word

CALL = Path("call.wav")
SOURCES = [Source(CALL, 1), Source(CALL, 2)]


def part(*said: tuple[float, float, str], note: str | None = None) -> Transcript:
    """A channel; each word lasts half a second."""
    segments = [
        Segment(
            start,
            end,
            text,
            tuple(
                Word(word, start + i / 2, start + i / 2 + 0.5, 0.5)
                for i, word in enumerate(text.split())
            ),
        )
        for start, end, text in said
    ]
    return Transcript(CALL, 10.0, tuple(segments), "mini", note=note)


AGENT = part((0.0, 1.0, "Good morning."), (4.0, 5.5, "Which one, please?"))
CALLER = part((1.5, 3.5, "I want a kettle."), (5.0, 6.0, "The green."))


@pytest.fixture
def call() -> Transcript:
    made = together([AGENT, CALLER], SOURCES)
    assert isinstance(made, Transcript)
    return made


def test_in_time_order_with_speakers(call: Transcript) -> None:
    assert [(s.start, s.speaker, s.channel) for s in call.segments] == [
        (0.0, "channel1", 1),
        (1.5, "channel2", 2),
        (4.0, "channel1", 1),
        (5.0, "channel2", 2),
    ]
    assert call.text == "Good morning. I want a kettle. Which one, please? The green."
    assert (call.note, call.complete) == (None, True)


def test_formats(call: Transcript) -> None:
    assert render(call, "txt").splitlines()[:2] == [
        "channel1: Good morning.",
        "channel2: I want a kettle.",
    ]
    assert [s["speaker"] for s in json.loads(render(call, "json"))["segments"]] == [
        "channel1", "channel2", "channel1", "channel2"
    ]  # fmt: skip
    assert "\nchannel2: I want a kettle.\n" in render(call, "srt")
    vtt = webvtt.from_buffer(StringIO(render(call, "vtt")))
    assert [(cue.voice, cue.text) for cue in vtt][1] == ("channel2", "I want a kettle.")
    assert render(call, "ctm").splitlines()[4:7] == [
        "call 1 5.000 0.500 please? 0.500",
        "call 2 1.500 0.500 I 0.500",
        "call 2 2.000 0.500 want 0.500",
    ]
    assert render(call, "trn") == f"{call.text} (call)\n"


def test_rttm_as_lhotse_reads_it(call: Transcript, tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_text(render(call, "rttm"))
    read = sorted(SupervisionSet.from_rttm(tmp_path / "a.rttm"), key=lambda s: s.start)
    assert [(s.recording_id, s.channel, s.start, s.duration, s.speaker) for s in read] == [
        ("call", 1, 0.0, 1.0, "channel1"),
        ("call", 2, 1.5, 2.0, "channel2"),
        ("call", 1, 4.0, 1.5, "channel1"),
        ("call", 2, 5.0, 1.0, "channel2"),
    ]


def test_rttm_needs_speakers() -> None:
    with pytest.raises(RunError, match="no rttm: the speakers are unknown"):
        render(AGENT, "rttm")
    assert parse(["all"]) == FORMATS and "rttm" not in FORMATS
    assert parse(["rttm,all"]) == (*FORMATS, "rttm")


def test_who_speaks_at_the_same_time_is_shown_in_turns() -> None:
    long = part((0.0, 9.0, " ".join(f"word{i} and" for i in range(9))))
    made = together([long, part((3.0, 4.0, "Yes, yes."))], SOURCES)
    assert isinstance(made, Transcript)
    shown = cues(made)
    (answer,) = (cue for cue in shown if cue.speaker == "channel2")
    assert abs(answer.start - 3000) <= 100
    assert [cue.start for cue in shown] == sorted(cue.start for cue in shown)
    said = " ".join(" ".join(cue.lines) for cue in shown if cue.speaker == "channel1")
    assert said == long.text


def test_one_channel_has_no_speaker() -> None:
    made = together([CALLER], [Source(CALL, 2)])
    assert isinstance(made, Transcript)
    assert {(s.channel, s.speaker) for s in made.segments} == {(2, None)}
    assert render(made, "ctm").startswith("call 2 1.500 0.500 I ")
    assert together([AGENT], [Source(CALL)]) == AGENT


def test_notes_and_errors() -> None:
    silent, bad = part(note="nobody speaks"), AudioError("call.wav: not finite")
    for parts, note, complete in (
        ([silent, silent], "nobody speaks", True),
        ([AGENT, silent], "channel 2: nobody speaks", True),
        ([bad, CALLER], "channel 1: call.wav: not finite", False),
    ):
        made = together(parts, SOURCES)
        assert isinstance(made, Transcript)
        assert (made.note, made.complete) == (note, complete)
    assert together([bad, bad], SOURCES) is bad
