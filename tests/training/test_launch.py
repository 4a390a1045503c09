"""Runs in two processes, started by the command itself, and by torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

STEPS = 100_000  # longer than any test
COMMAND = ["-m", "asr_llm.cli", "pretrain"]


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Path:
    text, path = tmp_path / "text.txt", tmp_path / "recipe.yaml"
    text.write_text("\n".join(f"The court heard case number {n}." for n in range(30)), "utf-8")
    source = {"task": "text", "data": str(text)}
    keys = {"model": str(tiny), "sources": [source], "steps": STEPS, "batch_positions": 60}
    shared = {"accumulate": 2, "devices": 2, "checkpoint_every": 2, "precision": "32"}
    path.write_text(yaml.safe_dump(keys | shared), "utf-8")
    return path


def start(*command: str | Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=environment
    )


def until_a_checkpoint(run: Path, process: subprocess.Popen[str]) -> Path:
    last = run / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return last


def second(process: subprocess.Popen[str]) -> psutil.Process:
    """The second of the processes that one started."""
    children = psutil.Process(process.pid).children()
    return next(child for child in children if child.environ().get("LOCAL_RANK") == "1")


def test_one_that_is_killed_ends_all(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*COMMAND, recipe, "-o", run)
    last = until_a_checkpoint(run, process)
    family = psutil.Process(process.pid).children()
    second(process).kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1] == (
        "error: process 2 of 2 was killed by SIGKILL; the last checkpoint, if there was one, is "
        "whole: continue with --resume"
    )
    assert "Traceback" not in err
    assert out == ""
    assert not any(child.is_running() for child in family)
    assert torch.load(last, weights_only=False)["global_step"] >= 2
    assert json.loads((run / "metrics.jsonl").read_text("utf-8").splitlines()[0])["step"] == 1


@pytest.mark.slow
def test_sigterm_is_passed_on_and_torchrun_resumes(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(*COMMAND, recipe, "-o", run)
    until_a_checkpoint(run, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("stopping at the end of this step") == err.count("interrupted; kept") == 1

    step = torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)["global_step"]
    keys = yaml.safe_load((run / "recipe.yaml").read_text("utf-8")) | {"steps": step + 4}
    (run / "recipe.yaml").write_text(yaml.safe_dump(keys), "utf-8")
    keys = yaml.safe_load(recipe.read_text("utf-8")) | {"steps": step + 4}
    recipe.write_text(yaml.safe_dump(keys), "utf-8")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    resumed = start(*torchrun, *COMMAND, recipe, "-o", run, "--resume")
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert out == f"The model is in {run / 'adapter'}\n"
    assert (run / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_an_adaptation_is_evaluated_by_one(recipe: Path, tmp_path: Path) -> None:
    domain, run = tmp_path / "shop", tmp_path / "run"
    (domain / "test").mkdir(parents=True)
    (domain / "domain.yaml").write_text(
        "name: shop\nvoices: {train: [en-us], test: [en-us]}\n", "utf-8"
    )
    (domain / "text.txt").write_text("Two teas.\nA scone.\nOne tea and a scone.\n", "utf-8")
    (domain / "test" / "text.txt").write_text("A tea.\n", "utf-8")
    keys = yaml.safe_load(recipe.read_text("utf-8")) | {"steps": 3}
    sources = [{"task": "text", "data": "domain"}, {"task": "asr", "data": "domain"}]
    recipe.write_text(yaml.safe_dump(keys | {"sources": sources}), "utf-8")
    adapting = start("-m", "asr_llm.cli", "adapt", domain, "--recipe", recipe, "-o", run)
    out, err = adapting.communicate(timeout=300)
    assert adapting.returncode == 0, err
    assert out.count(f"The adapter is in {run / 'adapter'}") == 1
    assert (run / "report.html").is_file()
    metrics = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in metrics if "lr" in line] == [1]
