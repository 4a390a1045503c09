"""What would fail in training is said before the weights are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr_llm.errors import AsrLlmError, RecipeError
from asr_llm.model import bfloat16, checkpoints
from asr_llm.recipe import LoraRecipe, Recipe
from asr_llm.sequences.batching import Collator
from asr_llm.sequences.sources import TextSource
from asr_llm.sequences.tasks import prompted_text, text_only
from asr_llm.training import memory, preflight

RECIPE = Recipe(
    sources=[TextSource(data="domain")], lora=LoraRecipe(r=4, lora_alpha=8), precision="bf16"
)
PLENTY = 2**40


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A checkpoint folder to spoil, without its weights: no check reads them."""
    ignored = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(tiny, tmp_path / "copy", ignore=ignored))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def refusal(folder: Path, recipe: Recipe = RECIPE, there: int = PLENTY) -> str:
    with pytest.raises(AsrLlmError) as caught:
        preflight.check(checkpoints.build(folder), recipe, folder, lambda: there)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_sound_checkpoint_passes_without_its_weights(copy: Path) -> None:
    preflight.check(checkpoints.build(copy), RECIPE, copy, lambda: PLENTY)


def test_a_tokenizer_of_another_llm(copy: Path) -> None:
    edit(copy / "llm_backbone" / "config.json", lambda config: config.update(vocab_size=290))
    message = refusal(copy)
    assert "10 tokens of the tokenizer have no row among the LLM's 290, such as '" in message
    assert "expected the tokenizer of the same LLM" in message


@pytest.mark.parametrize(
    ("prompt_format", "said"),
    [
        ("llama3", "writes '<|end_header_id|>', which the tokenizer takes apart into"),
        ("plain", "prompt_format is 'plain'; expected turns between special tokens"),
        ("chatml", "prompt_format is 'chatml'; expected turns between special tokens"),
    ],
)
def test_a_prompt_format_of_another_llm(copy: Path, prompt_format: str, said: str) -> None:
    edit(copy / "config.json", lambda config: config.update(prompt_format=prompt_format))
    assert said in refusal(copy)


def test_padding_that_ends_answers(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", lambda config: config.update(pad_token="<|im_end|>"))
    assert "'<|im_end|>' both ends an answer and is padding" in refusal(copy)


@pytest.mark.parametrize("key", ["asr_prompt", "biasing_prompt"])
def test_a_prompt_that_is_wrapped_already(copy: Path, key: str) -> None:
    wrapped = "<|im_start|>user\nTranscribe: {audio}<|im_end|>\n"
    edit(copy / "config.json", lambda config: config.update({key: wrapped}))
    message = refusal(copy)
    assert f"{key} in its config.json holds '<|im_end|>', which prompt_format 'qwen'" in message


@pytest.mark.parametrize("prompt", ["Transcribe.", "{audio} and {audio}"])
def test_a_prompt_without_one_place_for_speech(copy: Path, prompt: str) -> None:
    edit(copy / "config.json", lambda config: config.update(asr_prompt=prompt))
    assert "expected {audio} in it once, where the speech goes" in refusal(copy)


def test_lora_targets_that_match_nothing(copy: Path) -> None:
    recipe = RECIPE.override(lora={"target_modules": ["qkv_proj"]})
    message = refusal(copy, recipe)
    assert "lora.target_modules names 'qkv_proj', which this LLM does not have" in message


def test_a_gpu_without_bfloat16(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla T4")
    assert 'found bf16, which Tesla T4 cannot compute in; expected "32"' in refusal(copy)
    for precision in ("32", "auto"):
        recipe = RECIPE.override(precision=precision)
        assert not memory.halved(recipe)
        preflight.check(checkpoints.build(copy), recipe, copy, lambda: PLENTY)


@pytest.mark.parametrize(
    ("multiplied", "seconds", "halved"),
    [
        (True, 1.0, True),
        (True, 2.1, False),  # as where AVX-512 has the instructions, but half as many a cycle
        (False, 1.0, False),
    ],
)
def test_a_cpu_trains_in_what_is_faster(
    multiplied: bool, seconds: float, halved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = {torch.bfloat16: seconds, torch.float32: 2.0}
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(bfloat16, "CPU", multiplied)
    monkeypatch.setattr(bfloat16, "_seconds", of.__getitem__)
    bfloat16._cpu_gains.cache_clear()
    assert memory.halved(RECIPE.override(precision="auto")) == halved
    assert memory.halved(RECIPE.override(precision="bf16"))
    bfloat16._cpu_gains.cache_clear()


def test_too_little_memory(copy: Path) -> None:
    model = checkpoints.build(copy)
    needed = memory.training(model, RECIPE)
    assert preflight.check(model, RECIPE, copy, lambda: needed.total) == needed
    message = refusal(copy, there=needed.total - 1)
    assert message.startswith(f"training needs about {needed}, and {memory.gib(needed.total - 1)}")
    assert "lower batch_positions in the recipe" in message


def test_a_template_in_the_text_itself(tiny: Path) -> None:
    model = checkpoints.build(tiny)
    chat = model.chat
    collate = Collator(
        model.tokenizer.tokenizer, model.audio_locator_tag, model.text_pad_id, model.frame_samples
    )
    preflight.check_batch(model, collate([prompted_text("Hello.", chat), text_only("Hi.", chat)]))
    rendered = f"{chat.before}Say hello.{chat.after}Hello."
    with pytest.raises(
        RecipeError, match=r"opens 2 user turns in one training sequence, '<\|im_st"
    ):
        preflight.check_batch(model, collate([prompted_text(rendered, chat)]))


# The memory that training takes -------------------------------------------------------------


def test_memory_by_hand(tiny: Path) -> None:
    """The tiny model: H 16, F 32, two heads of 8, one layer, a vocabulary of 300."""
    model = checkpoints.build(tiny)
    needed = memory.training(model, RECIPE.override(batch_positions=100))
    # q 16x16, k and v 16x8, o 16x16, gate, up and down 16x32; r 4.
    lora = 4 * (2 * (16 + 16) + 2 * (16 + 8) + 3 * (16 + 32))
    whole = sum(p.numel() for p in checkpoints.load(tiny).parameters())
    assert needed.weights == 4 * (whole + lora)
    assert needed.optimizer == 12 * lora
    assert needed.copies == 2 * (2 * 256 + 2 * 128 + 3 * 512 + 300 * 16)
    assert needed.activations == 100 * (8 * 32 + 18 * 16 + 14 * 16 + 6 * 2 * 100)
    assert needed.logits == 10 * 100 * 300


def test_what_is_trained_counts(tiny: Path) -> None:
    model = checkpoints.build(tiny)
    projector = sum(p.numel() for p in model.perception.proj.parameters())
    alone = memory.training(model, RECIPE.override(train=["projector"]))
    assert alone.optimizer == 12 * projector
    both = memory.training(model, RECIPE.override(train=["lora", "projector"]))
    assert both.optimizer == memory.training(model, RECIPE).optimizer + alone.optimizer


def test_precision_counts(tiny: Path) -> None:
    model = checkpoints.build(tiny)
    half, full = (memory.training(model, RECIPE.override(precision=p)) for p in ("bf16", "32"))
    assert (full.copies, full.activations) == (0, 2 * half.activations)


def test_a_limit_of_the_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("counts the GPU's memory")
    before = memory.available()
    assert before > 0
    files = {"memory.max": "1000000\n", "memory.current": "400000\n"}
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, *args: files.get(path.name) or read(path, *args)
    )
    assert memory.available() == 600_000
