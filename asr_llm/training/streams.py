"""The batches of a recipe: for training, validation and monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr_llm.errors import RecipeError
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import Recipe
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.batching import BatchStream, Collator
from asr_llm.sequences.sources import AsrSource, Folders, Source


def make_stream(
    recipe: Recipe,
    model: SpanSALM,
    sources: Sequence[Source],
    folders: Folders,
    seed: int | None = None,
) -> BatchStream:
    """The batches of a recipe's sources, for this model's tokenizer and frame rate.

    Args:
        seed: overrides the recipe's.
    """
    heads = recipe.objective != "lm" and model.ctc_head is not None
    collate = Collator(
        model.tokenizer.tokenizer,
        model.audio_locator_tag,
        model.text_pad_id,
        model.frame_samples,
        ctc=model.ctc_vocabulary.encode if heads else None,
    )
    found = [source.examples(model.chat, folders) for source in sources]
    made = [examples for examples in found if examples is not None]
    if not made:
        raise RecipeError("all sources are optional and none has data; expected one that has")
    length = recipe.steps * recipe.accumulate
    seed = recipe.seed if seed is None else seed
    return BatchStream(made, collate, seed, recipe.batch_positions, length)


def validation_batches(recipe: Recipe, model: SpanSALM, folders: Folders) -> list[Batch]:
    """The same held-out batches at every validation and for every seed; [] if none."""
    domain = folders.domain
    has_dev = domain is not None and (domain.has_text("dev") or domain.manifest("dev"))
    if not (recipe.validation.sources or has_dev):
        return []
    stream = make_stream(
        recipe, model, recipe.held_out_sources, replace(folders, split="dev"), seed=0
    )
    return _fixed(recipe, stream)


def monitored_batches(recipe: Recipe, model: SpanSALM, folders: Folders) -> list[Batch]:
    """Batches of general speech for the monitor: from the dev set, if there is one."""
    if recipe.validation.max_rise is None:
        return []
    replay = folders.replay
    if replay is None:
        raise RecipeError(
            "validation.max_rise watches the loss on replayed speech, but there is none; expected "
            "a base model that brings replay text, or 'replay: FOLDER' in the recipe; or leave "
            "max_rise out"
        )
    split = "dev" if replay.has_text("dev") or replay.manifest("dev") else "train"
    source = AsrSource(data="replay", augment=0.0)
    watched = Folders(None, replay, split, folders.hear)
    stream = make_stream(recipe, model, [source], watched, seed=0)
    return [replace(batch, monitored=True) for batch in _fixed(recipe, stream)]


def _fixed(recipe: Recipe, stream: BatchStream) -> list[Batch]:
    """The first batches of a stream, with about as many utterances as validation uses."""
    rows = max(1, stream.draws // stream.pool)
    return [stream[i] for i in range(max(1, recipe.validation.utterances // rows))]
