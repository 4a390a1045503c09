"""LoRA adapters: saved, loaded on their base and on no other, merged exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.adapters import Adapters
from asr_llm.recipe import LoraRecipe

if TYPE_CHECKING:
    import torch

    from asr_llm.model.salm import SpanSALM

RECIPE = LoraRecipe(r=2, lora_alpha=8)


def said(model: SpanSALM) -> torch.Tensor:
    """Logits (1, 6, V) for a few tokens."""
    import torch

    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    with torch.no_grad():
        logits: torch.Tensor = model(model.embed_tokens(ids), torch.ones_like(ids))["logits"]
    return logits


def train(model: SpanSALM, seed: int = 0) -> None:
    """As if trained: B is zero at first, and so is what the adapter does."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3, generator=generator)


@pytest.fixture
def adapted(tiny: Path) -> SpanSALM:
    model = checkpoints.load(tiny)
    lora.install(model, RECIPE)
    train(model)
    return model.eval()


@pytest.fixture
def saved(adapted: SpanSALM, tiny: Path, tmp_path: Path) -> Path:
    lora.save(adapted, tmp_path / "adapter", tiny)
    return tmp_path / "adapter"


def test_a_fresh_adapter_changes_nothing_a_trained_one_does(tiny: Path) -> None:
    model = checkpoints.load(tiny)
    before = said(model)
    lora.install(model, RECIPE)
    assert said(model.eval()).equal(before)
    train(model)
    assert (said(model) - before).abs().max() > 0.01


def test_an_adapter_saved_and_loaded_says_the_same(
    adapted: SpanSALM, saved: Path, tiny: Path
) -> None:
    model = checkpoints.load(tiny)
    lora.load(model, saved, tiny)
    assert said(model).equal(said(adapted))
    assert not any(module.training for module in model.modules())


def test_the_folder_is_pefts_with_the_base_named(saved: Path, tiny: Path) -> None:
    assert {"adapter_config.json", "adapter_model.safetensors", "base.json"} <= {
        p.name for p in saved.iterdir()
    }
    record = AdapterFolder.read(saved).base
    assert record is not None
    assert (record.name, record.sha256) == (str(tiny), checkpoints.identity(tiny))
    assert f"LoRA on the LLM of `{tiny}`" in (saved / "README.md").read_text("utf-8")
    config = json.loads((saved / "adapter_config.json").read_text("utf-8"))
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (2, 8, "LORA")
    assert config["base_model_name_or_path"] == str(tiny)


