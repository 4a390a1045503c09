"""Several processes train as one does: the same losses, the same weights, but for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from run_files import best, carry_out, metrics, source, tensors

from asr_llm.errors import RecipeError, RunError
from asr_llm.recipe import Recipe
from asr_llm.training.loading import Share
from asr_llm.training.processes import ALONE, Processes, begin

REPLAY = Path(__file__).parents[2] / "asr_llm" / "assets" / "mini" / "replay"
TWO = {"devices": 2}
FSDP = TWO | {"strategy": "fsdp"}
RUNS: dict[str, dict[str, Any]] = {
    "one": {},
    "two": {"recipe": TWO},
    "two, one of them killed": {"recipe": TWO, "kills": [("batch", 6)]},
    "two, then one": {"recipe": TWO, "kills": [("batch", 6)], "resumed": {"devices": 1}},
    "one, then two": {"kills": [("batch", 11)], "resumed": TWO},
    "fsdp": {"recipe": FSDP},
    "fsdp, then one": {
        "recipe": FSDP,
        "kills": [("batch", 6)],
        "resumed": {"devices": 1, "strategy": None},
    },
    "one, then fsdp": {"kills": [("batch", 11)], "resumed": FSDP},
}
"""By name: what differs in the recipe, and how the run is killed and resumed."""
QUICK = ["two", "fsdp"]
SLOW = [name for name in RUNS if name not in ("one", *QUICK)]


def carried_out(names: list[str], tiny: Path, folder: Path) -> Path:
    """The folder of these runs and of "one", carried out."""
    text = folder / "text.txt"
    text.write_text("\n".join(f"Drug number {n} helped the patient." for n in range(30)), "utf-8")
    recipe = {
        "model": str(tiny),
        "train": ["lora", "projector"],
        "lora": {"r": 4, "lora_dropout": 0.3},
        # Many a batch of text alone, which has no gradient for the projector.
        "sources": [source("asr", text), source("text", text, weight=4.0)],
        "replay": str(REPLAY),
        "validation": {
            "sources": [source("asr", text, voices=["en-us"], augment=0.0)],
            "every": 3,
            "utterances": 10,
            "max_rise": 99.0,
        },
        "steps": 6,
        "batch_positions": 60,
        "accumulate": 4,
        "checkpoint_every": 2,
        "optimizer": {"lr": 0.01, "warmup_steps": 2},
        "precision": "32",
        "seed": 3,
    }
    jobs = [
        {
            "folder": str(folder / name),
            "recipe": recipe | how.get("recipe", {}),
            "kills": how.get("kills", []),
            "resumed": how.get("resumed", {}),
        }
        for name, how in RUNS.items()
        if name in ("one", *names)
    ]
    carry_out(jobs, folder)
    return folder


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the runs."""
    return carried_out(QUICK, tiny, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def more_runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The others."""
    return carried_out(SLOW, tiny, tmp_path_factory.mktemp("more"))


@pytest.mark.parametrize("name", QUICK)
def test_processes_train_as_one(runs: Path, name: str) -> None:
    compare(runs / "one", runs / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_they_resume_on_any_number(more_runs: Path, name: str) -> None:
    compare(more_runs / "one", more_runs / name)


def compare(one: Path, several: Path) -> None:
    """Losses within a ten-thousandth, weights within a tenth of a step."""
    expected, found = metrics(one), metrics(several)
    assert [row["step"] for row in expected] == [1, 3, 6]
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for before, after in zip(expected, found):
        assert after == pytest.approx(before, rel=1e-4)
    weights = tensors(one)
    assert weights.keys() == tensors(several).keys()
    for key, weight in tensors(several).items():
        torch.testing.assert_close(weight, weights[key], rtol=0, atol=1e-3)
    assert best(several) == pytest.approx(best(one), rel=1e-4)
    assert not [path for path in several.rglob("*") if path.name.endswith(".part")]


@pytest.mark.slow
def test_the_same_number_of_processes_resumes_exactly(runs: Path, more_runs: Path) -> None:
    whole, killed = runs / "two", more_runs / "two, one of them killed"
    expected, found = tensors(whole), tensors(killed)
    assert all(expected[key].equal(found[key]) for key in expected)
    assert metrics(whole) == metrics(killed)


def test_the_runs_compare_something(runs: Path) -> None:
    moved = [key for key, value in tensors(runs / "one").items() if value.abs().max() > 0.01]
    assert any("projector" in key for key in moved)
    assert any("lora_B" in key for key in moved)


def test_shares_are_the_batches_of_one_process() -> None:
    one = list(Share(12, 4))
    shares = [list(Share(12, 4, Processes(rank, 2))) for rank in range(2)]
    assert one == [4, 5, 6, 7, 8, 9, 10, 11]
    assert shares == [[4, 6, 8, 10], [5, 7, 9, 11]]
    assert [len(Share(12, 4)), len(Share(12, 4, Processes(1, 2)))] == [12, 6]


def several(**keys: Any) -> Recipe:
    return Recipe.model_validate(
        {"sources": [{"task": "text", "data": "domain"}], "accumulate": 4} | keys
    )


def test_who_starts_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert begin(several()) is ALONE
    with pytest.raises(RunError, match=r"found 2 in the recipe, but only this process .* torchrun"):
        begin(several(num_nodes=2))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    assert begin(several()) is ALONE  # three runs of their own
    with pytest.raises(RecipeError, match=r"^3 processes were started, .* is 4; expected the same"):
        begin(several(devices=2, num_nodes=2))
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match=r"^2 processes were started, .* is 1; expected the same"):
        begin(several())
