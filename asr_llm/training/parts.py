"""Prepares the parts of a model that a recipe trains."""

from __future__ import annotations

import torch

from asr_llm.errors import RecipeError
from asr_llm.model import lora
from asr_llm.model.frame_cache import CachedEncoder
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import Recipe
from asr_llm.sequences.batching import BatchStream


def prepare(model: SpanSALM, recipe: Recipe) -> None:
    """Add what the recipe trains and freeze everything else.

    Raises:
        RecipeError: ``train`` names a part without parameters, the model has no CTC head, or the
            encoder has too few layers.
    """
    if "lora" in recipe.train:
        torch.manual_seed(recipe.seed)
        lora.install(model, recipe.lora)
    if "ctc_head" in recipe.train and model.ctc_head is None:
        torch.manual_seed(recipe.seed)
        model.add_ctc_head()
    if recipe.objective != "lm" and model.ctc_head is None:
        raise RecipeError(
            f"objective: {recipe.objective} needs a CTC head, which {recipe.model} lacks; "
            "add ctc_head to 'train', or set objective: lm"
        )
    parts: dict[str, tuple[str, ...]] = {
        "projector": ("perception.proj.", "perception.modality_adapter."),
        "encoder": _encoder_prefixes(model, recipe),
        "llm": ("llm.", "embed_tokens."),
        "ctc_head": ("ctc_head.",),
    }
    model.requires_grad_(False)
    for part in recipe.train:
        count = 0
        for name, parameter in model.named_parameters():
            inside = ".lora_" in name if part == "lora" else name.startswith(parts[part])
            if inside and parameter.is_floating_point():
                parameter.requires_grad_(True)
                count += 1
        if not count:
            raise RecipeError(f"train: {part!r} matches no parameter of this model")


def _encoder_prefixes(model: SpanSALM, recipe: Recipe) -> tuple[str, ...]:
    """Prefixes of the parameters that 'encoder' means."""
    if recipe.encoder_layers is None:
        return ("perception.encoder.",)
    layers = getattr(model.perception.encoder, "whisper", None)
    count = len(layers.layers) if layers is not None else 0
    if recipe.encoder_layers > count:
        raise RecipeError(
            f"encoder_layers: found {recipe.encoder_layers}; expected at most {count}, which "
            f"{recipe.model} has that can be trained apart (only Whisper's can)"
        )
    late = range(count - recipe.encoder_layers, count)
    inside = "perception.encoder.whisper."
    return (*(f"{inside}layers.{i}." for i in late), f"{inside}layer_norm.")


def fit_projector(model: SpanSALM, stream: BatchStream) -> None:
    """Initialise a new projector from the first batches of a stream."""
    from asr_llm.model import projector
    from asr_llm.model.posteriors import PosteriorProjector, begin_as_text

    if isinstance(model.perception.modality_adapter, PosteriorProjector):
        begin_as_text(model)
    else:
        projector.fit_projector(model, (stream[i] for i in range(24)))


def cached_encoder(model: SpanSALM, recipe: Recipe) -> CachedEncoder | None:
    """The cache of encoder frames, if part of the encoder is frozen."""
    trained = "encoder" in recipe.train
    if not recipe.cache_frames or (trained and recipe.encoder_layers is None):
        return None
    return CachedEncoder(model.perception, (recipe.encoder_layers or 0) if trained else 0)
