"""Preflight checks: report what would fail before weights are read and before the first step.

Each check names what was found and what was expected; all but the last need only the config and the
tokenizer of a checkpoint, so that a run of hours on many machines ends in seconds if it must.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.errors import CheckpointError, RecipeError, RunError
from asr_llm.model import lora
from asr_llm.sequences.tasks import AUDIO
from asr_llm.training import memory

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM
    from asr_llm.recipe import Recipe
    from asr_llm.sequences.batch import Batch

_MARKER = re.compile(r"<\|[^|<>]+\|>|<bos>|<\w+_of_turn>")


def check(
    model: SpanSALM, recipe: Recipe, base: Path, available: Callable[[], float] = memory.available
) -> memory.TrainingMemory:
    """Check a model, built without its weights, against its recipe.

    Args:
        base: the checkpoint's folder, for messages.
        available: bytes of memory.

    Returns:
        the memory that training will take.

    Raises:
        CheckpointError: tokenizer and vocabulary do not belong together, the prompt format does not
            fit the tokenizer, or the config's prompts are wrapped already; or LoRA has no target.
        RecipeError: the device cannot compute in the recipe's precision.
        RunError: there is not enough memory.
    """
    _vocabulary(model, base)
    _prompts(model, base)
    if "lora" in recipe.train:
        lora.check_targets(model, recipe.lora)
    _precision(recipe)
    return _memory(model, recipe, available())


def check_batch(model: SpanSALM, batch: Batch) -> None:
    """Check a batch as the LLM will read it.

    Raises:
        RecipeError: a prompt is wrapped in the chat template twice.
    """
    opening = model.tokenizer.tokenizer(model.chat.before, add_special_tokens=False)["input_ids"]
    for row in batch.input_ids.tolist():
        found = sum(row[i : i + len(opening)] == opening for i in range(len(row)))
        if found > 1:
            text = model.tokenizer.tokenizer.decode(row)[:120]
            raise RecipeError(
                f"the chat template opens {found} user turns in one training sequence, "
                f"{text!r}…; expected one: the text brings the template along, which the model's "
                "prompt_format adds again. Take it out of the text"
            )


def _vocabulary(model: SpanSALM, base: Path) -> None:
    rows, tokens = model.embed_tokens.num_embeddings, model.tokenizer.tokenizer.get_vocab()
    # Frames take the place of the locator, which so needs no embedding.
    beyond = {t: i for t, i in tokens.items() if i >= rows and t != model.audio_locator_tag}
    if beyond:
        raise CheckpointError(
            f"{base}: {len(beyond)} tokens of the tokenizer have no row among the LLM's {rows}, "
            f"such as {min(beyond)!r}; expected the tokenizer of the same LLM: check "
            "pretrained_llm in its config.json"
        )


def _prompts(model: SpanSALM, base: Path) -> None:
    chat = model.chat
    markers = set(_MARKER.findall(chat.before + chat.after + chat.end))
    tokenizer = model.tokenizer.tokenizer
    for marker in [*sorted(markers), chat.end]:
        ids = tokenizer(marker, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise CheckpointError(
                f"{base}: prompt_format {model.cfg.prompt_format!r} writes {marker!r}, which the "
                f"tokenizer takes apart into {len(ids)} tokens; expected one special token: set "
                "the prompt_format that this LLM was trained with"
            )
    if ids[0] == model.text_pad_id:
        raise CheckpointError(
            f"{base}: {chat.end!r} both ends an answer and is padding, so that the model would "
            "never learn to stop; expected another pad_token in tokenizer_config.json"
        )
    for key in ("asr_prompt", "biasing_prompt", "first_pass_prompt"):
        prompt = getattr(chat, key) or ""
        if wrapped := markers & set(_MARKER.findall(prompt)):
            raise CheckpointError(
                f"{base}: {key} in its config.json holds {min(wrapped)!r}, which prompt_format "
                f"{model.cfg.prompt_format!r} puts around it again; expected the message alone"
            )
    if chat.asr_prompt.count(AUDIO) != 1:
        raise CheckpointError(
            f"{base}: asr_prompt in its config.json is {chat.asr_prompt!r}; expected {AUDIO} in it "
            "once, where the speech goes"
        )


def _precision(recipe: Recipe) -> None:
    import torch

    if recipe.precision != "bf16" or not torch.cuda.is_available():
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RecipeError(
            f"precision: found bf16, which {torch.cuda.get_device_name()} cannot compute in; "
            'expected "32": add \'precision: "32"\' to the recipe'
        )


def _memory(model: SpanSALM, recipe: Recipe, there: float) -> memory.TrainingMemory:
    needed = memory.training(model, recipe)
    if needed.total > there:
        raise RunError(
            f"training needs about {needed}, and {memory.gib(int(there))} are free; lower "
            "batch_positions in the recipe and raise accumulate by as much, or take a larger "
            "machine (docs/scale.md)"
        )
    return needed
