"""Training that imitates an LLM, and training on a folder of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asr_llm.corpus.speech import cache
from asr_llm.model import checkpoints
from asr_llm.recipe import Recipe
from asr_llm.training.run_folder import RunFolder
from asr_llm.training.train import train


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))


def recipe(model: Path, source: dict[str, Any], **keys: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": str(model),
            "sources": [source],
            "steps": 6,
            "batch_positions": 300,
            "precision": "32",
            "optimizer": {"lr": 1e-2, "warmup_steps": 0},
        }
        | keys
    )


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def imitating(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "t.txt").write_text("".join(f"Case {n}, it is.\n" for n in range(12)), "utf-8")
    return {
        "task": "imitate",
        "data": str(tmp_path / "t.txt"),
        "voices": ["en-us"],
        "interleaved": 0.5,
        "kl": 0.5,
        # A tiny LLM of random weights repeats itself; drawn at this temperature it does not.
        "answer": {"max_tokens": 8, "temperature": 3.0},
    }


@pytest.mark.parametrize("trained", [["projector"], ["lora", "projector"]])
def test_a_run_that_imitates(
    tiny: Path,
    imitating: dict[str, Any],
    tmp_path: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    done = train(recipe(tiny, imitating, train=trained), run, progress=True)
    (record,) = json.loads(run.answers.read_text("utf-8"))
    assert sum(record["asked"].values()) == 12
    assert sum(record["kept"].values()) + sum(record["unfit"].values()) == 12
    assert record["share"] == round(sum(record["kept"].values()) / 12, 4)
    told = capsys.readouterr().err
    assert "asking the LLM of tiny 12 questions" in told
    assert f"kept {record['share']:.0%} of the teacher's answers" in told
    rows = metrics(run.path)
    assert all(row["loss"] == pytest.approx(row["lm"] + row["kl"], rel=1e-5) for row in rows)
    assert all(row["kl"] > 0 for row in rows)
    if trained == ["projector"]:
        assert done.model is not None
        before, after = checkpoints.load(tiny).state_dict(), checkpoints.load(done.model)
        changed = {k for k, v in after.state_dict().items() if not v.equal(before[k])}
        assert changed
        assert all(name.startswith("perception.proj.") for name in changed)
    else:
        assert done.adapter is not None
        assert {p.name for p in done.adapter.glob("*.safetensors")} == {
            "adapter_model.safetensors",
            "projector.safetensors",
        }


def test_a_run_again_asks_nobody_and_ends_with_the_same_weights(
    tiny: Path, imitating: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = recipe(tiny, imitating, train=["projector"])
    weights = []
    for name in ("one", "two"):
        done = train(chosen, RunFolder(tmp_path / name), progress=False)
        assert done.model is not None
        weights.append(load_file(done.model / "model.safetensors"))
        monkeypatch.setattr("asr_llm.training.teacher._answers", None)  # not asked again
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_frames_of_takes_are_kept(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("It rained, nine days on. " * 20, "utf-8")
    source = {
        "task": "insert",
        "data": str(tmp_path / "books"),
        "voices": ["en-us"],
        "passage": 150,
        "insert": {"level": "sentence", "share": 0.9},
    }
    # Six sentences fit into 150 bytes: three passages alike, and one of two sentences.
    for takes, kept in ((None, 0), (1, 2)):
        chosen = recipe(tiny, source | {"takes": takes}, train=["projector"], steps=12)
        train(chosen, RunFolder(tmp_path / f"run{takes}"), progress=False)
        assert sum(e.count for e in cache.entries() if e.kind == "frames") == kept
