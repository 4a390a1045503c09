"""The layouts of recordings people have, into cuts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.importers import find_manifest, read_manifest, require_manifest
from asr_llm.errors import AsrLlmError, AudioError, DomainError


def record(path: Path, seconds: float = 1.0, rate: int = 16000, num_channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 0.5, round(seconds * rate), dtype=np.float32)
    soundfile.write(path, np.repeat(ramp[:, None], num_channels, axis=1), rate)
    return path


def write_lines(path: Path, *items: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def summary(cuts: CutSet) -> list[tuple[str, str, float, float]]:
    return [(cut.id, cut.supervisions[0].text, cut.start, cut.duration) for cut in cuts]


def test_trans_txt(tmp_path: Path) -> None:
    record(tmp_path / "visit one.wav")
    record(tmp_path / "wav" / "b.flac", 0.5)
    text = "# comment\nvisit one.wav\tThe  patient, he said…\n\nwav/b.flac\tNo.\n"
    (tmp_path / "trans.txt").write_text(text, encoding="utf-8")
    cuts = read_manifest(require_manifest(tmp_path))
    assert summary(cuts) == [
        ("visit_one", "The  patient, he said…", 0.0, 1.0),
        ("b", "No.", 0.0, 0.5),
    ]
    sources = [Path(cut.recording.sources[0].source) for cut in cuts]
    assert sources == [tmp_path / "visit one.wav", tmp_path / "wav" / "b.flac"]


def test_nemo_manifest_with_offsets(tmp_path: Path) -> None:
    long = record(tmp_path / "audio" / "long.wav", 4.0)
    record(tmp_path / "short.wav", 1.0)
    manifest = write_lines(
        tmp_path / "manifest.json",
        {"audio_filepath": "audio/long.wav", "offset": 1.0, "duration": 0.5, "text": "one"},
        {"audio_filepath": str(long), "offset": 3, "duration": 1, "text": "two", "speaker": 7},
        {"audio_filepath": "short.wav", "duration": 1.004, "text": "three", "lang": "en"},
        {"audio_filepath": "short.wav", "text": "four", "first_pass": "for"},
        {"audio_filepath": "short.wav"},
    )
    cuts = read_manifest(manifest)
    assert summary(cuts) == [
        ("long", "one", 1.0, 0.5),
        ("long-2", "two", 3.0, 1.0),
        ("short", "three", 0.0, 1.0),
        ("short-2", "four", 0.0, 1.0),
        ("short-3", "", 0.0, 1.0),
    ]
    _, second, third, fourth, fifth = cuts
    assert second.supervisions[0].speaker == "7"
    assert third.supervisions[0].language == "en"
    assert fourth.supervisions[0].custom == {"first_pass": "for"}
    assert fifth.supervisions[0].custom is None
    assert [len(cut.supervisions) for cut in cuts] == [1] * 5
    assert second.supervisions[0].duration == 1.0
    samples = cut_audio(second)
    assert len(samples) == 16000
    assert samples[0] == pytest.approx(0.375, abs=1e-3)


def test_audio_folder(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav")
    write_lines(
        tmp_path / "metadata.jsonl",
        {"file_name": "a.wav", "transcription": "one"},
        {"file_name": "b.wav", "text": "two"},
    )
    assert [cut.supervisions[0].text for cut in read_manifest(require_manifest(tmp_path))] == [
        "one",
        "two",
    ]


def test_audio_folder_as_a_table(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    record(tmp_path / "b c.wav")
    table = tmp_path / "metadata.csv"
    rows = 'split;file_name;transcription\r\ntest;a.wav;"one; ""two"""\r\n;b c.wav;"a\nb"\r\n'
    table.write_bytes(rows.encode("utf-16"))
    cuts = list(read_manifest(require_manifest(tmp_path)))
    assert [cut.id for cut in cuts] == ["a", "b_c"]
    assert [cut.supervisions[0].text for cut in cuts] == ['one; "two"', "a\nb"]
    table.write_text("sep=;\nfile_name;text\na.wav;1,5 mg\n")
    assert [cut.supervisions[0].text for cut in read_manifest(table)] == ["1,5 mg"]
    table.write_text("file_name\ttext\na.wav\tone, two\n")
    assert [cut.supervisions[0].text for cut in read_manifest(table)] == ["one, two"]
    table.write_text("path,sentence,offset,duration,speaker\na.wav,one,0.25,0.5,Ann\n")
    (cut,) = read_manifest(table)
    assert (cut.start, cut.duration, cut.supervisions[0].speaker) == (0.25, 0.5, "Ann")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,text\na.wav,x\n", r":1: found no column of audio; expected one of file_name, "),
        ("file_name,said\na.wav,x\n", r":1: found no column of text; expected one of text, "),
        ("file_name,text\na.wav,x,y\n", r":2: found 3 columns; expected 2, as in the first line"),
        ("file_name,text\n,x\n", r":2: found no 'audio_filepath'"),
        ("file_name,text,offset\na.wav,x,nan\n", r":2: 'offset' is nan; expected seconds"),
        ("file_name,text,offset\na.wav,x,1/2\n", r":2: 'offset' is '1/2'; expected seconds"),
        ('file_name,text\na.wav,x\na.wav,"y\n', r":3: found not a row of a table \(unexpected end"),
        ("sep=;\nfile_name;text\na.wav\n", r":3: found 1 column; expected 2"),
        ("file_name,text\n", r": lists no recordings"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, table: str, message: str) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DomainError, match=message):
        read_manifest(tmp_path / "metadata.csv")


