"""A domain of orders, from recordings that have slots in place of transcripts."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from asr_llm.corpus.domain.folder import Domain

sys.path.insert(0, str(Path(__file__).parents[1] / "adapt"))
order_domain = importlib.import_module("order_domain")

ROWS = [{"coffeeDrink": "flat white", "size": "tiny"}, {"coffeeDrink": "flat white"}]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    speech, text = tmp_path / "speech/coffee-orders", tmp_path / "text/coffee-orders"
    speech.mkdir(parents=True)
    text.mkdir(parents=True)
    lines = "".join(json.dumps({"text": "", "slots": row}) + "\n" for row in ROWS)
    (speech / "manifest.jsonl").write_text(lines, "utf-8")
    orders = [f"bring me {count} tiny flat whites" for count in range(100)]
    (text / "corpus.txt").write_text("\n".join([*orders, orders[0]]), "utf-8")
    return tmp_path


def test_the_menu_becomes_terms_and_each_order_goes_to_one_part(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "orders"
    monkeypatch.setattr(sys, "argv", ["order_domain.py", "--data", str(data), "--out", str(out)])
    order_domain.main()
    domain = Domain.load(out)
    terms = {label: [term.text for term in found] for label, found in domain.terms().items()}
    assert terms == {"DRINK": ["flat white"], "SIZE": ["tiny"]}
    lines = [
        (out / part / "text.txt").read_text("utf-8").splitlines() for part in (".", "dev", "test")
    ]
    assert [len(part) for part in lines] == [20, 40, 40]
    assert len({line for part in lines for line in part}) == 100
    assert all(line.startswith("Bring me") and line.endswith(".") for line in lines[0])
