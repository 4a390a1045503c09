"""Runs that are killed and resumed: their sources, how they are done, what they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def source(task: str, data: Path, **more: Any) -> dict[str, Any]:
    voices = {"voices": ["en-us+*"]} if task in ("asr", "word_synchronous") else {}
    return {"task": task, "data": str(data)} | voices | more


def carry_out(jobs: list[dict[str, Any]], folder: Path) -> None:
    """Train, kill and resume in a process of its own, see ``training/killed_runs.py``."""
    (folder / "jobs.json").write_text(json.dumps(jobs), "utf-8")
    script = Path(__file__).parent / "training" / "killed_runs.py"
    done = subprocess.run(
        [sys.executable, script, folder / "jobs.json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    files = [*run.glob("adapter/*.safetensors"), *run.glob("model/*.safetensors")]
    return {f"{f.name}: {k}": v for f in files for k, v in load_file(f).items()}


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]


def best(run: Path) -> tuple[int, float] | None:
    path = run / "checkpoints" / "best.ckpt"
    if not path.is_file():
        return None
    saved = torch.load(path, weights_only=False)
    return saved["global_step"], float(saved["val_loss"])
