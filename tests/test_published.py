"""A checkpoint as `nvidia/canary-qwen-2.5b` is published, at a twentieth of its size."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from asr_llm.jobs.adapt import adapt
from asr_llm.jobs.export import export
from asr_llm.model import checkpoints
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.recipe import LoraRecipe, Recipe
from asr_llm.sequences.sources import AsrSource, TextSource
from asr_llm.training import memory

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

sys.path.insert(0, str(Path(__file__).parent))
import canary

CANARY = canary.CANARY
NOISE = np.random.default_rng(0).normal(0, 0.1, 12800).astype("float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Canary-Qwen's folder in a hub cache that is found by name, without a network. Read only."""
    home = tmp_path_factory.mktemp("huggingface")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield canary.write(home, canary.SMALL)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A domain with two sentences and a recording."""
    place = tmp_path_factory.mktemp("domains") / "shop"
    (place / "train").mkdir(parents=True)
    (place / "domain.yaml").write_text("name: shop\n", "utf-8")
    (place / "text.txt").write_text("The kettle is on.\nWe sell tea.\n", "utf-8")
    soundfile.write(place / "train" / "a.wav", NOISE, 16000)
    (place / "train" / "trans.txt").write_text("a.wav\tWe sell tea.\n", "utf-8")
    return place


RECIPE: dict[str, Any] = {
    "model": CANARY,
    "lora": LoraRecipe(r=2, lora_alpha=8),
    "steps": 2,
    "batch_positions": 40,
    "checkpoint_every": 1,
}
TEXT = Recipe(**RECIPE, fusion=0.3, sources=[TextSource(data="domain")])
SPEECH = Recipe(**RECIPE, train=["lora", "projector"], sources=[AsrSource(data="domain")])


@pytest.fixture(scope="module")
def speech(folder: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of speech."""
    adapter = adapt(shop, SPEECH, run=tmp_path_factory.mktemp("runs") / "speech").adapter
    assert adapter is not None
    return adapter


def logits(model: Any) -> torch.Tensor:
    """What a SALM, ours or NeMo's, says to the noise."""
    with torch.no_grad():
        batch = {
            "audios": torch.from_numpy(NOISE)[None],
            "audio_lens": torch.tensor([len(NOISE)]),
            "input_ids": torch.tensor([[5, 6, model.audio_locator_tag_id, 7, 8, 9]]),
            "loss_mask": torch.tensor([[False, False, False, False, True, True]]),
        }
        inputs = model.eval().prepare_inputs(batch)
        found: torch.Tensor = model(inputs["input_embeds"], inputs["attention_mask"])["logits"]
    return found


# The layout -----------------------------------------------------------------------------


def test_at_full_size_it_has_the_published_tensors(tmp_path: Path) -> None:
    """1,686 in bfloat16 and 32 in int64, 5.12 GB, as the hub's header of the file says."""
    (tmp_path / "config.json").write_text(json.dumps(canary.llm_config(canary.FULL)), "utf-8")
    canary.write_tokenizer(tmp_path)
    state = canary.layout(canary.FULL, tmp_path)
    kinds = Counter("BF16" if t.is_floating_point() else "I64" for t in state.values())
    assert kinds == {"BF16": 1686, "I64": 32}
    assert sum(t.numel() * (2 if t.is_floating_point() else 8) for t in state.values()) == (
        pytest.approx(5.12e9, rel=1e-3)
    )
    layer = "llm.base_model.model.model.layers.27"
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert {name: shapes[name] for name in shapes if name.startswith(layer)} == {
        f"{layer}.self_attn.q_proj.base_layer.weight": (2048, 2048),
        f"{layer}.self_attn.q_proj.lora_A.default.weight": (128, 2048),
        f"{layer}.self_attn.q_proj.lora_B.default.weight": (2048, 128),
        f"{layer}.self_attn.k_proj.weight": (1024, 2048),
        f"{layer}.self_attn.v_proj.base_layer.weight": (1024, 2048),
        f"{layer}.self_attn.v_proj.lora_A.default.weight": (128, 2048),
        f"{layer}.self_attn.v_proj.lora_B.default.weight": (1024, 128),
        f"{layer}.self_attn.o_proj.weight": (2048, 2048),
        f"{layer}.self_attn.q_norm.weight": (128,),
        f"{layer}.self_attn.k_norm.weight": (128,),
        f"{layer}.mlp.gate_proj.weight": (6144, 2048),
        f"{layer}.mlp.up_proj.weight": (6144, 2048),
        f"{layer}.mlp.down_proj.weight": (2048, 6144),
        f"{layer}.input_layernorm.weight": (2048,),
        f"{layer}.post_attention_layernorm.weight": (2048,),
    }
    assert shapes["embed_tokens.weight"] == (151936, 2048)
    assert shapes["perception.proj.weight"] == (2048, 1024)
    assert sum(name.startswith("perception.encoder.layers.31.") for name in shapes) == 40
    assert not any("lm_head" in name for name in shapes)


# Loading --------------------------------------------------------------------------------


