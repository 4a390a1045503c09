"""The drivers that compare recipes: what they run, keep, and take from their record."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asr_llm.recipe import Recipe

ROOT = Path(__file__).parents[1]


def _load(path: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


driver = _load("adapt/small/compare.py", "compare_pretraining")
record = sys.modules["record"]
FIGURES = {
    "WER readers": 20.0,
    "T2T": 60.0,
    "S2T": 50.0,
    "gap": -10.0,
    "I-T": 30.0,
    "minutes": 1.0,
}
"""Without I-S, as a row of the record may lack a column that came later."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the driver; training and measuring are counted, not done."""
    trained: list[tuple[str, int]] = []
    (tmp_path / "start").mkdir()
    monkeypatch.setattr(
        driver.pretrain,
        "pretrain",
        lambda recipe, run, **_: trained.append((run.name, recipe.seed)),
    )
    monkeypatch.setattr(driver, "measured", lambda *_: FIGURES)
    monkeypatch.setattr(record, "locate", Path)
    monkeypatch.setattr(record, "identity", lambda place: "0123456789abcdef" * 4)

    def main(*words: str) -> list[tuple[str, int]]:
        given = ["--readers", "unread", "--out", str(tmp_path), *words]
        monkeypatch.setattr(sys, "argv", ["compare.py", *given])
        trained.clear()
        driver.main()
        return list(trained)

    return main


def test_each_row_is_a_valid_mix_with_transcription_in_it() -> None:
    rows = dict(record.recipes(ROOT / "adapt/small/compare.yaml", None))
    assert len(rows) == 8
    assert all(recipe.sources[0].task == "asr" for recipe in rows.values())
    assert {recipe.steps for recipe in rows.values()} == {rows["ASR only"].steps}
    assert [source.task for source in rows["ASR only"].sources] == ["asr"]


def test_a_row_is_trained_once_per_seed_and_then_taken_from_the_record(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = str(tmp_path / "record.jsonl")
    words = ("--rows", "ASR only", "--seeds", "1", "2", "--record", kept)
    assert run(*words) == [("asr-only-1", 1), ("asr-only-2", 2)]
    capsys.readouterr()
    assert run(*words) == []
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "| ASR only | 20.0 | 60.0 | 50.0 | -10.0 | 30.0 |  | 1.0 |"
    )
    assert run(*words, "--steps", "7") == [("asr-only-1", 1), ("asr-only-2", 2)]
    rows = [json.loads(line) for line in Path(kept).read_text("utf-8").splitlines()]
    assert [row["recipe"]["seed"] for row in rows] == [1, 2, 1, 2]
    assert all(row["base"] == "0123456789abcdef" and row["domain"] == "pretraining" for row in rows)


def test_an_unknown_row_is_refused_with_the_known_ones(run: Any) -> None:
    with pytest.raises(SystemExit, match=r"no row 'ASR'; expected one of: ASR only, ASR . text,"):
        run("--rows", "ASR")


def test_a_record_tells_the_data_and_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "locate", Path)
    monkeypatch.setattr(record, "identity", lambda place: "f" * 64)
    data = tmp_path / "text.txt"
    data.write_text("One sentence.\n", "utf-8")
    source = {"task": "text", "data": str(data)}
    recipe = Recipe.model_validate({"model": "m", "sources": [source]})
    book = record.Record(tmp_path / "kept.jsonl", "pretraining")
    assert book.trained("row", recipe) is None
    book.add("row", recipe, FIGURES)
    (row,) = record.Record(tmp_path / "kept.jsonl", "pretraining").rows
    # sha256sum text.txt
    assert row["data"] == {str(data): "faba6643d36813ea"}
    assert "commit" in row and row["figures"] == FIGURES
    assert book.trained("row", recipe.override(seed=2)) is None
    assert book.trained("another", recipe) is None
    assert book.trained("row", recipe) == FIGURES


def test_the_spread_of_one_two_and_three_figures() -> None:
    assert record.spread([5.0]) == "5.0"
    assert record.spread([5.0, 7.0]) == "6.0 (5.0 to 7.0)"
    # Deviation 1, so 4.303 / sqrt(3) = 2.48: Student's t for two degrees of freedom.
    assert record.spread([5.0, 6.0, 7.0]) == "6.0 ± 2.5"


def test_changes_are_paired_by_seed() -> None:
    first = [{"WER": 30.0, "S2T": 40.0}, {"WER": 40.0, "S2T": 38.0}, {"WER": 35.0}]
    found = [{"WER": 35.0, "S2T": 40.0}, {"WER": 46.0, "S2T": 37.0}, {"WER": 42.0, "S2T": 30.0}]
    # 5, 6 and 7 points, though each row's own spread is 10 points and more; S2T of two seeds.
    told = "| mixed, change | 6.0 ± 2.5 | -0.5 (-1.0 to 0.0) |  |"
    assert record.difference("mixed", found, first, ["WER", "S2T"]) == told


def test_several_seeds_print_changes(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("--rows", "ASR only", "ASR + text", "--seeds", "1", "2")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "| ASR + text, change | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 |  |  |"


def test_domains_and_orders_are_columns_of_their_own(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--rows", "ASR only", "--domains", "domains/legal", "some/books", "--data", "unread")
    header = (
        "| sources | WER readers | T2T | S2T | gap | I-T | I-S | EER legal | EER books | orders"
    )
    assert f"{header} | minutes |" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("I'd like a Latte, please, with a little bit of brown sugar.", 2),
        ("Two lattes with brown sugar.", 0),  # neither is said word for word
        ("", 0),
    ],
)
def test_values_of_an_order_count_word_for_word(text: str, count: int) -> None:
    slots = ("latte", "a little bit of brown sugar")
    assert driver.slots_found(slots, text) == count
