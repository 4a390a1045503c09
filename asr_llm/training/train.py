"""The training loop, from recipe to run folder, for pretraining and adaptation.

Every batch is a function of the seed and its number, and the random state is reset from both at
every step, so a run killed at any moment and resumed from its last checkpoint ends with the same
weights as an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch

from asr_llm.corpus.biasing_list import BiasingList
from asr_llm.corpus.domain import Domain
from asr_llm.errors import RecipeError, RunError
from asr_llm.files import write_text
from asr_llm.model import checkpoints, lora
from asr_llm.model.frame_cache import CachedEncoder
from asr_llm.model.salm import SpanSALM
from asr_llm.model.sources import tell
from asr_llm.recipe import Recipe
from asr_llm.sequences.batching import BatchStream
from asr_llm.sequences.sources import Folders
from asr_llm.training import preflight, streams
from asr_llm.training.callbacks import AsrMonitor, Metrics, Progress, checkpointing
from asr_llm.training.first_passes import hearer
from asr_llm.training.fit import Fit
from asr_llm.training.loading import interruptible, keep_memory, loader
from asr_llm.training.run_folder import RunFolder
from asr_llm.training.teacher import Teacher


@dataclass(frozen=True)
class Trained:
    """Result of a run: the path of its ``adapter`` or ``model``; ``best`` is its dev loss.

    ``stopped`` is the step at which the monitor stopped the run; ``left_out`` names recordings
    skipped for lack of word times.
    """

    run: Path
    adapter: Path | None
    model: Path | None
    best: float | None
    stopped: int | None = None
    left_out: frozenset[str] = frozenset()


def train(
    recipe: Recipe,
    run: RunFolder,
    domain: Domain | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Trained:
    """Train by a recipe.

    Args:
        run: output folder; see ``RunFolder``.
        domain: what 'domain' means in the recipe's sources.
        resume: continue from the last checkpoint of ``run``, if any; a finished run is not trained
            again.

    Raises:
        AsrLlmError: the recipe, the data, the model or the run folder is invalid.
        KeyboardInterrupt: the user stopped it; it can be resumed.
    """
    run.open(recipe, resume)
    if run.adapter.is_dir() or run.model.is_dir():
        adapter, made = (path if path.is_dir() else None for path in (run.adapter, run.model))
        return Trained(run.path, adapter, made, run.best_loss())
    keep_memory()
    with run.disk_errors():
        return _train(recipe, run, domain, run.last_checkpoint() if resume else None, progress)


def _train(
    recipe: Recipe, run: RunFolder, domain: Domain | None, last: Path | None, progress: bool
) -> Trained:
    base = _starting_point(recipe, run, anew=last is None)
    model = checkpoints.build(base)
    needed = preflight.check(model, recipe, base)
    if progress:
        tell(f"memory: about {needed}")
    checkpoints.load_weights(model, base)
    replay = _replay(recipe, base, domain)
    prepare(model, recipe)
    if not torch.cuda.is_available():
        # On CPU plain attention is a quarter faster in training than SDPA at our lengths.
        model.causal_lm.set_attn_implementation("eager")

    say = tell if progress else None
    hear, teach = hearer(base, model, say), Teacher(base, model, say)
    folders = Folders(domain, replay, hear=hear, teach=teach)
    stream = streams.make_stream(recipe, model, recipe.sources, folders)
    preflight.check_batch(model, stream[0])
    _record_answers(stream, run, say)
    held_out = streams.validation_batches(recipe, model, folders)
    monitored = streams.monitored_batches(recipe, model, folders)
    if recipe.fit_projector and last is None:
        _fit_projector(model, stream)
    model.cached_encoder = _cached_encoder(model, recipe)

    fit = Fit(model, recipe)
    batches = loader(stream, run.step_of(last) * recipe.accumulate)
    dev: Any = None
    if held_out or monitored:
        # Already batched; a plain list would count as several loaders.
        dev = torch.utils.data.DataLoader(
            held_out + monitored,  # type: ignore[arg-type]
            batch_size=None,
        )
    monitor = None
    if recipe.validation.max_rise is not None:
        monitor = AsrMonitor(recipe.validation.max_rise, monitored)
    callbacks = [
        *([monitor] if monitor else []),
        *checkpointing(recipe, run, bool(held_out), monitor),
        Metrics(run.metrics, resume_step=run.step_of(last)),
        Progress(recipe.steps, enabled=progress),
    ]
    trainer = _trainer(recipe, run, callbacks, dev is not None)
    with checkpoints.quiet(), interruptible():
        trainer.fit(fit, batches, dev, ckpt_path=last)
    best = fit.load_best(run) if held_out else None
    done = _finish(recipe, run, fit.model, base, best, domain)
    stopped = trainer.global_step if monitor and monitor.risen else None
    left_out = frozenset[str]().union(*(source.left_out for source in stream.sources))
    return replace(done, stopped=stopped, left_out=left_out)


def _record_answers(stream: BatchStream, run: RunFolder, say: Callable[[str], None] | None) -> None:
    """Say and write down how many of a teacher's answers are learned from."""
    judged = [source.judged for source in stream.sources if source.judged is not None]
    if not judged:
        return
    for one in judged:
        if say is not None:
            say(str(one))
    write_text(run.answers, json.dumps([one.record() for one in judged], indent=2) + "\n")


