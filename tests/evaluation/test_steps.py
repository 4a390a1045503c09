"""The record of what each step gained, and its chart."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "eval"))
steps = importlib.import_module("steps")


def system(missed: float, errors: float) -> dict[str, Any]:
    interval = {"low": 0.1, "high": 0.5}
    return {
        "entities": {"raw": {"eer": missed, "mentions": 40, "false_insertions": 1, **interval}},
        "wer": {"normalized": {"rate": errors, **interval}},
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    scores = {
        "systems": {"base": system(0.4, 0.2), "adapted": system(0.25, 0.15)},
        "general": {"base": system(0, 0.05), "adapted": system(0, 0.0512)},
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run/scores.json").write_text(json.dumps(scores), "utf-8")
    lines = '{"step": 1, "seconds": 40.0}\n{"step": 2, "seconds": 130.0}\n'
    (tmp_path / "run/metrics.jsonl").write_text(lines, "utf-8")
    return tmp_path / "run"


def main(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["steps.py", *words])
    steps.main()


def test_the_first_step_brings_the_base_and_the_same_again_replaces_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.jsonl"
    main(monkeypatch, str(record), "--add", "text", str(run))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| base | 40.0 (10.0 to 50.0) | 20.0 (10.0 to 50.0) | 5.0 (10.0 to 50.0) |  |"
    )
    assert lines[3] == (
        "| text | 25.0 (10.0 to 50.0) | 15.0 (10.0 to 50.0) | 5.1 (10.0 to 50.0) | 2 |"
    )
    (run / "metrics.jsonl").unlink()  # as in the folder of `asr-llm evaluate`
    main(monkeypatch, str(record), "--add", "text", str(run))
    rows = [json.loads(line) for line in record.read_text("utf-8").splitlines()]
    assert [(row["step"], row["minutes"]) for row in rows] == [("base", None), ("text", None)]


def test_the_chart_is_text_in_the_readers_colours_and_the_same_each_time(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the docs extra is not installed")
    record, drawn = str(tmp_path / "record.jsonl"), tmp_path / "chart.svg"
    main(monkeypatch, record, "--add", "text & list", str(run), "-o", str(drawn))
    first = drawn.read_bytes()
    main(monkeypatch, record, "-o", str(drawn))
    assert drawn.read_bytes() == first
    root = ElementTree.fromstring(first)
    written = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"base", "text & list", *steps.PANELS.values()} <= written
    text = first.decode()
    assert "prefers-color-scheme:dark" in text and "var(--c1)" in text
    assert not any(colour in text for colour in steps.COLOURS)