def test_lhotse_cuts_keep_all_but_relative_paths(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", num_channels=2)
    write_lines(tmp_path / "manifest.json", {"audio_filepath": "a.wav", "text": "one"})
    (cut,) = read_manifest(require_manifest(tmp_path))
    (tmp_path / "manifest.json").unlink()
    cut.recording.sources[0].source = "a.wav"
    CutSet.from_cuts([cut.with_id("mine")]).to_file(tmp_path / "cuts.jsonl.gz")
    (again,) = read_manifest(require_manifest(tmp_path))
    assert again.id == "mine"
    assert again.supervisions[0].text == "one"
    assert again.recording.sources[0].source == str(tmp_path / "a.wav")
    assert cut_audio(again).shape == (16000,)


def test_multi_channel_recordings(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", rate=8000, num_channels=3)
    write_lines(
        tmp_path / "manifest.jsonl", {"audio_filepath": "a.wav", "text": "x", "offset": 0.5}
    )
    (cut,) = read_manifest(require_manifest(tmp_path))
    assert cut.duration == 0.5
    assert cut_audio(cut).shape == (8000,)


def lhotse_item(**changes: Any) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    recording = {
        "id": "r", "sources": [source], "sampling_rate": 16000, "num_samples": 16000,
        "duration": 1.0,
    }  # fmt: skip
    cut = {"id": "c", "start": 0, "duration": 1.0, "channel": 0, "type": "MonoCut"}
    return {**cut, "recording": recording, "supervisions": [], **changes}


def test_a_lhotse_cut_without_supervision_gets_an_empty_one(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    (cut,) = read_manifest(write_lines(tmp_path / "cuts.jsonl", lhotse_item()))
    assert [supervision.text for supervision in cut.supervisions] == [""]


def test_lhotse_cuts_that_cannot_be_used(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    command = lhotse_item()
    command["recording"]["sources"][0] |= {"type": "command", "source": "touch ran"}
    two = [
        {"id": i, "recording_id": "r", "start": 0, "duration": 1, "text": "x"} for i in ("a", "b")
    ]
    for item, message in [
        (command, "found audio of type command; expected 'file'"),
        (lhotse_item(supervisions=two), "found 2 supervisions; expected one"),
        (lhotse_item(type="MixedCut"), "found a MixedCut; expected a MonoCut or a MultiCut"),
        (lhotse_item(recording=None), "not a Lhotse cut with a recording"),
        (lhotse_item(id=None), "found no 'id'"),
        (lhotse_item(supervisions=[{"bad": 1}]), "not a Lhotse cut"),
    ]:
        with pytest.raises(DomainError, match=rf"cuts\.jsonl:1: {message}"):
            read_manifest(write_lines(tmp_path / "cuts.jsonl", item))
    with pytest.raises(DomainError, match="cut id 'c' is given twice"):
        read_manifest(write_lines(tmp_path / "cuts.jsonl", lhotse_item(), lhotse_item()))
    assert not (tmp_path / "ran").exists()


def test_missing_files_are_named_together(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    names = ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]
    (tmp_path / "trans.txt").write_text("".join(f"{name}\tx\n" for name in names))
    with pytest.raises(DomainError) as error:
        read_manifest(require_manifest(tmp_path))
    assert str(error.value) == (
        f"{tmp_path}/trans.txt: 4 of 5 recordings are missing: {tmp_path}/b.wav (line 2), "
        f"{tmp_path}/c.wav (line 3), {tmp_path}/d.wav (line 4) and 1 more; "
        "paths are relative to this file"
    )


def test_what_lies_outside_is_named_not_quoted(tmp_path: Path) -> None:
    """Audio may lie anywhere; of other files no more than the name is told."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("sesame")
    path = tmp_path / "in" / "trans.txt"
    for name in ("../secret", "a/../../secret", str(tmp_path / "secret")):
        path.write_text(f"{name}\tx\n")
        with pytest.raises(AsrLlmError) as error:
            read_manifest(path)
        assert "secret" in str(error.value)
        assert "sesame" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio_filepath": "a.wav"', "not JSON (from column 27 on); expected"),
        ("[1, 2]", "found no JSON object; expected one a line"),
        ('{"text": "x"}', "found no 'audio_filepath'; expected one that is not empty"),
        ('{"audio_filepath": "a.wav", "text": 3}', "'text' is int; expected text"),
        ('{"audio_filepath": "a.wav", "first_pass": []}', "'first_pass' is list; expected text"),
        ('{"audio_filepath": "a.wav", "duration": "1"}', "'duration' is '1'; expected seconds"),
        ('{"audio_filepath": "a.wav", "duration": 0}', "'duration' is 0; expected seconds"),
        ('{"audio_filepath": "a.wav", "offset": -1}', "'offset' is -1; expected seconds"),
        ('{"audio_filepath": "a.wav", "offset": 1}', "offset 1 s is not before 1.00 s, the end"),
        (
            '{"audio_filepath": "a.wav", "duration": 9}',
            "offset and duration (0 + 9 s) reach beyond",
        ),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    record(tmp_path / "a.wav")
    good = '{"audio_filepath": "a.wav", "text": "x"}'
    (tmp_path / "manifest.json").write_text(f"{good}\n{line}\n")
    with pytest.raises(DomainError) as error:
        read_manifest(require_manifest(tmp_path))
    assert str(error.value).startswith(f"{tmp_path}/manifest.json:2: {message}")


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="found no list of recordings; expected one of: cuts"):
        read_manifest(require_manifest(tmp_path))
    (tmp_path / "trans.txt").write_text("a.wav the text\n")
    with pytest.raises(DomainError, match=r"trans\.txt:1: found no TAB"):
        read_manifest(require_manifest(tmp_path))
    (tmp_path / "trans.txt").write_text("# nothing\n")
    with pytest.raises(DomainError, match="lists no recordings"):
        read_manifest(require_manifest(tmp_path))
    (tmp_path / "bad.wav").write_text("text")
    (tmp_path / "trans.txt").write_text("bad.wav\tx\n")
    with pytest.raises(AudioError, match=r"trans\.txt:1: .*bad\.wav: cannot be decoded as audio"):
        read_manifest(require_manifest(tmp_path))
    (tmp_path / "manifest.json").write_text("")
    with pytest.raises(DomainError, match=r"found manifest\.json and trans\.txt; expected one"):
        find_manifest(tmp_path)
    (tmp_path / "cuts.jsonl.gz").write_text("not gzip")
    with pytest.raises(DomainError, match="cannot be unpacked"):
        read_manifest(tmp_path / "cuts.jsonl.gz")
    with pytest.raises(DomainError, match="No such file"):
        read_manifest(tmp_path / "none.json")