def _trainer(
    recipe: Recipe, run: RunFolder, callbacks: list[lightning.Callback], validated: bool
) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        max_steps=recipe.steps,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.optimizer.clip,
        val_check_interval=recipe.validation.every * recipe.accumulate if validated else None,
        check_val_every_n_epoch=None if validated else 1,
        limit_val_batches=None if validated else 0,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=True,
        use_distributed_sampler=False,
        plugins=[run.checkpoint_io()],
    )


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


def _fit_projector(model: SpanSALM, stream: BatchStream) -> None:
    from asr_llm.model.posteriors import PosteriorProjector, begin_as_text
    from asr_llm.model.projector import fit_projector

    if isinstance(model.perception.modality_adapter, PosteriorProjector):
        begin_as_text(model)
    else:
        fit_projector(model, (stream[i] for i in range(24)))


def _cached_encoder(model: SpanSALM, recipe: Recipe) -> CachedEncoder | None:
    """The cache of encoder frames, if part of the encoder is frozen."""
    trained = "encoder" in recipe.train
    if not recipe.cache_frames or (trained and recipe.encoder_layers is None):
        return None
    return CachedEncoder(model.perception, (recipe.encoder_layers or 0) if trained else 0)


def _starting_point(recipe: Recipe, run: RunFolder, anew: bool) -> Path:
    """Folder of the model a run starts from; a new model is created in the run folder."""
    if recipe.create is None:
        return checkpoints.locate(recipe.model)
    from asr_llm.model.creation import create

    if anew or not run.initial_model.is_dir():
        create(Path(recipe.create), run.initial_model, recipe.seed)
    return run.initial_model


def _replay(recipe: Recipe, base: Path, domain: Domain | None) -> Domain | None:
    """General speech to replay: the recipe's, the base's, or for English `mini`'s."""
    if recipe.replay:
        return Domain.load(recipe.replay)
    if (base / "replay").is_dir():
        return Domain.load(base / "replay")
    if domain is not None and domain.config.language == "en":
        return Domain.load(checkpoints.locate("mini") / "replay")
    return None


def _finish(
    recipe: Recipe,
    run: RunFolder,
    model: SpanSALM,
    base: Path,
    best: float | None,
    domain: Domain | None,
) -> Trained:
    model.eval()
    if not all(p.isfinite().all() for p in model.parameters() if p.requires_grad):
        raise RunError(
            "training diverged: the weights contain NaN or Inf; lower optimizer.lr or "
            "set 'precision: \"32\"' in the recipe, and start a new run"
        )
    if "lora" in recipe.train:
        named = recipe.model if recipe.create is None else base
        lora.save(
            model,
            run.adapter,
            named,
            projector="projector" in recipe.train,
            fusion=recipe.fusion,
            biasing=_biasing(recipe, domain),
        )
        return Trained(run.path, run.adapter, None, best)
    card = f"# {recipe.name}\n\nWritten by `asr-llm pretrain`; see recipe.yaml in its run folder.\n"
    checkpoints.save(model, run.model, card, base=base)
    return Trained(run.path, None, run.model, best)


def _biasing(recipe: Recipe, domain: Domain | None) -> BiasingList | None:
    """The domain's terms, if the recipe boosts them and there are any."""
    if recipe.biasing is None or domain is None:
        return None
    phrases = dict.fromkeys(term.text for listed in domain.terms().values() for term in listed)
    return BiasingList(tuple(phrases), recipe.biasing) if phrases else None
