"""Transcripts as text and JSON, and written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from asr_llm import __version__
from asr_llm.errors import RunError
from asr_llm.transcription.formats import check_names, render, write
from asr_llm.transcription.speech_llm import Segment, Transcript

TALK = Transcript(
    path=Path("in/talk.v1.mp3"),
    duration=31.25,
    segments=(Segment(0.0, 18.5, "She said: “naïve”."), Segment(18.5, 31.25, "And left.")),
    model="mini",
    adapter="runs/medical/adapter",
)
SILENT = Transcript(Path("quiet.wav"), 2.0, (), "mini", note="silent throughout")


def test_txt_is_the_text_in_a_line() -> None:
    assert render(TALK, "txt") == "She said: “naïve”. And left.\n"
    assert render(SILENT, "txt") == "\n"


def test_json() -> None:
    assert json.loads(render(TALK, "json")) == {
        "text": "She said: “naïve”. And left.",
        "segments": [
            {"id": 0, "start": 0.0, "end": 18.5, "text": "She said: “naïve”."},
            {"id": 1, "start": 18.5, "end": 31.25, "text": "And left."},
        ],
        "language": "en",
        "duration": 31.25,
        "model": {"name": "mini", "asr_llm": __version__},
        "adapter": "runs/medical/adapter",
        "note": None,
    }
    assert "naïve" in render(TALK, "json")
    silent = json.loads(render(SILENT, "json"))
    assert (silent["text"], silent["segments"], silent["note"]) == ("", [], "silent throughout")


def test_unknown_format() -> None:
    for refuse in (lambda: render(TALK, "srt"), lambda: check_names([], "srt")):
        with pytest.raises(RunError, match="no output format 'srt'; expected one of txt, json"):
            refuse()


def test_write_makes_the_folder_and_replaces(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    path = write(TALK, "txt", folder)
    assert path == folder / "talk.v1.txt"
    path.write_text("an older transcript")
    assert write(TALK, "txt", folder).read_text("utf-8") == render(TALK, "txt")
    assert os.listdir(folder) == ["talk.v1.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(TALK, "json", tmp_path)
    before = path.read_bytes()

    def full(self: Path, content: str, encoding: str) -> None:
        self.write_bytes(content.encode()[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match=r"talk.v1.json: cannot be written \(No space left"):
        write(TALK, "json", tmp_path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["talk.v1.json"]


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        write(TALK, "txt", tmp_path / "out")


@pytest.mark.parametrize(
    "paths",
    [["a/talk.wav", "b/talk.wav"], ["talk.wav", "talk.mp3"], ["Talk.wav", "talk.wav"], ["x", "x"]],
)
def test_inputs_that_would_overwrite_each_other(paths: list[str]) -> None:
    with pytest.raises(RunError) as error:
        check_names(paths, "txt")
    assert str(error.value).startswith(f"{paths[0]} and {paths[1]} would both be written to ")
    check_names(paths[:1], "txt")


def test_different_names_pass() -> None:
    check_names(["a/talk.wav", Path("b/visit.wav"), "talk.v1.wav"], "json")
