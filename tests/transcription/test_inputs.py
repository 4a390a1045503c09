"""What counts as audio to transcribe: files, folders, patterns, stdin."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.recordings.audio import Source
from asr_llm.errors import AudioError, RunError
from asr_llm.transcription.inputs import (
    STDIN,
    check_channels,
    expand,
    name_of,
    sources,
    spooled,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with talks; the working directory."""
    names = [
        "b.wav",
        "a.MP3",
        "notes.txt",
        "._a.wav",
        "sub/c.flac",
        "sub/.trash/d.wav",
        "none/x.txt",
    ]
    for name in [*names, "part[1].wav", "part1.wav"]:
        (tmp_path / "talks" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "talks" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return Path("talks")


def test_files_are_taken_as_they_are_given(place: Path) -> None:
    given = [place / "notes.txt", place / "missing.wav", STDIN, place / "b.wav"]
    assert expand(given).audio == given


def test_a_folder(place: Path) -> None:
    own = [place / name for name in ("a.MP3", "b.wav", "part1.wav", "part[1].wav")]
    assert expand([place]).audio == own
    assert expand([place], recursive=True).audio == [*own, place / "sub" / "c.flac"]


def test_a_pattern(place: Path) -> None:
    assert expand(["talks/?.*"]).audio == [place / "a.MP3", place / "b.wav"]
    assert expand(["talks/**/*.flac", "talks/*.MP3"]).audio == [
        place / "sub" / "c.flac",
        place / "a.MP3",
    ]


def test_a_file_whose_name_looks_like_a_pattern(place: Path) -> None:
    assert expand(["talks/part[1].wav"]).audio == [place / "part[1].wav"]
    (place / "part[1].wav").unlink()
    assert expand(["talks/part[1].wav"]).audio == [place / "part1.wav"]


def test_nothing_there_is_named(place: Path) -> None:
    with pytest.raises(AudioError, match=r"^talks/\*\.ogg: no file matches this pattern"):
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
    assert found.audio == [tmp_path / "b.wav", tmp_path / "a.wav"]


# Nothing in a folder is passed over in silence --------------------------------------------


def test_a_name_that_tells_nothing_is_looked_into(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.rec", np.zeros(1600), 16000, format="WAV", subtype="PCM_16")
    (tmp_path / "b.dat").write_bytes(b"12345")
    (tmp_path / "c").write_text("a note")
    (tmp_path / "d.m4a").write_bytes(b"12345")  # audio by its name: read, and told, with the rest
    (tmp_path / "trans.TXT").write_text("a.rec\thello")
    (tmp_path / "gone.xyz").symlink_to("nowhere")
    (tmp_path / "lost.wav").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "sub").mkdir()
    found = expand([tmp_path])
    assert [path.name for path in found.audio] == ["a.rec", "d.m4a", "lost.wav"]
    reasons = {path.name: reason.split(": ")[1] for path, reason in found.unread.items()}
    assert {name: reason.split(";")[0].split(" (")[0] for name, reason in reasons.items()} == {
        "b.dat": "cannot be decoded as audio",
        "c": "cannot be decoded as audio",
        "gone.xyz": "no such file",
        "pipe": "is not a regular file",
    }  # fmt: skip
    assert list(found.notes()) == [
        f"skipped: not audio: {tmp_path / 'trans.TXT'}",
        f"not looked into: {tmp_path / 'sub'}; add --recursive",
    ]
    assert list(expand([tmp_path], recursive=True).notes()) == list(found.notes())[:1]


def test_a_folder_without_audio_but_with_something_strange(tmp_path: Path) -> None:
    (tmp_path / "b.dat").write_bytes(b"12345")
    found = expand([tmp_path])
    assert (found.audio, list(found.unread)) == ([], [tmp_path / "b.dat"])


def test_unread_files_are_grouped_by_reason(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / f"{name}.dat").write_bytes(b"12345")
    (tmp_path / "f.dat").write_bytes(b"")
    (first, same), (last, other) = expand([tmp_path]).errors()
    assert (first, last) == (tmp_path / "a.dat", tmp_path / "f.dat")
    assert same.startswith(
        f"{tmp_path / 'a.dat'}: cannot be decoded as audio: it looks like text; expected"
    )
    three = ", ".join(str(tmp_path / f"{name}.dat") for name in "bcd")
    assert same.endswith(f" (likewise {three} and 1 more)")
    assert other.startswith(f"{tmp_path / 'f.dat'}: is empty (0 bytes)")
    assert "likewise" not in other


def test_a_named_pipe_is_copied(tmp_path: Path) -> None:
    pipe = tmp_path / "call.fifo"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[b"RIFF and so on"])
    writer.start()
    with spooled([pipe]) as (copy,):
        assert copy.read_bytes() == b"RIFF and so on"
        assert name_of(copy) == Path("call.fifo")
    writer.join()


def test_channels_of_a_file(tmp_path: Path) -> None:
    stereo, mono = tmp_path / "stereo.wav", tmp_path / "mono.wav"
    soundfile.write(stereo, np.zeros((160, 2)), 16000)
    soundfile.write(mono, np.zeros(160), 16000)
    assert sources(stereo, "mix") == [Source(stereo)]
    assert sources(stereo, "2") == [Source(stereo, 2)]
    assert sources(stereo, "separate") == [Source(stereo, 1), Source(stereo, 2)]
    assert sources(mono, "separate") == [Source(mono)]
    assert sources(tmp_path / "gone.wav", "separate") == [Source(tmp_path / "gone.wav")]
    for good in ("mix", "separate", "1", "64"):
        check_channels(good)
    for bad in ("0", "-1", "left", "", "1.5", "9" * 5000, "²"):
        with pytest.raises(RunError, match="expected mix, separate, or the number"):
            check_channels(bad)
