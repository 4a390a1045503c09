"""A folder of transcripts: whole, made once, nobody else's file overwritten, killed or not."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asr_llm.errors import RunError
from asr_llm.transcription.outputs import RECORD, OutputFolder, check_names

SETTINGS = {"model": {"name": "mini", "sha256": "0123456789abcdef"}, "num_beams": 4}
TEXTS = {"txt": "one\n", "srt": "1\n"}


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "talk.v1.wav"
    path.write_bytes(b"RIFF")
    return path


def out(tmp_path: Path, *, overwrite: bool = False, **settings: object) -> OutputFolder:
    """The folder as a command that is started now would open it."""
    return OutputFolder(tmp_path / "new" / "out", SETTINGS | settings, overwrite=overwrite)


def save(folder: OutputFolder, audio: Path, texts: dict[str, str | None] = TEXTS) -> list[Path]:  # type: ignore[assignment]
    assert folder.unfinished([audio], list(texts)) == [audio]
    return folder.save(audio, texts)


def test_files_and_record(tmp_path: Path, audio: Path) -> None:
    paths = save(out(tmp_path), audio)
    place = tmp_path / "new" / "out"
    assert paths == [place / "talk.v1.txt", place / "talk.v1.srt"]
    assert [path.read_text() for path in paths] == ["one\n", "1\n"]
    assert sorted(os.listdir(place)) == [RECORD, "talk.v1.srt", "talk.v1.txt"]
    (line,) = (place / RECORD).read_text().splitlines()
    # The hashes are those of sha256sum for "RIFF", "one\n" and "1\n".
    assert json.loads(line) == {
        "input": "talk.v1.wav",
        "size": 4,
        "mtime_ns": audio.stat().st_mtime_ns,
        "sha256": "a40ff3d5900fb7698b8c865041347cb49eccedc8f93945f89629ad104aaecce4",
        "settings": SETTINGS,
        "outputs": {
            "talk.v1.txt": "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806",
            "talk.v1.srt": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
        },
    }


def test_finished_outputs_are_not_repeated(tmp_path: Path, audio: Path) -> None:
    save(out(tmp_path), audio)
    for overwrite in (False, True):
        assert out(tmp_path, overwrite=overwrite).unfinished([audio], ["txt", "srt"]) == []
    assert out(tmp_path).unfinished([audio], ["srt"]) == []
    # Another format is missing: the audio is needed again, and what is there is no obstacle.
    again = out(tmp_path)
    assert again.unfinished([audio], ["txt", "vtt"]) == [audio]
    again.save(audio, {"txt": "one, by other luck\n", "vtt": "WEBVTT\n"})
    assert out(tmp_path).unfinished([audio], ["txt", "vtt", "srt"]) == []


def test_the_same_audio_under_another_date(tmp_path: Path, audio: Path) -> None:
    save(out(tmp_path), audio)
    os.utime(audio, (1, 1))
    assert out(tmp_path).unfinished([audio], ["txt"]) == []


def test_a_format_that_was_left_out_is_not_tried_again(tmp_path: Path, audio: Path) -> None:
    paths = save(out(tmp_path), audio, {"txt": "one\n", "ctm": None})
    assert [path.name for path in paths] == ["talk.v1.txt"]
    assert out(tmp_path).unfinished([audio], ["txt", "ctm"]) == []
    other = out(tmp_path, words=True)
    assert other.unfinished([audio], ["ctm"]) == [audio]


def test_a_deleted_output_is_made_again(tmp_path: Path, audio: Path) -> None:
    save(out(tmp_path), audio)[0].unlink()
    save(out(tmp_path), audio)
    assert out(tmp_path).unfinished([audio], ["txt", "srt"]) == []


def test_foreign_or_different_files_are_kept(tmp_path: Path, audio: Path) -> None:
    place = tmp_path / "new" / "out"
    place.mkdir(parents=True)
    (place / "talk.v1.txt").write_text("mine")
    with pytest.raises(RunError) as error:
        out(tmp_path).unfinished([audio], ["txt", "srt"])
    assert str(error.value) == (
        f"{place}/talk.v1.txt is there and is not from this command; nothing was transcribed. "
        "Choose another folder with -o, or replace such files with --overwrite"
    )
    save(out(tmp_path, overwrite=True), audio)
    assert (place / "talk.v1.txt").read_text() == "one\n"

    (place / "talk.v1.txt").write_text("one, edited\n")
    with pytest.raises(RunError, match=r"txt was changed after it was written; .*--overwrite"):
        out(tmp_path).unfinished([audio], ["txt", "srt"])
    assert out(tmp_path).unfinished([audio], ["srt"]) == []
    save(out(tmp_path, overwrite=True), audio)

    with pytest.raises(RunError, match=r"other settings \(num_beams: 4, now 1\); 1 more in .*--ov"):
        out(tmp_path, num_beams=1).unfinished([audio], ["txt", "srt"])
    model = {"name": "large", "sha256": "fedcba9876543210"}
    with pytest.raises(RunError, match=r"\(model: mini 0123456789ab…, now large fedcba987654…\)"):
        out(tmp_path, model=model).unfinished([audio], ["txt"])
    with pytest.raises(RunError, match=r"\(bias: none, now drugs.txt\)"):
        out(tmp_path, bias="drugs.txt").unfinished([audio], ["txt"])
    listed = {"phrases": ["metoprolol"], "strength": 2.5}
    with pytest.raises(RunError, match=r"\(bias: none, now 1 phrase of strength 2.5\)"):
        out(tmp_path, bias=listed).unfinished([audio], ["txt"])
    save(out(tmp_path, bias=listed, overwrite=True), audio)
    with pytest.raises(RunError, match=r"\(bias: 1 phrase of strength 2.5, now others\)"):
        out(tmp_path, bias=listed | {"phrases": ["aspirin"]}).unfinished([audio], ["txt"])
    save(out(tmp_path, overwrite=True), audio)

    audio.write_bytes(b"RIFX")
    with pytest.raises(RunError, match=r"another recording \(talk\.v1\.wav\); 1 more"):
        out(tmp_path).unfinished([audio], ["txt", "srt"])


def test_an_audio_that_is_not_there_overwrites_nothing(tmp_path: Path, audio: Path) -> None:
    """It will be told when it is read; its old transcript is in nobody's way."""
    save(out(tmp_path), audio)
    audio.unlink()
    assert out(tmp_path).unfinished([audio], ["txt"]) == [audio]


