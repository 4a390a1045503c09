"""``asr-llm corpus shar``: what is packed, what is named, what a killed run leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asr_llm.cli import app
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.recordings.shar import SharCuts
from asr_llm.errors import DomainError, RunError
from asr_llm.jobs import shar
from asr_llm.jobs.shar import pack
from asr_llm.progress import Feedback


def tone(path: Path, seconds: float = 0.2, rate: int = 16000, pitch: float = 300.0) -> Path:
    times = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * times), rate)
    return path


def manifest(folder: Path, count: int, **more: Any) -> Path:
    path = folder / "manifest.jsonl"
    rows = []
    for n in range(count):
        tone(folder / f"clip{n}.wav", pitch=300.0 + 10 * n)
        rows.append({"audio_filepath": f"clip{n}.wav", "text": f"number {n}", **more})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def texts(folder: Path) -> list[str]:
    return [cut["supervisions"][0]["text"] for cut in SharCuts(folder)]


def test_recordings_come_back(tmp_path: Path) -> None:
    listed = manifest(tmp_path, 5, first_pass="about", speaker="ann")
    done = pack(listed, tmp_path / "shar", shard_size=2)
    assert (done.shards, done.cuts, done.dropped) == (3, 5, 0)
    assert done.seconds == pytest.approx(1.0)
    assert sorted(path.name for path in done.path.iterdir()) == [
        *(f"cuts.{n:06d}.jsonl.gz" for n in range(3)),
        "cuts.index.json",
        *(f"recording.{n:06d}.tar" for n in range(3)),
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    cuts = SharCuts(done.path)
    assert cuts.sizes == [2, 2, 1]
    for i, original in enumerate(read_manifest(listed)):
        cut = cuts.load(i)
        assert (cut.id, cut.duration) == (f"clip{i}-{i + 1}", original.duration)
        assert cut.supervisions[0].text == original.supervisions[0].text
        assert cut.supervisions[0].speaker == "ann"
        assert cut.supervisions[0].custom == {"first_pass": "about"}
        np.testing.assert_allclose(cut_audio(cut), cut_audio(original), atol=2**-15)


def test_lhotse_reads_it(tmp_path: Path) -> None:
    from lhotse import CutSet

    done = pack(manifest(tmp_path, 3), tmp_path / "shar", shard_size=2)
    cuts = list(CutSet.from_shar(in_dir=done.path))
    assert [cut.supervisions[0].text for cut in cuts] == ["number 0", "number 1", "number 2"]
    assert cuts[2].load_audio().shape == (1, 3200)


def test_other_rates_and_pieces_of_files(tmp_path: Path) -> None:
    tone(tmp_path / "long.wav", seconds=3.0, rate=8000)
    listed = tmp_path / "manifest.jsonl"
    row = {"audio_filepath": "long.wav", "text": "a", "offset": 1.0, "duration": 0.5}
    listed.write_text(json.dumps(row) + "\n", "utf-8")
    cut = SharCuts(pack(listed, tmp_path / "shar").path).load(0)
    assert (cut.sampling_rate, cut.num_samples, cut.start) == (16000, 8000, 0)


def test_bad_lines_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    listed = manifest(tmp_path, 2)
    gone = json.dumps({"audio_filepath": "gone.wav", "text": "x"})
    with listed.open("a", encoding="utf-8") as file:
        file.write(f"{{half\n{gone}\n" + "{}\n" * 30)
    with pytest.raises(DomainError) as caught:
        pack(listed, tmp_path / "shar")
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        f"{listed}:3: not JSON (from column 2 on); expected one JSON object a line; fix this line"
    )
    assert lines[1].startswith(f"{listed}:4: {tmp_path / 'gone.wav'} is missing")
    assert len(lines) == 21
    assert lines[-1] == f"{listed}: 12 more bad lines; fix them"
    assert [path.name for path in tmp_path.iterdir() if "shar" in path.name] == []


def test_bad_recordings_are_left_out_and_named(tmp_path: Path) -> None:
    listed = manifest(tmp_path, 3)
    (tmp_path / "clip1.wav").write_bytes(b"no audio")
    tone(tmp_path / "clip2.wav", seconds=25)
    run = CliRunner().invoke(app, ["corpus", "shar", str(listed), "-o", str(tmp_path / "shar")])
    assert run.exit_code == 3, run.output
    assert run.stdout == f"{tmp_path / 'shar'}: 1 recording, 0.0 h, in 1 shard; 2 left out\n"
    first, second = run.stderr.splitlines()
    assert first.startswith(f"left out: {listed}:2: ")
    assert second.startswith(f"left out: {listed}:3: 25.0 s, longer than 24 s, and without word")
    assert texts(tmp_path / "shar") == ["number 0"]


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    listed, place = manifest(tmp_path, 7), tmp_path / "shar"
    (tmp_path / "clip0.wav").write_bytes(b"no audio")
    whole = pack(listed, tmp_path / "whole", shard_size=2)
    pieces, opened = shar._pieces, list[int]()

    def killed(entry: Any, path: Path) -> Any:
        opened.append(entry.line)
        if len(opened) > 2 * shards + 2:
            raise KeyboardInterrupt
        return pieces(entry, path)

    monkeypatch.setattr(shar, "_pieces", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(listed, place, shard_size=2)
    assert not place.exists()
    monkeypatch.setattr(shar, "_pieces", lambda e, p: (opened.append(e.line), pieces(e, p))[1])
    opened.clear()
    told: list[str] = []
    done = pack(listed, place, shard_size=2, feedback=Feedback(tell=told.append))
    assert opened[0] == (2 * shards + 2 if shards else 1)
    assert any("going on after line" in line for line in told) == (shards > 0)
    assert (done.cuts, done.shards, done.dropped) == (whole.cuts, whole.shards, whole.dropped)
    assert texts(place) == texts(whole.path) == [f"number {n}" for n in range(1, 7)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_another_manifest_left_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, place = manifest(tmp_path, 3), tmp_path / "shar"
    monkeypatch.setattr(shar.os, "fsync", lambda file: None)
    yielded = shar._shards

    def killed(*args: Any) -> Iterator[Any]:
        yield next(yielded(*args))
        raise KeyboardInterrupt

    monkeypatch.setattr(shar, "_shards", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(listed, place, shard_size=1)
    monkeypatch.setattr(shar, "_shards", yielded)
    listed.write_text(listed.read_text("utf-8").replace("number", "figure"), "utf-8")
    assert texts(pack(listed, place, shard_size=1).path) == ["figure 0", "figure 1", "figure 2"]


def test_a_full_folder_is_not_touched(tmp_path: Path) -> None:
    listed, place = manifest(tmp_path, 1), tmp_path / "shar"
    pack(listed, place)
    with pytest.raises(RunError, match="is not empty; expected a new or empty folder"):
        pack(listed, place)


@pytest.mark.parametrize(("text", "message"), [("", "lists no recordings"), (None, "cannot be")])
def test_no_manifest(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "manifest.jsonl"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(DomainError, match=message):
        pack(path, tmp_path / "shar")
