"""A run killed anywhere and resumed ends, bit for bit, as one that was never stopped."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from run_files import best, carry_out, metrics, source, tensors

REPLAY = Path(__file__).parents[2] / "asr_llm" / "assets" / "mini" / "replay"

Kills = list[tuple[str, int]]

ANY = random.randrange(1, 12)  # another batch each time
LORA: dict[str, Kills] = {
    "before the first checkpoint": [("batch", 2)],
    "in some step": [("batch", ANY)],
    "right after a checkpoint": [("after checkpoint", 6)],
    "in the validation of a step with a checkpoint": [("validation", 4)],
    "in the last validation": [("validation", 8)],
    "while a checkpoint was written": [("writing a checkpoint", 3)],
    "while the adapter was written": [("writing the result", 1)],
    "three times": [("batch", 4), ("batch", 5), ("validation", 5)],
    "by Ctrl-C in some step": [("interrupt", ANY)],
    "by Ctrl-C in two validations": [("interrupt validation", 1), ("interrupt validation", 4)],
}
WHOLE: dict[str, Kills] = {
    "between accumulated batches, twice": [("batch", 9), ("batch", 9)],
    "right after a checkpoint": [("after checkpoint", 4)],
    "by Ctrl-C between accumulated batches": [("interrupt", 4)],
}
EARLY: dict[str, Kills] = {
    "in each of its first validations": [("validation", 1), ("validation", 2), ("validation", 2)],
    "while the model was written": [("writing the result", 1)],
}


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs, carried out; those called "…-whole" were never stopped."""
    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text("\n".join(f"Drug number {n} helped the patient." for n in range(30)), "utf-8")
    held_out = [source("asr", text, voices=["en-us"], augment=0.0)]
    lora = {
        "model": str(tiny),
        "train": ["lora", "projector"],
        "lora": {"r": 4, "lora_dropout": 0.3},
        "sources": [source("asr", text), source("text", text), source("denoise", text)],
        "replay": str(REPLAY),
        "validation": {
            "sources": held_out,
            "every": 3,
            "utterances": 10,
            "patience": 3,
            "max_rise": 99.0,
        },
        "steps": 12,
        "batch_positions": 300,
        "checkpoint_every": 3,
        "optimizer": {"lr": 0.02, "warmup_steps": 3},
        "precision": "32",
        "seed": 3,
    }
    description = (tiny.parent / "model.yaml").read_text("utf-8")
    (folder / "model.yaml").write_text(description.replace("layer_norm", "batch_norm"), "utf-8")
    whole = lora | {
        "create": str(folder / "model.yaml"),
        "train": ["encoder", "projector", "llm", "ctc_head"],
        "objective": "lm+ctc",
        "sources": [source("asr", text), source("word_synchronous", text), source("text", text)],
        "validation": {},
        "steps": 6,
        "accumulate": 2,
        "checkpoint_every": 2,
        "precision": "bf16",
    }
    early = lora | {
        "train": ["llm"],
        "sources": [source("text", text)],
        "validation": {"sources": held_out, "every": 1, "utterances": 1, "patience": 2},
        "optimizer": {"lr": 0.3, "warmup_steps": 0, "clip": 1e9},
        "checkpoint_every": 1,
    }
    jobs = [
        {"folder": str(folder / f"{name}-{how}"), "recipe": recipe, "kills": kills}
        for name, recipe, ends in (
            ("lora", lora, LORA),
            ("all", whole, WHOLE),
            ("early", early, EARLY),
        )
        for how, kills in [("whole", []), *ends.items()]
    ]
    carry_out(jobs, folder)
    return folder


@pytest.mark.parametrize(
    ("name", "how"),
    [("lora", how) for how in LORA]
    + [("all", how) for how in WHOLE]
    + [("early", h) for h in EARLY],
)
def test_a_killed_run_ends_as_one_never_stopped(runs: Path, name: str, how: str) -> None:
    whole, killed = runs / f"{name}-whole", runs / f"{name}-{how}"
    expected, found = tensors(whole), tensors(killed)
    assert expected
    assert expected.keys() == found.keys()
    differing = [key for key in expected if not expected[key].equal(found[key])]
    assert not differing, f"batch {ANY}"
    assert metrics(killed) == metrics(whole)
    assert best(killed) == best(whole)
    left = sorted(p.name for p in killed.rglob("*") if p.name.endswith(".part"))
    assert not left


def test_the_runs_did_what_they_should(runs: Path) -> None:
    """Else the comparison above compares nothing."""
    validated = [row["step"] for row in metrics(runs / "lora-whole") if "val_loss" in row]
    assert validated == [3, 6, 9, 12]
    assert {"adapter_model.safetensors", "projector.safetensors"} == {
        key.split(":")[0] for key in tensors(runs / "lora-whole")
    }
    stopped = [row["step"] for row in metrics(runs / "early-whole") if "val_loss" in row]
    assert stopped == list(range(1, len(stopped) + 1))
    found = best(runs / "early-whole")
    assert found is not None
    assert len(stopped) == found[0] + 2 < 12
    statistics = [key for key in tensors(runs / "all-whole") if "running_mean" in key]
    assert statistics
    assert all(tensors(runs / "all-whole")[key].any() for key in statistics)