def test_it_loads_by_its_name_with_every_weight(folder: Path) -> None:
    model = checkpoints.load(CANARY)
    own = model.state_dict()
    with safe_open(folder / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118
            stored = file.get_tensor(name)
            assert own.pop(name).equal(stored.float() if stored.is_floating_point() else stored)
    assert own.keys() == {"llm.base_model.model.lm_head.weight"}
    assert model.causal_lm.lm_head.weight is model.embed_tokens.weight
    assert not any(t.is_meta for t in [*model.parameters(), *model.buffers()])
    assert model.audio_locator_tag_id == canary.LOCATOR_ID


def test_it_says_what_nemo_makes_of_it(folder: Path) -> None:
    """The prompt is that of the model card; the tokens are the same."""
    from nemo.collections.speechlm2.models import SALM

    from asr_llm.decoding.decoder import Decoder
    from asr_llm.decoding.options import DecodeOptions

    ours, theirs = checkpoints.load(CANARY), SALM.from_pretrained(CANARY).eval()
    assert logits(ours).equal(logits(theirs))
    prompt = {"role": "user", "content": f"Transcribe the following: {canary.LOCATOR}"}
    ids = theirs.generate(
        prompts=[[prompt]],
        audios=torch.from_numpy(NOISE)[None],
        audio_lens=torch.tensor([len(NOISE)]),
        max_new_tokens=4,
    )
    options = DecodeOptions(max_new_tokens=4, num_beams=1, drafts=False)
    (done,) = Decoder(ours).decode([NOISE], options)
    assert done.text == " ".join(theirs.tokenizer.tokenizer.decode(ids[0]).split()) != ""


def test_loading_takes_little_more_than_the_weights(folder: Path) -> None:
    model = checkpoints.build(folder)
    before = reset_peak()
    checkpoints.load_weights(model, folder)
    weights = sum(p.nbytes for p in {id(p): p for p in model.parameters()}.values())
    assert peak() - before <= 1.1 * weights


@pytest.mark.slow
def test_so_it_does_at_full_size() -> None:
    """In a process of its own, beside what importing the libraries takes."""
    if memory.available() < 16 * 2**30:
        pytest.skip("needs 16 GiB of free memory")
    script = Path(__file__).parents[1] / "eval" / "real_size.py"
    done = subprocess.run(
        [sys.executable, str(script), "import", "load"], capture_output=True, text=True, check=True
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[-2:]]
    (_, _, libraries), (_, _, loaded) = rows
    weights = 2.56e9 * 4 / 2**30
    assert weights < float(loaded) - float(libraries) + 0.1 <= 1.1 * weights + 0.1


def reset_peak() -> int:
    """Make the kernel's high-water mark the memory of now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in s)
    return int(line.split()[1]) * 1024


# Adapting -------------------------------------------------------------------------------


def test_it_adapts_to_text(folder: Path, shop: Path, tmp_path: Path) -> None:
    adapter = AdapterFolder.read(adapt(shop, TEXT, run=tmp_path / "run").adapter or "")
    assert adapter.base is not None
    assert (adapter.base.name, adapter.base.sha256) == (CANARY, checkpoints.identity(folder))
    assert adapter.fusion == 0.3


def test_resumed_it_ends_as_if_never_stopped(
    folder: Path, shop: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asr_llm.training.fit import Fit

    step = Fit.training_step

    def fails(fit: Fit, batch: Any, index: int) -> Any:
        if index == 1:
            raise OSError("the machine was taken away")
        return step(fit, batch, index)

    monkeypatch.setattr(Fit, "training_step", fails)
    with pytest.raises(OSError, match="taken away"):
        adapt(shop, SPEECH, run=tmp_path / "run")
    monkeypatch.undo()
    again = adapt(shop, SPEECH, run=tmp_path / "run", resume=True).adapter
    assert again is not None
    for name in ("adapter_model.safetensors", "projector.safetensors"):
        one, other = load_file(again / name), load_file(speech / name)
        assert one.keys() == other.keys() != set()
        assert all(one[key].equal(other[key]) for key in one)


# Exporting ------------------------------------------------------------------------------


def adapted(speech: Path) -> SpanSALM:
    from asr_llm.model.adapters import Adapters

    model = checkpoints.load(CANARY)
    Adapters(model, CANARY, [speech])
    return model


def test_merged_it_loads_in_nemo(folder: Path, speech: Path, tmp_path: Path) -> None:
    from nemo.collections.speechlm2.models import SALM

    merged = export(tmp_path / "merged", model=CANARY, adapters=[speech], merge=True)
    with safe_open(merged / "model.safetensors", "pt") as file:
        assert not any(".lora_" in name or ".base_layer." in name for name in file.keys())  # noqa: SIM118
    theirs = SALM.from_pretrained(str(merged))
    assert torch.allclose(logits(theirs), logits(adapted(speech)), atol=1e-4)


def test_the_llm_alone_loads_in_transformers(folder: Path, speech: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = export(tmp_path / "llm", model=CANARY, adapters=[speech], merge=True, llm_only=True)
    llm, ids = AutoModelForCausalLM.from_pretrained(place).eval(), torch.tensor([[5, 6, 7]])
    model = adapted(speech)
    with torch.no_grad():
        expected = model(model.embed_tokens(ids), torch.ones_like(ids))["logits"]
        assert torch.allclose(llm(input_ids=ids).logits, expected, atol=1e-4)
    assert len(AutoTokenizer.from_pretrained(place)) == canary.LOCATOR_ID + 1
