"""cpWER and tcpWER of small meetings, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asr_llm.cli import app
from asr_llm.errors import ScoreError
from asr_llm.evaluation.speakers import Segment, attribute, read_segments, rows_of

SAID = [
    Segment("visit", "ann", 0, 2, "Take warfarin now."),
    Segment("visit", "bob", 2, 4, "No, I will not."),
    Segment("visit", "ann", 60, 62, "Why not?"),
]
STM = """\
visit 1 ann 0 2 take warfarin now
visit 1 bob 2 4 no i will not
visit 1 ann 60 62 why not
"""


def test_a_system_has_names_of_its_own() -> None:
    pytest.importorskip("meeteval")
    heard = [
        Segment("visit", "1", 2, 4, "no I will not"),
        Segment("visit", "2", 0, 2, "take war faring now"),
        Segment("visit", "2", 60, 62, "why not"),
    ]
    texts, block = attribute(reference=SAID, hypothesis=heard, normalizer="basic")
    assert texts == {"visit/ann": "take war faring now why not", "visit/bob": "no I will not"}
    assert (block["cpwer"]["errors"], block["cpwer"]["words"]) == (2, 9)
    assert block["tcpwer"]["errors"] == 2
    assert rows_of(SAID)["visit/ann"].text == "Take warfarin now. Why not?"


def test_words_of_the_wrong_speaker_or_time_are_errors() -> None:
    pytest.importorskip("meeteval")
    swapped = [
        Segment("visit", "1", 0, 2, "take warfarin now no i will not"),
        Segment("visit", "1", 200, 202, "why not"),
    ]
    texts, block = attribute(reference=SAID, hypothesis=swapped, normalizer="basic")
    # Ann's five words are right, bob's four are inserted for her and missing for him.
    assert (block["cpwer"]["errors"], block["cpwer"]["missed"]) == (8, 1)
    assert texts["visit/bob"] == ""
    # "why not" is said at another time: then to take it all for bob's is cheaper, with five words
    # inserted and ann's five missing.
    assert block["tcpwer"]["errors"] == 10
    with pytest.raises(ScoreError, match="sessions differ: found other; expected visit as in"):
        attribute(reference=SAID, hypothesis=[Segment("other", "1", 0, 1, "a")], normalizer="none")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.rttm", "SPEAKER", "found RTTM, which has no words; expected SegLST"),
        ("x.json", "{", "x.json:1: found no JSON"),
        ("x.json", '[{"session_id": "a"}]', "x.json, item 1: found no segment; expected session"),
        ("x.json", "[]", "found nothing in it"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(ScoreError, match=message):
        read_segments(tmp_path / name)


def test_the_command_finds_terms_of_each_speaker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("meeteval")
    monkeypatch.chdir(tmp_path)
    Path("ref.stm").write_text(STM, "utf-8")
    Path("drug.tsv").write_text("warfarin\n", "utf-8")
    segments = [("a", 0, 2, "no i will not"), ("b", 0, 2, "take warfarin now why not")]
    rows: list[dict[str, Any]] = [
        {"session_id": "visit", "speaker": who, "start_time": s, "end_time": e, "words": words}
        for who, s, e, words in segments
    ]
    Path("hyp.json").write_text(json.dumps(rows), "utf-8")
    asked = ["score", "--reference", "ref.stm", "--hypothesis", "hyp.json", "--speakers"]
    with pytest.raises(SystemExit) as stopped:
        app([*asked, "--entities", "drug.tsv", "-o", "out"], prog_name="asr-llm")
    assert stopped.value.code == 0
    assert "cpWER (normalized)" in capsys.readouterr().out
    system = json.loads(Path("out/scores.json").read_text("utf-8"))["systems"]["hyp"]
    assert system["speakers"]["cpwer"]["errors"] == 0
    assert system["by_recording"]["visit/ann"]["found"] == 1