def test_audio_that_changes_meanwhile_is_not_done(tmp_path: Path, audio: Path) -> None:
    folder = out(tmp_path)
    folder.unfinished([audio], ["txt"])
    audio.write_bytes(b"RIFF, and more")
    folder.save(audio, {"txt": "one\n"})
    with pytest.raises(RunError, match="another recording"):
        out(tmp_path).unfinished([audio], ["txt"])


def test_files_created_meanwhile_are_kept(tmp_path: Path, audio: Path) -> None:
    folder = out(tmp_path)
    folder.unfinished([audio], ["txt"])
    place = tmp_path / "new" / "out"
    place.mkdir(parents=True)
    (place / "talk.v1.txt").write_text("mine")
    with pytest.raises(RunError, match="meanwhile; replace it with --overwrite"):
        folder.save(audio, {"txt": "one\n"})
    assert (place / "talk.v1.txt").read_text() == "mine"
    assert os.listdir(place) == ["talk.v1.txt"]


def test_a_full_disk_leaves_the_old_files(
    tmp_path: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, *_ = save(out(tmp_path), audio)
    write_bytes = Path.write_bytes

    def full(self: Path, content: bytes) -> None:
        write_bytes(self, content[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = out(tmp_path, overwrite=True, num_beams=1)
    folder.unfinished([audio], ["txt"])
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"out: cannot be written \(No space left.* same command"):
        folder.save(audio, {"txt": "two\n"})
    assert path.read_text() == "one\n"
    assert not list(path.parent.glob(".*.part"))
    assert out(tmp_path).unfinished([audio], ["txt"]) == []


def test_folder_that_is_a_file(tmp_path: Path, audio: Path) -> None:
    (tmp_path / "new").write_text("a file")
    with pytest.raises(RunError, match=r"cannot be created: .* with -o"):
        save(out(tmp_path), audio)


def test_a_record_cut_anywhere_does_no_harm(tmp_path: Path, audio: Path) -> None:
    """The line of the second audio is torn at each of its bytes, with nothing of it written."""
    other = tmp_path / "visit.wav"
    other.write_bytes(b"RIFX")
    save(out(tmp_path), audio)
    record = tmp_path / "new" / "out" / RECORD
    first = record.read_bytes()
    paths = save(out(tmp_path), other)
    whole = record.read_bytes()
    for size in range(len(first) + 1, len(whole) - 1):
        record.write_bytes(whole[:size])
        for path in paths:
            path.unlink(missing_ok=True)
        folder = out(tmp_path)
        assert folder.unfinished([audio, other], ["txt", "srt"]) == [other]
        if size % 50 == 0:
            folder.save(other, TEXTS)
            assert out(tmp_path).unfinished([audio, other], ["txt", "srt"]) == []
    for odd in (b"[]", b"null", b'{"input": 1}', b"\xff\xfe", b'{"outputs": 3}'):
        record.write_bytes(first + odd + b"\n")
        assert out(tmp_path).unfinished([audio], ["txt", "srt"]) == []


_KILLED = """\
# For each line of outputs.py: a child that is killed there, then a run that is not.
import os, signal, shutil, sys
from pathlib import Path
from asr_llm.transcription import outputs

def batch(place):
    audio = Path("talk.wav")
    folder = outputs.OutputFolder(place, {"beams": 4})
    if folder.unfinished([audio], ["txt", "srt"]):
        folder.save(audio, {"txt": "one\\n", "srt": "1\\n"})
        return True
    return False

lines = 0
def count(frame, event, argument):
    global lines
    if frame.f_code.co_filename != outputs.__file__:
        return None
    if event == "line":
        lines += 1
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
    return count

Path("talk.wav").write_bytes(b"RIFF")
last, killed, again = 0, 0, 0
while True:
    last += 1
    child = os.fork()
    if not child:
        sys.settrace(count)
        batch("out")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        killed += 1
    again += batch("out")
    assert Path("out/talk.txt").read_text() == "one\\n", last
    assert Path("out/talk.srt").read_text() == "1\\n", last
    assert {p.name for p in Path("out").iterdir()} == {".asr-llm.jsonl", "talk.txt", "talk.srt"}
    assert not batch("out"), last
    shutil.rmtree("out")
    if not os.WIFSIGNALED(status):
        break
print(killed, again)
"""


def test_killed_at_any_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    killed, again = map(int, done.stdout.split())
    # Where it was killed after the last output had its name, there was nothing left to do.
    assert 40 < again < killed


# Names ---------------------------------------------------------------------------------


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


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match=r"out is a file; expected a folder"):
        OutputFolder(tmp_path / "out", {})
    with pytest.raises(RunError, match=r"sub cannot be created: .*out is a file"):
        OutputFolder(tmp_path / "out" / "more" / "sub", {})


# Bad news ------------------------------------------------------------------------------


def test_problems_are_remembered_until_repaired(tmp_path: Path, audio: Path) -> None:
    folder = out(tmp_path)
    folder.unfinished([audio], ["txt"])
    folder.save(audio, {"txt": "half\n"}, "talk.v1.wav: truncated")
    for _ in range(2):
        again = out(tmp_path)
        assert again.unfinished([audio], ["txt"]) == []
        assert again.trouble(audio, ["txt"]) == "talk.v1.wav: truncated"
    # Another recording of that name, elsewhere, does not replace it.
    other = tmp_path / "elsewhere" / audio.name
    other.parent.mkdir()
    other.write_bytes(b"RIFF, of others")
    with pytest.raises(RunError, match="another recording"):
        out(tmp_path).unfinished([other], ["txt"])
    audio.write_bytes(b"RIFF, now whole")
    mended = out(tmp_path)
    assert mended.unfinished([audio], ["txt"]) == [audio]
    mended.save(audio, {"txt": "whole\n"})
    assert out(tmp_path).unfinished([audio], ["txt"]) == []
    assert out(tmp_path).trouble(audio, ["txt"]) is None


def test_a_text_that_you_changed_is_kept_though_the_audio_is_mended(
    tmp_path: Path, audio: Path
) -> None:
    folder = out(tmp_path)
    folder.unfinished([audio], ["txt"])
    (path,) = folder.save(audio, {"txt": "half\n"}, "talk.v1.wav: truncated")
    path.write_text("half, and what I heard\n")
    audio.write_bytes(b"RIFF, now whole")
    with pytest.raises(RunError, match="was changed after it was written"):
        out(tmp_path).unfinished([audio], ["txt"])
