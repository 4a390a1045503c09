"""Exported checkpoints say what base and adapter said, load in other tools, and adapt again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.domain.folder import create
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import AsrLlmError, CheckpointError, RunError
from asr_llm.jobs.export import export
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.adapters import Adapters
from asr_llm.recipe import LoraRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM

AUDIOS = [
    np.random.default_rng(i).normal(0, 0.1, n).astype("float32")
    for i, n in enumerate((16000, 9000, 24000))
]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_llm.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)


@pytest.fixture(scope="module")
def base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `mini`: with a CTC head, text to replay, and a card."""
    folder = tmp_path_factory.mktemp("base") / "model"
    model = checkpoints.load(tiny)
    model.add_ctc_head()
    card = "---\nlicense: mit\n---\n\n# A tiny model\n\nIt hears nothing.\n"
    checkpoints.save(model, folder, card)
    create(folder / "replay", "general")
    return folder


def make(base: Path, folder: Path, seed: int, fusion: float | None = None, **more: Any) -> Path:
    """A random adapter that does something."""
    import torch

    model = checkpoints.load(base)
    torch.manual_seed(seed)
    lora.install(model, LoraRecipe(r=2, lora_alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "perception.proj.weight" in name:
            parameter.data.normal_(0, 1.0)
    lora.save(model, folder, base, fusion=fusion, **more)
    return folder


@pytest.fixture(scope="module")
def speech(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of speech, with a projector."""
    folder = tmp_path_factory.mktemp("runs") / "clinic" / "adapter"
    return make(base, folder, 1, projector=True, biasing=BiasingList(("uvula",), 2.5))


@pytest.fixture(scope="module")
def merged(base: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("merged")
    asked = ("--model", base, "--adapter", speech, "--merge", "-o", "m", "--debug")
    done = run(*asked[-1:], "export", *asked[:-1], cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"The model is in m\nNot included: the biasing list of {speech}. Use --biasing-list "
        f"{speech}/biasing_list.txt\nTranscribe with it:  asr-llm transcribe AUDIO --model m\n"
    )
    return place / "m"


def texts(model: SpanSALM, beams: int) -> list[str]:
    from asr_llm.decoding.decoder import Decoder
    from asr_llm.decoding.options import DecodeOptions

    options = DecodeOptions(max_new_tokens=12, num_beams=beams)
    return [one.text for one in Decoder(model).decode(AUDIOS, options)]


def logits(model: Any) -> Tensor:
    """What a SALM, ours or NeMo's, says to a second of noise."""
    import torch

    audio = torch.from_numpy(AUDIOS[0][: 12 * 1280])[None]
    with torch.no_grad():
        batch = {
            "audios": audio,
            "audio_lens": torch.tensor([audio.shape[1]]),
            "input_ids": torch.tensor([[5, 6, model.audio_locator_tag_id, 7, 8, 9]]),
            "loss_mask": torch.tensor([[False, False, False, False, True, True]]),
        }
        inputs = model.eval().prepare_inputs(batch)
        found: Tensor = model(inputs["input_embeds"], inputs["attention_mask"])["logits"]
    return found


def test_merged_model_equals_base_plus_adapter(base: Path, speech: Path, merged: Path) -> None:
    import torch
    from nemo.collections.speechlm2.models import SALM

    adapted = checkpoints.load(base)
    adapters = Adapters(adapted, base, [speech])
    ours, theirs = checkpoints.load(merged), SALM.from_pretrained(str(merged))
    for beams in (1, 4):
        assert texts(ours, beams) == texts(adapted, beams)
    for model in (ours, theirs):
        assert torch.allclose(logits(model), logits(adapted), atol=1e-4)
    before = logits(adapted)
    adapters.use()
    assert (logits(adapted) - before).abs().max() > 0.01


def test_it_is_peft_that_it_equals(base: Path, speech: Path, merged: Path) -> None:
    """Not merged at all: PEFT's own layers, as they were trained."""
    import torch

    model = checkpoints.load(base)
    projector = lora.load(model, speech, base)
    assert projector is not None
    model.perception.proj.load_state_dict(projector)
    assert any("lora_A" in name for name in model.state_dict())
    assert torch.allclose(logits(model), logits(checkpoints.load(merged)), atol=1e-4)
    assert texts(model, 1) == texts(checkpoints.load(merged), 1)


def test_it_has_all_that_the_base_has(base: Path, merged: Path, speech: Path) -> None:
    own = {str(path.relative_to(merged)) for path in merged.rglob("*")}
    assert own == {str(path.relative_to(base)) for path in base.rglob("*")}
    assert (merged / "replay" / "text.txt").read_text() == (base / "replay/text.txt").read_text()
    head, expected = checkpoints.load(merged).ctc_head, checkpoints.load(base).ctc_head
    assert head is not None and expected is not None
    assert head.weight.equal(expected.weight)
    for path in merged.glob("*.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o644


def test_the_card_says_what_was_merged(base: Path, merged: Path, speech: Path) -> None:
    card = (merged / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: mit\n---\n\n# model + clinic\n")
    assert f"- `model`, weights {checkpoints.identity(base)}\n" in card
    assert str(base.parent) not in card
    adapter = checkpoints.sha256(speech / "adapter_model.safetensors")
    assert f"- adapter `clinic`, weights {adapter}\n" in card
    assert card.endswith("# A tiny model\n\nIt hears nothing.\n")


def test_several_adapters_are_merged_as_they_add_up(
    base: Path, speech: Path, tmp_path: Path
) -> None:
    folders = [speech, make(base, tmp_path / "other", 2)]
    model = checkpoints.load(base)
    Adapters(model, base, folders)
    export(tmp_path / "both", model=str(base), adapters=folders, merge=True)
    assert logits(checkpoints.load(tmp_path / "both")).equal(logits(model))
    title = "# model + clinic + other\n"
    assert title in (tmp_path / "both" / "README.md").read_text("utf-8")


def test_hugging_face_loads_the_llm(base: Path, speech: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asked = ("--model", base, "--adapter", speech, "--merge", "--llm-only", "-o", tmp_path / "llm")
    done = run("export", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"The LLM is in {tmp_path / 'llm'}\nNot included: ")
    model = checkpoints.load(base)
    Adapters(model, base, [speech])
    llm = AutoModelForCausalLM.from_pretrained(tmp_path / "llm").eval()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    with torch.no_grad():
        expected = model(model.embed_tokens(ids), torch.ones_like(ids))["logits"]
        assert torch.allclose(llm(input_ids=ids).logits, expected, atol=1e-5)
    assert llm.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "llm")
    assert tokenizer.get_vocab() == model.tokenizer.tokenizer.get_vocab()
    assert "# model + clinic" in (tmp_path / "llm" / "README.md").read_text("utf-8")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "llm").iterdir()} == {0o644}


def test_a_base_alone_is_exported_as_it_is(base: Path, tmp_path: Path) -> None:
    export(tmp_path / "again", model=str(base))
    before, after = checkpoints.load(base), checkpoints.load(tmp_path / "again")
    weights = after.state_dict()
    assert all(weights[name].equal(tensor) for name, tensor in before.state_dict().items())


def test_nothing_to_merge_is_an_error(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("asr_llm.model.checkpoints.build")  # it is known before a model is built
    with pytest.raises(CheckpointError, match=r"has no LoRA, so there is nothing to merge"):
        export(tmp_path / "x", model=str(base), merge=True)
    assert not (tmp_path / "x").exists()


def test_a_lora_of_the_checkpoint_is_merged_when_asked(base: Path, tmp_path: Path) -> None:
    """As canary-qwen has one, beside its LLM."""
    import torch
    from omegaconf import open_dict

    model = checkpoints.load(base)
    recipe = LoraRecipe(r=2, lora_alpha=8)
    lora.install(model, recipe)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 1.0)
    with open_dict(model.cfg):
        model.cfg.lora = recipe.model_dump() | {"task_type": "CAUSAL_LM"}
        model.cfg.prevent_freeze_params = []
    canary = str(tmp_path / "canary")
    checkpoints.save(model, Path(canary), card="")
    with pytest.raises(CheckpointError, match=r"keeps a LoRA beside its LLM.* add --merge"):
        export(tmp_path / "x", model=canary, llm_only=True)
    export(tmp_path / "same", model=canary)
    export(tmp_path / "merged", model=canary, merge=True)
    same, merged = (checkpoints.load(tmp_path / name) for name in ("same", "merged"))
    assert "lora" in same.cfg
    assert "lora" not in merged.cfg
    for found in (same, merged):
        assert torch.allclose(logits(found), logits(model.eval()), atol=1e-4)
    export(tmp_path / "llm", model=canary, merge=True, llm_only=True)
    assert not (tmp_path / "x").exists()


def test_it_can_be_adapted_again(merged: Path, tmp_path: Path) -> None:
    """First from speech, merged; then from text, which is fused with what came of it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "domain.yaml").write_text("name: shop\n", "utf-8")
    (tmp_path / "shop" / "text.txt").write_text("The kettle is on.\nWe sell tea.\n", "utf-8")
    soundfile.write(tmp_path / "a.wav", AUDIOS[0], 16000)
    done = run("adapt", "shop", "--model", merged, "--steps", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    adapter = AdapterFolder.read(tmp_path / "runs" / "shop" / "adapter")
    assert adapter.base is not None
    assert (adapter.base.sha256, adapter.fusion) == (checkpoints.identity(merged), 0.5)
    asked = ("--model", merged, "--adapter", "runs/shop/adapter")
    done = run("transcribe", "a.wav", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# What is refused -------------------------------------------------------------------------


def test_an_adapter_of_text_says_why_not(base: Path, speech: Path, tmp_path: Path) -> None:
    text = make(base, tmp_path / "notes", 3, fusion=0.5)
    asked = ("--model", base, "--adapter", speech, "--adapter", text, "--merge", "-o", "m")
    done = run("export", *asked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {text} was trained on text: it is a language model fused in during decoding and "
        "cannot be merged. Keep using it with --adapter, or adapt with a recipe without 'fusion', "
        "such as adapt/synthetic.yaml, and merge that\n"
    )
    assert not (tmp_path / "m").exists()


def test_adapters_without_merge(base: Path, speech: Path, tmp_path: Path) -> None:
    with pytest.raises(AsrLlmError, match=r"add --merge\. \(An adapter alone needs no export"):
        export(tmp_path / "m", model=str(base), adapters=[speech])


def test_only_an_empty_folder_is_taken(base: Path, speech: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="used is not empty; expected a new or empty folder"):
        export(used, model=str(base), adapters=[speech], merge=True)
    assert [path.name for path in used.iterdir()] == ["mine.txt"]
    (used / "mine.txt").unlink()
    export(used, model=str(base), adapters=[speech], merge=True)
    checkpoints.load(used)
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


@pytest.mark.parametrize("llm_only", [True, False])
def test_a_whole_folder_or_none(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, llm_only: bool
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    # The card is written last; the tokenizer before it.
    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.save_pretrained", refuse)
    with pytest.raises(OSError, match="No space"):
        export(tmp_path / "m", model=str(base), llm_only=llm_only)
    assert not list(tmp_path.iterdir())


def test_an_adapter_of_another_base(base: Path, other_tiny: Path, tmp_path: Path) -> None:
    other = make(other_tiny, tmp_path / "other", 1)
    with pytest.raises(CheckpointError, match="was trained on"):
        export(tmp_path / "m", model=str(base), adapters=[other], merge=True)
    shutil.rmtree(other)
    with pytest.raises(CheckpointError, match="nothing is there"):
        export(tmp_path / "m", model=str(base), adapters=[other], merge=True)
    assert not list(tmp_path.iterdir())
