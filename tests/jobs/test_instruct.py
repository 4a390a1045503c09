"""`asr-llm instruct` on a tiny model: what is put, and what is written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.errors import SynthesisError
from asr_llm.evaluation.instructions import read_instructions
from asr_llm.jobs import instruct as job

ROWS = [
    {
        "key": "a",
        "prompt": "Name three fruits.",
        "instruction_id_list": ["count:items"],
        "kwargs": [{"num_items": 3}],
        "superseded": {
            "prompt": "Name two fruits.",
            "instruction_id_list": ["count:items"],
            "kwargs": [{"num_items": 2}],
        },
    },
    {"key": "b", "prompt": "Shout.", "instruction_id_list": ["change_case:english_capital"]},
]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "i.jsonl").write_text("\n".join(map(json.dumps, ROWS)), "utf-8")
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: fruits\ninstructions: i.jsonl\nmax_new_tokens: 4\n"
        "variants: [standard, noisy, accented, disfluent, corrected]\n",
        "utf-8",
    )
    return path


def test_variants_differ_in_what_they_vary(suite: Path) -> None:
    read = read_instructions(suite)
    put = {variant: job.speak(read, variant) for variant in read.config.variants}
    plain = put["standard"]
    assert [one.text for one in plain] == ["Name three fruits.", "Shout."]
    for clean, noisy in zip(plain, put["noisy"]):
        noise = noisy.speech.samples - clean.speech.samples
        snr = 10 * np.log10((clean.speech.samples**2).mean() / (noise**2).mean())
        assert (clean.text, snr) == (noisy.text, pytest.approx(10.0, abs=0.5))
    assert {one.speech.speaker for one in plain} == {"en-us"}
    assert [one.speech.speaker for one in put["accented"]] == ["en-gb-scotland", "en-029"]
    assert all(len(slow.text) > len(one.text) for slow, one in zip(put["disfluent"], plain))
    (corrected,) = put["corrected"]
    assert corrected.text.startswith("Name two fruits. ")
    assert corrected.text.endswith(" Name three fruits.")


def test_instruct_writes_every_answer(tiny: Path, suite: Path, tmp_path: Path) -> None:
    done = job.instruct(suite, model=str(tiny), output=tmp_path / "out")
    rows = [json.loads(x) for x in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [(row["asked"], row["key"]) for row in rows if row["variant"] == "standard"] == [
        ("text", "a"), ("speech", "a"), ("text", "b"), ("speech", "b")
    ]  # fmt: skip
    assert [row["key"] for row in rows if row["variant"] == "corrected"] == ["a", "a"]
    said = {(row["variant"], row["asked"], row["key"]): row["said"] for row in rows}
    assert said["noisy", "text", "a"] == said["standard", "text", "a"]
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores == done.scores
    assert list(scores["systems"]["base"]) == list(read_instructions(suite).config.variants)
    assert scores["systems"]["base"]["standard"]["text"]["prompt"]["strict"]["of"] == 2
    assert "superseded" in scores["systems"]["base"]["corrected"]["speech"]


def test_a_recording_takes_the_place_of_the_voice(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.25), 16000)
    path = tmp_path / "i.jsonl"
    path.write_text(json.dumps(ROWS[1] | {"audio_path": "a.wav"}), "utf-8")
    (put,) = job.speak(read_instructions(path), "standard")
    assert put.speech.samples == pytest.approx(0.25, abs=1e-3)


def test_a_voice_that_is_not_there(tiny: Path, suite: Path) -> None:
    suite.write_text(suite.read_text() + "voices: [en-us+Nobody]\n", "utf-8")
    with pytest.raises(SynthesisError, match="no espeak-ng voice matches"):
        job.instruct(suite, model=str(tiny))
