"""The script for a first GPU: its dry run, and what becomes of steps that fail."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "eval" / "gpu.py"
MAY_FAIL = {"generate-beams-static", "generate-beams-compiled", "generate-greedy-compiled"}
"""Where transformers and the machine's compiler decide."""


@pytest.fixture(scope="module")
def gpu() -> Any:
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(gpu: Any, tmp_path: Path) -> Any:
    return gpu.Here("cpu", True, tmp_path)


def test_a_step_that_fails_keeps_what_it_found(
    gpu: Any, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(_: Any) -> Any:
        yield "before", 2.0, "s"
        raise ModuleNotFoundError("No module named 'nemo'", name="nemo")

    def broken(_: Any) -> Any:
        yield from ()
        raise RuntimeError("CUDA error: no kernel image\nand so on")

    monkeypatch.setitem(gpu.STEPS, "lacking", lacking)
    monkeypatch.setitem(gpu.STEPS, "broken", broken)
    rows = gpu.run_step("lacking", here) + gpu.run_step("broken", here)
    assert gpu.markdown(rows).splitlines()[2:] == [
        "| lacking | before | 2 s |",
        "| lacking |  | failed: nemo is not installed |",
        "| broken |  | failed: RuntimeError: CUDA error: no kernel image |",
    ]


def test_a_step_that_crashes_or_hangs(gpu: Any, here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.sys, "executable", "/bin/false")
    (row,) = gpu.isolated("matmul", here, 1.0)
    assert row.failed == "ended with 1: it said nothing"
    sleeper = here.home / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(sleeper))
    (row,) = gpu.isolated("matmul", here, 0.01)
    assert row.failed == "not done after 0.01 minutes"


def test_an_unknown_step() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "speed"], capture_output=True, text=True)
    assert done.returncode == 2 and "no step speed; expected environment" in done.stderr


@pytest.mark.slow
def test_the_dry_run(gpu: Any, tmp_path: Path) -> None:
    """All steps, on a twentieth of the parameters; a GPU, if any, is left alone."""
    done = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            "--on-cpu",
            "--out",
            tmp_path / "out",
            "--home",
            tmp_path / "home",
        ],
        capture_output=True,
        text=True,
    )
    found = json.loads((tmp_path / "out" / "gpu.json").read_text("utf-8"))
    assert found["dry_run"] and found["device"] == "cpu"
    rows = found["rows"]
    assert {row["step"] for row in rows} == {*gpu.STEPS}
    failed = {row["step"]: row["failed"] for row in rows if row["failed"]}
    assert failed.keys() <= MAY_FAIL, (failed, done.stderr)
    assert done.returncode == bool(failed)
    values = {(row["step"], row["what"]): row["value"] for row in rows}
    assert values["texts", "as on the CPU, float32, 4 beams"] == "3 of 3"
    for step in ("speed-nemo", "speed-ours", "generate-greedy", "generate-greedy-static"):
        assert values[step, "speed"] > 0
    for step in ("train-ours", "train-nemo"):
        (mfu,) = (values[key] for key in values if key[0] == step and key[1].endswith("MFU"))
        assert mfu > 0
    table = (tmp_path / "out" / "gpu.md").read_text("utf-8")
    assert table.startswith("Dry run") and table.count("\n| ") == len(rows) + 1
    assert done.stdout == table
