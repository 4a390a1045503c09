"""Transcripts as text of every format; parsers of others read what we write."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from lhotse import SupervisionSegment, SupervisionSet

from asr_llm import __version__
from asr_llm.decoding.results import Guard
from asr_llm.errors import RunError
from asr_llm.evaluation.readers import read_hypotheses
from asr_llm.transcription.formats import (
    FORMATS,
    check_printable,
    parse,
    printed,
    render,
    render_each,
)
from asr_llm.transcription.subtitles import Layout
from asr_llm.transcription.transcript import Segment, Transcript, Word

TALK = Transcript(
    path=Path("in/talk.v1.mp3"),
    duration=31.25,
    segments=(
        Segment(
            0.0,
            1.5,
            "She said: “naïve”.",
            (
                Word("She", 0.1, 0.3, 0.9),
                Word("said:", 0.3, 0.7, 0.8),
                Word("“naïve”.", 0.7, 1.4, 1.0),
            ),
            confidence=0.85,
            guards=(Guard("repetition", "decoded again"),),
        ),
        Segment(
            18.5,
            31.25,
            "And left.",
            (Word("And", 18.5, 19.0, 0.5), Word("left.", 19.0, 19.4, 0.25)),
        ),
    ),
    model="mini",
    adapter="runs/medical/adapter",
    model_sha256="ab12",
    adapter_sha256="cd34",
)
SILENT = Transcript(Path("quiet.wav"), 2.0, (), "mini", note="silent throughout")
ODD = replace(
    TALK,
    path=Path("my talk (1).wav"),
    segments=(
        Segment(
            1.0,
            3.0,
            "a\tb\n<i> --> R&D (uh) ;; {x",
            tuple(
                Word(text, 1.0 + i / 4, 1.25 + i / 4)
                for i, text in enumerate(["a", "b", "<i>", "-->", "R&D", "(uh)", ";;", "{x"])
            ),
        ),
    ),
)


def test_txt_is_a_line_for_each_segment() -> None:
    assert render(TALK, "txt") == "She said: “naïve”.\nAnd left.\n"
    assert render(SILENT, "txt") == ""


def test_tsv() -> None:
    assert render(TALK, "tsv") == (
        "start\tend\ttext\n0\t1500\tShe said: “naïve”.\n18500\t31250\tAnd left.\n"
    )
    assert render(ODD, "tsv").splitlines()[1:] == ["1000\t3000\ta b <i> --> R&D (uh) ;; {x"]
    assert render(SILENT, "tsv") == "start\tend\ttext\n"
    both = replace(TALK, segments=(replace(TALK.segments[0], speaker="left"), TALK.segments[1]))
    assert [row.split("\t")[3] for row in render(both, "tsv").splitlines()] == [
        "speaker",
        "left",
        "",
    ]


def test_json() -> None:
    assert json.loads(render(TALK, "json")) == {
        "id": "talk.v1",
        "path": "in/talk.v1.mp3",
        "text": "She said: “naïve”. And left.",
        "segments": [
            {
                "id": 0,
                "start": 0.0,
                "end": 1.5,
                "text": "She said: “naïve”.",
                "words": [
                    {"word": "She", "start": 0.1, "end": 0.3, "probability": 0.9},
                    {"word": "said:", "start": 0.3, "end": 0.7, "probability": 0.8},
                    {"word": "“naïve”.", "start": 0.7, "end": 1.4, "probability": 1},
                ],
                "confidence": 0.85,
                "guards": [{"found": "repetition", "done": "decoded again"}],
                "speaker": None,
            },
            {
                "id": 1,
                "start": 18.5,
                "end": 31.25,
                "text": "And left.",
                "words": [
                    {"word": "And", "start": 18.5, "end": 19.0, "probability": 0.5},
                    {"word": "left.", "start": 19.0, "end": 19.4, "probability": 0.25},
                ],
                "confidence": None,
                "guards": [],
                "speaker": None,
            },
        ],
        "language": "en",
        "duration": 31.25,
        "model": {"name": "mini", "sha256": "ab12", "asr_llm": __version__},
        "adapter": {"name": "runs/medical/adapter", "sha256": "cd34"},
        "note": None,
    }
    assert "naïve" in render(TALK, "json")
    silent = json.loads(render(SILENT, "json"))
    assert (silent["text"], silent["segments"], silent["note"]) == ("", [], "silent throughout")
    assert silent["adapter"] is None and silent["model"]["sha256"] is None


def test_json_of_several_is_json_lines(tmp_path: Path) -> None:
    """One form for a file and for stdout, which our own scorer reads."""
    both = [printed(one, "json", Layout(), several=True) for one in (TALK, SILENT)]
    assert both == [render(TALK, "json"), render(SILENT, "json")]
    assert [text.count("\n") for text in both] == [1, 1]
    (tmp_path / "all.jsonl").write_text("".join(both), "utf-8")
    assert read_hypotheses(tmp_path / "all.jsonl") == {
        "talk.v1": "She said: “naïve”. And left.",
        "quiet": "",
    }


def test_a_name_of_odd_bytes() -> None:
    odd = replace(SILENT, path=Path("caf\udce9.wav"))
    assert json.loads(render(odd, "json"))["path"] == "caf\\udce9.wav"
    assert render(odd, "trn") == "(caf\\udce9)\n"


def test_several_texts_are_told_apart() -> None:
    assert printed(TALK, "txt", Layout(), several=True) == (
        "in/talk.v1.mp3: She said: “naïve”. And left.\n"
    )
    assert printed(TALK, "txt", Layout(), several=False) == render(TALK, "txt")


# Subtitles -----------------------------------------------------------------------------


def test_srt() -> None:
    assert render(TALK, "srt") == (
        "1\n00:00:00,100 --> 00:00:01,400\nShe said: “naïve”.\n\n"
        "2\n00:00:18,500 --> 00:00:19,500\nAnd left.\n"
    )
    assert render(SILENT, "srt") == ""


def test_vtt() -> None:
    assert render(TALK, "vtt") == (
        "WEBVTT\n\n"
        "00:00:00.100 --> 00:00:01.400\nShe said: “naïve”.\n\n"
        "00:00:18.500 --> 00:00:19.500\nAnd left.\n"
    )
    assert render(SILENT, "vtt") == "WEBVTT\n"


def test_layout_is_of_subtitles() -> None:
    narrow = Layout(max_line_width=5, max_line_count=1)
    for fmt in ("srt", "vtt"):
        blocks = render(TALK, fmt, narrow).strip().split("\n\n")
        lines = [block.split("\n")[-1] for block in blocks if "-->" in block]
        assert lines == ["She", "said:", "“naïv", "e”.", "And", "left."]


def test_hours_and_rounding() -> None:
    late = replace(SILENT, duration=40000.0, segments=(Segment(36061.0014, 36063.9996, "Late."),))
    assert "10:01:01,001 --> 10:01:04,000" in render(late, "srt")


def test_other_parsers_read_odd_text() -> None:
    """Both readers of WebVTT: one undoes the escapes, one shows what is written."""
    srt = pysubs2.SSAFile.from_string(render(ODD, "srt"), format_="srt")
    assert [(e.start, e.end) for e in srt] == [(1000, 3000)]
    assert " ".join(render(ODD, "srt").split("\n")[2:]).split() == (
        ["a", "b", "<i>", "->", "R&D", "(uh)", ";;", "{x"]
    )
    written = render(ODD, "vtt")
    assert written.count("-->") == 1
    (caption,) = webvtt.from_string(written).captions
    assert caption.raw_text == "a b &lt;i&gt; --&gt; R&amp;D (uh) ;; {x"


WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="{}\\<>&"), min_size=1
)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=8), max_size=4))
def test_parsers_of_others_find_every_word(said: list[list[str]]) -> None:
    segments = tuple(Segment(4.0 * i, 4.0 * i + 3, " ".join(s)) for i, s in enumerate(said))
    talk = Transcript(Path("a.wav"), 4.0 * len(said) + 1, segments, "mini")
    wanted = "".join("".join(words) for words in said).replace("-->", "->")
    layout = Layout(200, 2)
    srt = pysubs2.SSAFile.from_string(render(talk, "srt", layout), format_="srt")
    vtt = webvtt.from_string(render(talk, "vtt", layout))
    vtt2 = pysubs2.SSAFile.from_string(render(talk, "vtt", layout), format_="vtt")
    assert "".join("".join(e.plaintext.split()) for e in srt) == "".join(wanted.split())
    assert len(srt) == len(vtt.captions) == len(vtt2)
    for subtitle, caption, event in zip(srt, vtt.captions, vtt2):
        assert (subtitle.start, subtitle.end) == (event.start, event.end)
        assert round(1000 * caption.start_in_seconds) // 1000 == subtitle.start // 1000
    for one, other in pairwise(srt):
        assert one.start < one.end <= other.start


def test_webvtt_of_others_is_whole() -> None:
    (first, second) = webvtt.from_buffer(StringIO(render(TALK, "vtt"))).captions
    assert (first.start, first.end, first.text) == (
        "00:00:00.100", "00:00:01.400", "She said: “naïve”."
    )  # fmt: skip
    assert second.text == "And left."


# NIST ----------------------------------------------------------------------------------


def test_ctm() -> None:
    assert render(TALK, "ctm") == (
        "talk.v1 1 0.100 0.200 She 0.900\n"
        "talk.v1 1 0.300 0.400 said: 0.800\n"
        "talk.v1 1 0.700 0.700 “naïve”. 1.000\n"
        "talk.v1 1 18.500 0.500 And 0.500\n"
        "talk.v1 1 19.000 0.400 left. 0.250\n"
    )
    assert render(SILENT, "ctm") == ""


def test_ctm_and_trn_leave_out_what_nist_reads_as_its_own() -> None:
    assert [line.split() for line in render(ODD, "ctm").splitlines()] == [
        ["my_talk_1_", "1", "1.000", "0.250", "a"],
        ["my_talk_1_", "1", "1.250", "0.250", "b"],
        ["my_talk_1_", "1", "1.500", "0.250", "i"],
        ["my_talk_1_", "1", "1.750", "0.250", "--"],
        ["my_talk_1_", "1", "2.000", "0.250", "R&D"],
        ["my_talk_1_", "1", "2.250", "0.250", "uh"],
        ["my_talk_1_", "1", "2.500", "0.250", ";"],
        ["my_talk_1_", "1", "2.750", "0.250", "x"],
    ]
    assert render(ODD, "trn") == "a b i -- R&D uh ; x (my_talk_1_)\n"


def test_trn() -> None:
    assert render(TALK, "trn") == "She said: “naïve”. And left. (talk.v1)\n"
    assert render(SILENT, "trn") == "(quiet)\n"


@pytest.mark.parametrize("fmt", ["ctm", "trn"])
def test_our_scorer_reads_them(fmt: str, tmp_path: Path) -> None:
    (tmp_path / f"all.{fmt}").write_text(render(TALK, fmt) + render(ODD, fmt), "utf-8")
    assert read_hypotheses(tmp_path / f"all.{fmt}") == {
        "talk.v1": "She said: “naïve”. And left.",
        "my_talk_1_": "a b i -- R&D uh ; x",
    }


def test_lhotse_reads_ctm(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text(render(TALK, "ctm"), "utf-8")
    spoken = SupervisionSegment("u", "talk.v1", 0.0, 31.25, channel=1)
    with_words = SupervisionSet.from_segments([spoken]).with_alignment_from_ctm(tmp_path / "a.ctm")
    words = with_words["u"].alignment["word"]
    assert [(w.symbol, w.start, w.duration, w.score) for w in words] == [
        ("She", 0.1, 0.2, 0.9),
        ("said:", 0.3, 0.4, 0.8),
        ("“naïve”.", 0.7, 0.7, 1.0),
        ("And", 18.5, 0.5, 0.5),
        ("left.", 19.0, 0.4, 0.25),
    ]


def test_ctm_without_word_times_says_how_to_get_them() -> None:
    plain = replace(TALK, segments=(TALK.segments[0], Segment(18.5, 31.25, "And left.")))
    with pytest.raises(RunError) as error:
        render(plain, "ctm")
    assert str(error.value) == (
        "in/talk.v1.mp3: no ctm: the words at 18.5 to 31.2 s have no times; "
        "get them with --word-timestamps"
    )
    texts, problem = render_each(plain, FORMATS)
    assert str(problem) == str(error.value)
    assert [fmt for fmt, text in texts.items() if text is None] == ["ctm"]
    assert render_each(TALK, ("txt", "ctm")) == (
        {"txt": render(TALK, "txt"), "ctm": render(TALK, "ctm")}, None
    )  # fmt: skip


# Names ---------------------------------------------------------------------------------


def test_formats_by_name() -> None:
    assert parse(["txt"]) == ("txt",)
    assert parse(["srt,vtt", "json", "SRT"]) == ("srt", "vtt", "json")
    assert parse(["json, all"]) == FORMATS
    for odd in ("doc", "", "txt,"):
        with pytest.raises(RunError, match="expected one of txt, srt, vtt, tsv, json, ctm, trn"):
            parse([odd])


def test_printable_formats() -> None:
    for formats, count in ((("srt",), 1), (("json",), 9), (("txt",), 9), (("ctm",), 2)):
        check_printable(formats, count)
    with pytest.raises(RunError, match=r"2 formats \(txt, srt\) .* -o DIR"):
        check_printable(("txt", "srt"), 1)
    with pytest.raises(RunError, match=r"2 transcripts as vtt .* -o DIR"):
        check_printable(("vtt",), 2)