def test_plain_peft_loads_it_onto_the_llm(adapted: SpanSALM, saved: Path, tiny: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ours = checkpoints.load(tiny)
    config = tiny / "llm_backbone"
    llm = AutoModelForCausalLM.from_config(ours.llm.config.from_pretrained(config))
    weights = {k.removeprefix("llm."): v for k, v in ours.state_dict().items() if "llm." in k}
    weights["model.embed_tokens.weight"] = ours.embed_tokens.weight
    llm.load_state_dict(weights)
    peft = PeftModel.from_pretrained(llm, str(saved)).eval()
    with torch.no_grad():
        logits = peft(input_ids=torch.tensor([[5, 6, 7, 8, 9, 10]])).logits
    assert torch.allclose(logits, said(adapted), atol=1e-6)


def test_merging_is_exact_and_idempotent(adapted: SpanSALM) -> None:
    import torch

    before = said(adapted)
    lora.merge(adapted)
    merged = said(adapted)
    assert torch.allclose(merged, before, atol=1e-5)
    weights = {k: v.clone() for k, v in adapted.state_dict().items()}
    assert not any("lora" in name for name in weights)
    lora.merge(adapted)
    assert said(adapted).equal(merged)
    assert all(v.equal(weights[k]) for k, v in adapted.state_dict().items())


def test_a_merged_model_is_a_plain_checkpoint(
    adapted: SpanSALM, tiny: Path, tmp_path: Path
) -> None:
    import torch
    from nemo.collections.speechlm2.models import SALM

    expected = said(adapted)
    with pytest.raises(CheckpointError, match="has an adapter on it"):
        checkpoints.save(adapted, tmp_path / "merged", card="")
    lora.merge(adapted)
    checkpoints.save(adapted, tmp_path / "merged", card="")
    for load in (checkpoints.load, SALM.from_pretrained):
        model: Any = load(str(tmp_path / "merged"))
        assert model.state_dict().keys() == checkpoints.load(tiny).state_dict().keys()
        assert torch.allclose(said(model.eval()), expected, atol=1e-5)


def test_the_projector_is_saved_when_it_was_trained(
    adapted: SpanSALM, tiny: Path, tmp_path: Path
) -> None:
    import torch

    torch.nn.init.normal_(adapted.perception.proj.weight)
    lora.save(adapted, tmp_path / "with", tiny, projector=True)
    lora.save(adapted, tmp_path / "without", tiny)
    assert not (tmp_path / "without" / "projector.safetensors").exists()
    base, model = checkpoints.load(tiny), checkpoints.load(tiny)
    Adapters(model, tiny, [tmp_path / "with"])
    assert model.perception.proj.weight.equal(adapted.perception.proj.weight)
    Adapters(base, tiny, [tmp_path / "without"])
    assert not base.perception.proj.weight.equal(adapted.perception.proj.weight)
    for path in (tmp_path / "with").glob("*.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o644


# What is refused -------------------------------------------------------------------------


def refusal(folder: Path, base: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        lora.load(checkpoints.load(base), folder, base)
    return str(caught.value)


def test_another_base_is_refused(saved: Path, tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["perception.proj.bias"] += 1
    save_file(weights, other / "model.safetensors")
    message = refusal(saved, other)
    assert f"was trained on {tiny} (weights {checkpoints.identity(tiny)[:12]}…)" in message
    assert f"not on {other} (weights {checkpoints.identity(other)[:12]}…)" in message


def test_the_same_weights_in_another_place_are_the_same_base(
    saved: Path, tiny: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(tiny, tmp_path / "moved"))
    lora.load(checkpoints.load(moved), saved, moved)


def test_an_untrained_adapter_is_not_saved(tiny: Path, tmp_path: Path) -> None:
    model = checkpoints.load(tiny)
    lora.install(model, RECIPE)
    with pytest.raises(CheckpointError, match="is all zeros"):
        lora.save(model, tmp_path / "zeros", tiny)
    assert not (tmp_path / "zeros").exists()


def test_an_adapter_of_zeros_is_not_loaded(saved: Path, tiny: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = saved / "adapter_model.safetensors"
    zeros = {k: v * (0 if "lora_B" in k else 1) for k, v in load_file(path).items()}
    save_file(zeros, path)
    assert "is all zeros" in refusal(saved, tiny)


def test_an_adapter_that_lacks_tensors_is_not_loaded(saved: Path, tiny: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = saved / "adapter_model.safetensors"
    kept = {k: v for k, v in load_file(path).items() if "q_proj" not in k}
    save_file(kept, path)
    message = refusal(saved, tiny)
    assert "2 tensors missing, 0 unexpected, such as" in message
    assert "q_proj" in message


def test_an_adapter_of_another_shape(saved: Path, tiny: Path) -> None:
    path = saved / "adapter_config.json"
    config = json.loads(path.read_text("utf-8")) | {"r": 3}
    path.write_text(json.dumps(config), "utf-8")
    message = refusal(saved, tiny)
    assert f"{saved} does not fit {tiny}: RuntimeError: " in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_no_adapter(saved: Path, tiny: Path, name: str) -> None:
    (saved / name).unlink()
    assert f"is not an adapter: it has no {name}; expected a folder such as" in refusal(saved, tiny)


def test_the_run_folder_or_a_file_in_place_of_the_adapter(saved: Path, tiny: Path) -> None:
    assert f"did you mean {saved}?" in refusal(saved.parent, tiny)
    assert "a file is there" in refusal(saved / "base.json", tiny)
    assert "nothing is there" in refusal(saved / "none", tiny)


def test_weights_cut_short(saved: Path, tiny: Path) -> None:
    path = saved / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    assert f"{path} cannot be read" in refusal(saved, tiny)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "mini", "fusion": "a"}'])
def test_an_unreadable_record_of_the_base(saved: Path, tiny: Path, text: str) -> None:
    (saved / "base.json").write_text(text, "utf-8")
    assert "expected name and sha256 of the base model" in refusal(saved, tiny)


def test_an_adapter_of_pefts_own_has_no_record(saved: Path, tiny: Path) -> None:
    from safetensors.torch import load_file, save_file

    (saved / "base.json").unlink()
    weights = saved / "adapter_model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt"})
    assert AdapterFolder.read(saved).base is None
    lora.load(checkpoints.load(tiny), saved, tiny)


def test_an_unknown_target_module(tiny: Path) -> None:
    model = checkpoints.load(tiny)
    with pytest.raises(CheckpointError) as caught:
        lora.install(model, LoraRecipe(target_modules=["q_proj", "qkv"]))
    assert "names 'qkv', which this LLM does not have; expected some of down_proj, " in str(
        caught.value
    )


# A checkpoint that came with a LoRA, as canary-qwen ------------------------------------


@pytest.fixture
def canary(tiny: Path, tmp_path: Path) -> Path:
    """As NeMo trains and saves it: the LoRA in the config, its weights in the state dict."""
    from nemo.collections.speechlm2.models import SALM

    config = json.loads((tiny / "config.json").read_text("utf-8"))
    config |= {
        "pretrained_llm": str(tiny / "llm_backbone"),
        "tokenizer_path": str(tiny),
        "pretrained_weights": False,
        "prevent_freeze_params": [],
        "lora": {
            "task_type": "CAUSAL_LM",
            "r": 4,
            "lora_alpha": 16,
            "lora_dropout": 0.1,
            "target_modules": ["q_proj", "v_proj"],
        },
    }
    model = SALM(config)
    train(model, seed=5)
    model.save_pretrained(tmp_path / "canary")
    for path in tiny.glob("tokenizer*"):
        shutil.copy(path, tmp_path / "canary")
    shutil.copytree(tiny / "llm_backbone", tmp_path / "canary" / "llm_backbone")
    return tmp_path / "canary"


def test_a_checkpoint_with_a_lora_loads_and_is_saved_again(canary: Path, tmp_path: Path) -> None:
    from nemo.collections.speechlm2.models import SALM

    model, theirs = checkpoints.load(canary), SALM.from_pretrained(str(canary)).eval()
    assert any(k.startswith("llm.base_model.model.model.layers.0") for k in model.state_dict())
    assert said(model).equal(said(theirs))
    checkpoints.save(model, tmp_path / "again", card="")
    assert said(checkpoints.load(tmp_path / "again")).equal(said(model))


def test_its_lora_is_merged_before_another_is_installed(canary: Path, tmp_path: Path) -> None:
    import torch

    model = checkpoints.load(canary)
    before = said(model)
    lora.install(model, RECIPE)
    assert "lora" not in model.cfg
    names = [n for n, _ in model.named_parameters() if "lora_A" in n]
    assert len(names) == 7  # one for each target module of the one layer: the new one's alone
    assert torch.allclose(said(model.eval()), before, atol=1e-5)

    train(model)
    lora.save(model, tmp_path / "domain", canary)
    again = checkpoints.load(canary)
    lora.load(again, tmp_path / "domain", canary)
    assert torch.allclose(said(again), said(model), atol=1e-5)
    lora.merge(again)
    checkpoints.save(again, tmp_path / "merged", card="")
    assert torch.allclose(said(checkpoints.load(tmp_path / "merged")), said(model), atol=1e-5)


def test_without_the_domains_adapter_it_is_as_it_came(canary: Path, tmp_path: Path) -> None:
    """Its own LoRA stays in, merged, when the domain's is put aside."""
    import torch

    model = checkpoints.load(canary)
    before = said(model)
    lora.install(model, RECIPE)
    train(model)
    lora.save(model, tmp_path / "domain", canary)
    again = checkpoints.load(canary)
    adapters = Adapters(again, canary, [tmp_path / "domain"])
    assert torch.allclose(said(again), said(model.eval()), atol=1e-5)
    adapters.use()
    assert torch.allclose(said(again), before, atol=1e-5)
    assert (said(again) - said(model)).abs().max() > 0.01
