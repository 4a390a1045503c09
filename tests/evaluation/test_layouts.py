"""References in the layouts that this project tests with: lists, subtitles, pipes."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from asr_llm.errors import ScoreError
from asr_llm.evaluation.readers import Row, read_hypotheses, read_references, unread

CUT = {
    "id": "c1",
    "type": "MonoCut",
    "start": 0,
    "duration": 2.0,
    "channel": 0,
    "recording": {"id": "r1", "sources": []},
    "supervisions": [{"id": "s1", "recording_id": "r1", "text": "Hello.", "speaker": "Eve"}],
}


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def texts(path: Path) -> dict[str, str]:
    return {row.id: row.text for row in read_references(path).values()}


def test_trans_txt(tmp_path: Path) -> None:
    path = tmp_path / "trans.txt"
    path.write_bytes(b'# shop\na/1.wav\t"Quoted, once"\rb/1.wav\t#2 is it\rtalk.flac\t\r')
    assert texts(path) == {"a/1": "Quoted, once", "b/1": "#2 is it", "talk": ""}
    assert texts(tmp_path) == texts(path)
    assert read_hypotheses(path) == texts(path)
    path.write_text("a.wav no tab\n")
    with pytest.raises(ScoreError, match=r"trans\.txt:1: found no TAB after a name"):
        read_references(path)


def test_audio_folder(tmp_path: Path) -> None:
    rows = [{"file_name": "x/1.wav", "transcription": "one"}, {"file_name": "2.wav"}]
    (tmp_path / "metadata.jsonl").write_bytes(lines(rows[0], rows[1] | {"transcription": "two"}))
    assert texts(tmp_path) == {"1": "one", "2": "two"}
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text('file_name,transcription\nx/1.wav,one\n2.wav,"t, wo"\n')
    assert texts(tmp_path) == {"1": "one", "2": "t, wo"}


def test_lhotse_cuts(tmp_path: Path) -> None:
    two = [
        {"id": "s2", "recording_id": "r2", "text": "A"},
        {"id": "s3", "recording_id": "r2", "text": None},
    ]
    content = lines(CUT, {**CUT, "id": "c2", "supervisions": two}, {**CUT, "id": "c3"})
    (tmp_path / "cuts.jsonl.gz").write_bytes(gzip.compress(content))
    found = read_references(tmp_path)
    assert found["c1"] == Row("c1", "Hello.", "Eve", "r1")
    assert {i: row.text for i, row in found.items()} == {
        "c1": "Hello.",
        "s2": "A",
        "s3": "",
        "c3": "Hello.",
    }
    (tmp_path / "bad.jsonl").write_bytes(lines({**CUT, "supervisions": [3]}))
    with pytest.raises(ScoreError, match=r"bad\.jsonl:1: found a cut of another form"):
        read_references(tmp_path / "bad.jsonl")


def test_equal_stems_are_told_apart_by_folders(tmp_path: Path) -> None:
    rows = [
        {"audio_filepath": "ann/1.wav", "text": "a", "pred_text": "b"},
        {"audio_filepath": "bob/1.wav", "text": "c", "pred_text": "d"},
        {"audio_filepath": "bob/1.wav", "offset": 2.5, "text": "e", "pred_text": "f"},
    ]
    (tmp_path / "m.json").write_bytes(lines(*rows))
    assert texts(tmp_path / "m.json") == {"ann/1": "a", "bob/1-0": "c", "bob/1-2500": "e"}
    assert list(read_hypotheses(tmp_path / "m.json")) == ["ann/1", "bob/1-0", "bob/1-2500"]
    (tmp_path / "m.csv").write_text("file_name,text\nann/1.wav,a\nbob/1.wav,c\n")
    assert texts(tmp_path / "m.csv") == {"ann/1": "a", "bob/1": "c"}
    twins = [{"audio_filepath": f"1.{kind}", "text": "a"} for kind in ("wav", "flac")]
    (tmp_path / "m.json").write_bytes(lines(*twins))
    with pytest.raises(ScoreError, match="give each utterance an 'id' of its own"):
        read_references(tmp_path / "m.json")


SRT = "1\n00:00:00,500 --> 00:00:01,000\n<i>Two</i> spokes\nare &amp; bent\n\n2\n" + (
    "00:00:02,000 --> 00:00:03,000 X1:0\n{\\an8}Really.\n"
)
VTT = "WEBVTT - shop\n\nNOTE not said\n\nSTYLE\n::cue {}\n\nintro\n00:00.500 --> 00:01.000\n" + (
    "<v Ann>Two</v> spokes\nare &amp; bent\n\n00:02.000 --> 00:03.000 line:0\n<00:02.5>Really.\n"
)


def test_subtitles(tmp_path: Path) -> None:
    said = "Two spokes are & bent Really."
    (tmp_path / "a.srt").write_bytes(SRT.replace("\n", "\r\n").encode("utf-16"))
    (tmp_path / "b.vtt").write_text(VTT)
    (tmp_path / "c.vtt").write_text("WEBVTT\n")
    assert texts(tmp_path) == {"a": said, "b": said, "c": ""}
    assert texts(tmp_path / "a.srt") == {"a": said}
    (tmp_path / "c.vtt").write_text("Two spokes")
    with pytest.raises(ScoreError, match=r"c\.vtt: found no cue; expected times such as"):
        read_references(tmp_path)


def test_a_folder_in_every_format_is_read_once_and_the_rest_is_named(tmp_path: Path) -> None:
    for suffix in ("txt", "srt", "json", "wav"):
        (tmp_path / f"a.{suffix}").write_text("Two spokes.")
    (tmp_path / "b.vtt").write_text(VTT)
    (tmp_path / "c.docx").write_text("Lost?")
    (tmp_path / ".asr-llm.jsonl").write_text("")
    assert texts(tmp_path) == {"a": "Two spokes.", "b": "Two spokes are & bent Really."}
    assert unread(tmp_path) == f"{tmp_path}: not read: 1 file (c.docx)"
    (tmp_path / "deep").mkdir()
    below = "; not looked into: 1 folder (deep)"
    assert unread(tmp_path) == f"{tmp_path}: not read: 1 file (c.docx){below}"
    assert unread(tmp_path / "b.vtt") is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lines({"id": "u", "text": "a b"}), {"u": "a b"}),
        (b"u\ta b\nv\tc\n", {"u": "a b", "v": "c"}),
        (b"a b (u-1)\nc (u-2)\n", {"u-1": "a b", "u-2": "c"}),
        (b"u a b\nv\n", {"u": "a b", "v": ""}),
    ],
)
def test_pipes(tmp_path: Path, content: bytes, expected: dict[str, str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert texts(pipe) == expected
    writer.join()


def test_spreadsheets(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_bytes(b'u1\t"Presta, valve"\r\nu2\tthe 5" rotor\r\n')
    assert texts(tmp_path / "r.tsv") == {"u1": "Presta, valve", "u2": 'the 5" rotor'}
    (tmp_path / "r.csv").write_bytes('id;text\ru1;"a;b"\ru2;1,5 bar\r'.encode("utf-16"))
    assert texts(tmp_path / "r.csv") == {"u1": "a;b", "u2": "1,5 bar"}


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"id": "a", "text": "\\ud800"}\n')
    with pytest.raises(ScoreError, match=r"r\.jsonl:1: found half a character"):
        read_references(tmp_path / "r.jsonl")


def test_stdin_may_be_a_file(tmp_path: Path) -> None:
    """``score --reference /dev/stdin < ref.tsv`` is no pipe to the system."""
    (tmp_path / "r").write_bytes(b"u\ta b\n")
    with (tmp_path / "r").open() as file:
        assert texts(Path(f"/dev/fd/{file.fileno()}")) == {"u": "a b"}
