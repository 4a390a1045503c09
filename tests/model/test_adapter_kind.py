"""An adapter keeps its kind wherever it is copied; those of other kinds are refused in a line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import CheckpointError
from asr_llm.model import adapter_kind, checkpoints, lora
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.adapters import Adapters, fusion_weights
from asr_llm.recipe import LoraRecipe


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of the tiny base: of speech, of text, and of text with a list. Read only."""
    place = tmp_path_factory.mktemp("adapters")
    model = checkpoints.load(tiny)
    lora.install(model, LoraRecipe(r=2, lora_alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.3)
    lora.save(model, place / "speech", tiny)
    lora.save(model, place / "text", tiny, fusion=0.5)
    lora.save(model, place / "listed", tiny, fusion=0.5, biasing=BiasingList(("metformin",), 2.0))
    return place


def bare(made: Path, name: str, place: Path) -> Path:
    """What PEFT's tools and uploads take along."""
    (place / name).mkdir()
    for file in (adapter_kind.CONFIG, adapter_kind.WEIGHTS):
        shutil.copy(made / name / file, place / name / file)
    return place / name


def test_the_kind_survives_without_its_record(made: Path, tiny: Path, tmp_path: Path) -> None:
    for name, weight in (("speech", None), ("text", 0.5)):
        folder = bare(made, name, tmp_path)
        found, whole = AdapterFolder.read(folder), AdapterFolder.read(made / name)
        assert (found.base, found.fusion, found.kind) == (whole.base, whole.fusion, whole.kind)
        assert fusion_weights([found]) == [weight]
        model = checkpoints.load(tiny)
        assert Adapters(model, tiny, [folder]).loaded[name].folder.fusion == weight


def test_the_base_is_still_known(made: Path, other_tiny: Path, tmp_path: Path) -> None:
    folder = bare(made, "text", tmp_path)
    with pytest.raises(CheckpointError, match=r"was trained on .* not on"):
        lora.load(checkpoints.load(other_tiny), folder, other_tiny)


def test_a_base_under_another_name_is_the_same(made: Path, tiny: Path, tmp_path: Path) -> None:
    renamed = shutil.copytree(tiny, tmp_path / "renamed")
    lora.load(checkpoints.load(renamed), bare(made, "text", tmp_path), renamed)


def test_a_list_that_was_left_behind_is_missed(made: Path, tmp_path: Path) -> None:
    folder = bare(made, "listed", tmp_path)
    with pytest.raises(CheckpointError, match=r"biasing_list.txt.*copy it again, or do without"):
        AdapterFolder.read(folder)
    (folder / lora.BASE).write_text('{"biasing": null}')
    assert AdapterFolder.read(folder).biasing is None
    assert AdapterFolder.read(folder).fusion == 0.5
    (folder / lora.BASE).unlink()
    shutil.copy(made / "listed" / lora.BIASING, folder)
    assert AdapterFolder.read(folder).biasing == BiasingList(("metformin",), 2.0)


def test_the_record_takes_precedence_over_metadata(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "text", tmp_path / "a"))
    record = json.loads((folder / lora.BASE).read_text())
    (folder / lora.BASE).write_text(json.dumps(record | {"fusion": 0.25}))
    assert AdapterFolder.read(folder).fusion == 0.25
    del record["fusion"]  # the record of another adapter makes it no other kind
    (folder / lora.BASE).write_text(json.dumps(record))
    assert AdapterFolder.read(folder).fusion == 0.5


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / adapter_kind.CONFIG).read_text())
        (folder / adapter_kind.CONFIG).write_text(json.dumps(config | changes))

    return change


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (configured(peft_type="PROMPT_TUNING"), "an adapter of the kind PROMPT_TUNING; expected"),
        (configured(peft_type="IA3"), "an adapter of the kind IA3; expected LoRA"),
        (configured(peft_type=None), "an adapter of the kind None"),
        (configured(use_dora=True), r"is DoRA \(use_dora in adapter_config.json\); expected LoRA"),
        (configured(megatron_config={"a": 1}, megatron_core="os"), "is LoRA of Megatron"),
        (configured(r=10**9), "tells of a rank of 1000000000, its weights of 2"),
        (configured(r="2"), "tells of a rank of 2"),
        (configured(rank_pattern={"q_proj": 10**9}), "tells of a rank of 1000000000"),
        (written(adapter_kind.WEIGHTS, POINTER), "is a Git LFS pointer.*git lfs pull"),
        (written(adapter_kind.CONFIG, POINTER), "is a Git LFS pointer"),
        (written("projector.safetensors", POINTER), "is a Git LFS pointer"),
        (written(adapter_kind.CONFIG, b"[1]"), "found no JSON object"),
        (written(adapter_kind.CONFIG, b"\xff\xfe"), "cannot be read"),
        (written(adapter_kind.CONFIG, b"[" * 100_000), "cannot be read"),
        (written(adapter_kind.WEIGHTS, b""), "cannot be read .*copy it again"),
        (written(adapter_kind.WEIGHTS, b"\xff" * 8 + b"{}"), "cannot be read"),
        (written(adapter_kind.WEIGHTS, b"\x80\x04pickled"), "cannot be read"),
    ],
)
def test_others_are_refused_in_a_line(
    made: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    folder = Path(shutil.copytree(made / "speech", tmp_path / "a"))
    change(folder)
    with pytest.raises(CheckpointError, match=message) as error:
        AdapterFolder.read(folder)  # before a model is loaded
    assert "\n" not in str(error.value)


def test_metadata_that_is_none_of_ours(made: Path, tmp_path: Path) -> None:
    folder = bare(made, "speech", tmp_path)
    tensors = load_file(folder / adapter_kind.WEIGHTS)
    save_file(tensors, folder / adapter_kind.WEIGHTS, metadata={"format": "pt"})
    assert AdapterFolder.read(folder).base is None  # PEFT alone wrote it
    for said in ("[]", "{", '{"fusion": -1, "name": "a", "sha256": "b"}', '{"fusion": 0.5}'):
        save_file(tensors, folder / adapter_kind.WEIGHTS, metadata={"asr_llm": said})
        with pytest.raises(CheckpointError):
            AdapterFolder.read(folder)
