"""New models: what the description says, and the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.errors import RecipeError
from asr_llm.model.checkpoints import identity, load
from asr_llm.model.creation import create


@pytest.fixture
def description(tiny: Path, tmp_path: Path) -> Path:
    """The tiny model's description, to change."""
    path = tmp_path / "model.yaml"
    path.write_text((tiny.parent / "model.yaml").read_text("utf-8"), "utf-8")
    return path


def change(path: Path, old: str, new: str) -> Path:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return path


def test_the_same_seed_makes_the_same_model(description: Path, tiny: Path, tmp_path: Path) -> None:
    create(description, tmp_path / "a", seed=0)
    create(description, tmp_path / "b", seed=1)
    assert identity(tmp_path / "a") == identity(tiny)
    assert identity(tmp_path / "b") != identity(tiny)
    for name in ("tokenizer.json", "config.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tiny / name).read_bytes()


def test_the_model_matches_its_description(tiny: Path) -> None:
    model = load(tiny)
    assert model.text_vocab_size == 300
    assert model.llm.config.num_hidden_layers == 1
    assert model.perception.encoder.d_model == 16
    assert model.token_equivalent_duration == pytest.approx(0.08)
    tokenizer = model.tokenizer.tokenizer
    assert len(tokenizer) == 300
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    text = "Ärzte said: “5 mg”\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vocabulary: 300", "vocabulary: 200", "found 200; expected at least 260"),
        ("vocabulary: 300", "vocabulary: many", r"model\.yaml:1: vocabulary: found 'many'"),
        ("vocabulary: 300", "vocabulary: 300\nvocab: 1", r"model\.yaml:2: vocab: unknown key"),
        ("  d_model: 16\n", "", "can be built.*d_model"),
        ("  hidden_size: 16\n", "", "can be built.*hidden_size"),
        ("  n_layers: 1\n", "  n_layer: 1\n", "can be built.*n_layer"),
        ("subsampling: stacking", "subsampling: piling", "can be built"),
        ("text.txt]", "none.txt]", "tokenizer_text: no file"),
    ],
)
def test_unbuildable_descriptions_are_rejected(
    description: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        create(change(description, old, new), tmp_path / "new", seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["model.yaml"]
