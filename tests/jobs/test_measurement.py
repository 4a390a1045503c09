"""Measuring resumes where it stopped; a run refused early leaves nothing in the way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asr_llm.errors import DomainError, RunError
from asr_llm.jobs import measurement
from asr_llm.jobs.held_out import HeldOut, manifest_set
from asr_llm.jobs.measurement import System
from asr_llm.jobs.training_run import run_folder
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.recipe import text_recipe


def held_out(**texts: str) -> HeldOut:
    """Cuts as far as they are looked at, each spoken by the first letter of its id."""
    cuts: Any = [
        SimpleNamespace(id=i, supervisions=[SimpleNamespace(text=text, speaker=i[0])])
        for i, text in texts.items()
    ]
    return HeldOut(cuts, [{"label": "DRUG", "pattern": "metformin"}])


class Decoder:
    """In place of a recogniser: hears every word but the name of the drug."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.decoded = 0

    def transcribe_cuts(self, cuts: Any, progress: Any = None) -> dict[str, str]:
        self.decoded += 1
        heard = "met form in" if self.system.name == "base" else "metformin"
        return {c.id: c.supervisions[0].text.replace("metformin", heard) for c in cuts}


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[Decoder]:
    made: list[Decoder] = []

    def load(system: System) -> Decoder:
        made.append(Decoder(system))
        return made[-1]

    monkeypatch.setattr(measurement, "_load", load)
    return made


SYSTEMS = [System("base", "mini"), System("adapted", "mini", (AdapterFolder(Path("adapter")),))]


def test_measure_writes_hypotheses_and_scores(tmp_path: Path, decoders: list[Decoder]) -> None:
    main = held_out(a1="Take metformin now.", b1="She takes metformin.")
    scores = measurement.measure(SYSTEMS, {"domain": main, "general": held_out(a="Hi.")}, tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    found = {name: s["entities"]["raw"]["found"] for name, s in scores["systems"].items()}
    assert found == {"base": 0, "adapted": 2}
    assert scores["comparison"]["eer"]["difference"] == -1.0
    assert [d.decoded for d in decoders] == [2, 2]  # domain and general, each model loaded once
    rows = (tmp_path / "hypotheses" / "base.domain.jsonl").read_text().splitlines()
    assert json.loads(rows[0]) == {
        "id": "a1",
        "text": "Take met form in now.",
        "reference": "Take metformin now.",
        "speaker": "a",
    }


def test_finished_hypotheses_are_reused(tmp_path: Path, decoders: list[Decoder]) -> None:
    main = held_out(a1="Take metformin now.")
    first = measurement.measure(SYSTEMS, {"domain": main}, tmp_path)
    (tmp_path / "hypotheses" / "adapted.domain.jsonl").unlink()
    decoders.clear()
    assert measurement.measure(SYSTEMS, {"domain": main}, tmp_path) == first
    assert [d.system.name for d in decoders] == ["adapted"]


def test_another_test_set_is_decoded_anew(tmp_path: Path, decoders: list[Decoder]) -> None:
    measurement.measure(SYSTEMS, {"domain": held_out(a1="Take metformin now.")}, tmp_path)
    decoders.clear()
    for changed in (held_out(a1="Take metformin then."), held_out(a2="Take metformin then.")):
        measurement.measure(SYSTEMS, {"domain": changed}, tmp_path)
    assert [d.system.name for d in decoders] == ["base", "adapted"] * 2


@pytest.mark.parametrize("line", ['{"id": "a1", "text": "met form in"}', "met form in", "[1]"])
def test_hypotheses_of_another_origin_are_refused_and_kept(
    tmp_path: Path, decoders: list[Decoder], line: str
) -> None:
    own = tmp_path / "hypotheses" / "base.domain.jsonl"
    own.parent.mkdir()
    own.write_text(line + "\n")
    with pytest.raises(RunError, match=r"base\.domain\.jsonl: expected id, text, reference"):
        measurement.measure(SYSTEMS[:1], {"domain": held_out(a1="Take metformin now.")}, tmp_path)
    assert own.read_text() == line + "\n" and not decoders


def test_nothing_is_written_without_a_place(
    tmp_path: Path, decoders: list[Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    measurement.measure(SYSTEMS[:1], {"domain": held_out(a1="Take metformin now.")})
    assert not list(tmp_path.iterdir())


def test_a_run_refused_before_its_first_checkpoint_leaves_no_folder(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(DomainError), run_folder(place, text_recipe(), resume=False) as run:
        assert run.recipe.is_file()
        raise DomainError("no text")
    assert not place.exists()


def test_a_run_with_a_checkpoint_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(RunError), run_folder(place, text_recipe(), resume=False) as run:
        (run.checkpoints / "last.ckpt").write_bytes(b"weights")
        raise RunError("disk full")
    assert (place / "recipe.yaml").is_file()
    assert (place / "checkpoints" / "last.ckpt").is_file()


def test_an_interrupted_run_is_kept_once_it_has_a_checkpoint(tmp_path: Path) -> None:
    for place, kept in ((tmp_path / "early", False), (tmp_path / "late", True)):
        with (
            pytest.raises(KeyboardInterrupt),
            run_folder(place, text_recipe(), resume=False) as run,
        ):
            if kept:
                torch.save({"global_step": 3}, run.checkpoints / "last.ckpt")
            raise KeyboardInterrupt
        assert (place / "recipe.yaml").is_file() is kept


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", "Ann", "r"), ("b", "Bob", "r")], ({"a": "Ann", "b": "Bob"}, "speaker")),
        # One without a speaker: who spoke is not known. Segments of a recording belong together.
        ([("a", "Ann", "r"), ("b", None, "r")], ({"a": "r", "b": "r"}, "recording")),
        ([("a", None, "r"), ("b", None, "s")], None),
    ],
)
def test_what_intervals_resample(rows: list[Any], expected: Any) -> None:
    cuts: Any = [
        SimpleNamespace(id=i, recording_id=r, supervisions=[SimpleNamespace(text="", speaker=who)])
        for i, who, r in rows
    ]
    found = HeldOut(cuts, []).blocks
    assert (found and (found.of, found.kind)) == expected


def test_recordings_without_any_transcript_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    row = {"audio_filepath": "a.wav", "duration": 0.1, "text": " "}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    with pytest.raises(DomainError, match="none of its recordings has a transcript to measure"):
        manifest_set(tmp_path)
