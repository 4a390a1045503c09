"""What counts as audio to transcribe: files, folders, patterns, stdin."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr_llm.errors import AudioError
from asr_llm.transcription.inputs import STDIN, expand, name_of, spooled


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with talks; the working directory."""
    names = ["b.wav", "a.MP3", "notes.txt", "._a.wav", "sub/c.flac", "sub/.trash/d.wav", "none/x"]
    for name in [*names, "part[1].wav", "part1.wav"]:
        (tmp_path / "talks" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "talks" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return Path("talks")


def test_files_are_taken_as_they_are_given(place: Path) -> None:
    given = [place / "notes.txt", place / "missing.wav", STDIN, place / "b.wav"]
    assert expand(given) == given


def test_a_folder(place: Path) -> None:
    own = [place / name for name in ("a.MP3", "b.wav", "part1.wav", "part[1].wav")]
    assert expand([place]) == own
    assert expand([place], recursive=True) == [*own, place / "sub" / "c.flac"]


def test_a_pattern(place: Path) -> None:
    assert expand(["talks/?.*"]) == [place / "a.MP3", place / "b.wav"]
    assert expand(["talks/**/*.flac", "talks/*.MP3"]) == [place / "sub" / "c.flac", place / "a.MP3"]


def test_a_file_whose_name_looks_like_a_pattern(place: Path) -> None:
    assert expand(["talks/part[1].wav"]) == [place / "part[1].wav"]
    (place / "part[1].wav").unlink()
    assert expand(["talks/part[1].wav"]) == [place / "part1.wav"]


def test_nothing_there_is_named(place: Path) -> None:
    with pytest.raises(AudioError, match=r"^talks/\*\.ogg: no file is like this pattern"):
        expand([place, "talks/*.ogg"])
    with pytest.raises(AudioError, match=r"this pattern, and nothing is at gone\.wav; check"):
        expand([place, "talks/*.ogg", "gone.wav", STDIN])
    with pytest.raises(AudioError, match=r"^talks/none: no audio in this folder.* --recursive"):
        expand(["talks/none"])
    with pytest.raises(AudioError, match=r"^talks/none: no audio") as error:
        expand(["talks/none"], recursive=True)
    assert "--recursive" not in str(error.value)


def test_stdin_is_a_file_for_as_long_as_it_is_needed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF and so on")))
    with spooled([place / "b.wav", STDIN]) as (first, second):
        assert first == name_of(first) == place / "b.wav"
        assert second.read_bytes() == b"RIFF and so on"
        assert name_of(second) == Path("stdin")
    assert not second.parent.exists()


def test_stdin_twice(place: Path) -> None:
    with pytest.raises(AudioError, match="given twice"), spooled([STDIN, STDIN]):
        pass


def test_without_stdin_nothing_is_copied(place: Path) -> None:
    with spooled([place / "b.wav"]) as files:
        assert files == [place / "b.wav"]


def test_each_file_once(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("")
    found = expand([tmp_path / "b.wav", tmp_path, str(tmp_path / "*.wav")])
    assert found == [tmp_path / "b.wav", tmp_path / "a.wav"]
