"""The training loop: recipe in, run folder out. Pretraining and adaptation share it.

Every batch is a function of the seed and its number, and the random state is set anew at
every step from the same two, so a run killed at any moment and resumed from its last
checkpoint ends with the same weights as one that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from asr_llm.corpus.domain import Domain
from asr_llm.errors import RecipeError
from asr_llm.model import checkpoints, lora
from asr_llm.model.speech_llm import SpeechLLM
from asr_llm.recipe import OptimizerRecipe, Recipe, SourceRecipe
from asr_llm.sequences.batching import BatchStream, Collator
from asr_llm.sequences.sources import make_source
from asr_llm.training.callbacks import Metrics, Progress, checkpointing
from asr_llm.training.run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """What a run produced: ``adapter`` or ``model`` is where it lies; ``best`` its dev loss."""

    run: Path
    adapter: Path | None
    model: Path | None
    best: float | None


def train(
    recipe: Recipe,
    run: RunFolder,
    domain: Domain | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Trained:
    """Carry out a recipe.

    Args:
        run: where everything is written; see ``RunFolder``.
        domain: what the recipe's sources mean by 'domain'.
        resume: go on from the last checkpoint of ``run``, if there is one.

    Raises:
        AsrLlmError: the recipe, the data, the model or the run folder is at fault.
    """
    run.open(recipe, resume)
    base = _starting_point(recipe, run)
    model = checkpoints.load(base)
    replay = _replay(recipe, base)
    prepare(model, recipe)
    if not torch.cuda.is_available():
        # On CPU plain attention is a quarter faster in training than SDPA at our lengths.
        model.causal_lm.set_attn_implementation("eager")

    stream = make_stream(recipe, model, recipe.sources, domain, replay)
    held_out = _validation_batches(recipe, model, domain, replay)
    last = run.last_checkpoint() if resume else None
    if recipe.fit_projector and last is None:
        from asr_llm.model.projector import fit_projector

        fit_projector(model, (stream[i] for i in range(24)))

    fit = Fit(model, recipe)
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        max_steps=recipe.steps,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.optimizer.clip,
        val_check_interval=recipe.validation.every * recipe.accumulate if held_out else None,
        check_val_every_n_epoch=None if held_out else 1,
        limit_val_batches=None if held_out else 0,
        num_sanity_val_steps=0,
        callbacks=[
            *checkpointing(recipe, run, bool(held_out)),
            Metrics(run.metrics, resume_step=run.step_of(last)),
            Progress(recipe.steps, enabled=progress),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=True,
        use_distributed_sampler=False,
        plugins=[run.checkpoint_io()],
    )
    with checkpoints.quiet(), run.disk_errors():
        loader = _loader(stream, run.step_of(last) * recipe.accumulate)
        trainer.fit(fit, loader, held_out or None, ckpt_path=last)
    best = fit.load_best(run) if held_out else None
    return _finish(recipe, run, fit.model, base, best)


class Fit(lightning.LightningModule):
    """Lightning's view of a SpeechLLM in training under a recipe."""

    strict_loading = False  # only what is trained is in a checkpoint

    def __init__(self, model: SpeechLLM, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        torch.manual_seed(self.recipe.seed * 1_000_003 + index)
        losses = self._losses(batch)
        self.log_dict({name: value.detach() for name, value in losses.items() if name != "tokens"})
        return losses["loss"]

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """Modules in which nothing is trained stay in evaluation mode (dropout off)."""
        for module in (self.model.perception.encoder, self.model.llm):
            module.train(any(p.requires_grad for p in module.parameters()))

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        losses = self._losses(batch)
        self.log("val_loss", losses["loss"], on_epoch=True, batch_size=len(batch["input_ids"]))

    def _losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        recipe = self.recipe
        losses = self.model.losses(batch, lm=recipe.objective != "ctc")
        if recipe.objective == "ctc":
            losses["loss"] = losses["ctc"]
        else:
            losses["loss"] = losses["lm"] + recipe.ctc_weight * losses.get("ctc", 0.0)
        return losses

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, no weight decay on vectors, warm-up and decay by step."""
        o = self.recipe.optimizer
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": o.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=o.lr, betas=o.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(step, self.recipe.steps, o)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained; the rest is the base model's."""
        trained = {n for n, p in self.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if name in trained
        }

    def load_best(self, run: RunFolder) -> float | None:
        """Go back to the weights with the lowest held-out loss; return that loss."""
        path = run.best_checkpoint()
        if path is None:
            return None
        saved = torch.load(path, map_location="cpu", weights_only=False)
        self.load_state_dict(saved["state_dict"], strict=False)
        return next(
            float(state["best_model_score"])
            for key, state in saved["callbacks"].items()
            if "val_loss" in key and state.get("best_model_score") is not None
        )


def rate(step: int, steps: int, o: OptimizerRecipe) -> float:
    """Share of the peak learning rate at a step."""
    if step < o.warmup_steps:
        return (step + 1) / o.warmup_steps
    done = min((step - o.warmup_steps) / max(steps - o.warmup_steps, 1), 1.0)
    left = 1 - done if o.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return o.final + (1 - o.final) * left


def prepare(model: SpeechLLM, recipe: Recipe) -> None:
    """Install what the recipe trains and freeze everything else.

    Raises:
        RecipeError: ``train`` names a part that is unknown or has no parameters.
    """
    if "lora" in recipe.train:
        lora.install(model, recipe.lora)
    if "ctc_head" in recipe.train and model.ctc_head is None:
        model.add_ctc_head()
    parts: dict[str, list[str]] = {
        "lora": ["llm.*.lora_"],
        "projector": ["perception.proj.", "perception.modality_adapter."],
        "encoder": ["perception.encoder."],
        "llm": ["llm.", "embed_tokens."],
        "ctc_head": ["ctc_head."],
    }
    model.requires_grad_(False)
    for part in recipe.train:
        if part not in parts:
            raise RecipeError(f"train: unknown part {part!r}; expected some of {', '.join(parts)}")
        count = 0
        for name, parameter in model.named_parameters():
            inside = ".lora_" in name if part == "lora" else name.startswith(tuple(parts[part]))
            if inside and parameter.is_floating_point():
                parameter.requires_grad_(True)
                count += 1
        if not count:
            raise RecipeError(f"train: {part!r} matches no parameter of this model")


def make_stream(
    recipe: Recipe,
    model: SpeechLLM,
    sources: list[SourceRecipe],
    domain: Domain | None,
    replay: Domain | None,
    split: str = "train",
    steps: int | None = None,
) -> BatchStream:
    """The batches of a recipe's sources, for this model's tokenizer and frame rate."""
    collate = Collator(
        model.tokenizer.tokenizer,
        model.audio_locator_tag,
        model.text_pad_id,
        model.frame_samples,
        ctc=recipe.objective != "lm" and model.ctc_head is not None,
    )
    made = [make_source(source, model.chat, domain, replay, split) for source in sources]
    length = steps or recipe.steps * recipe.accumulate
    return BatchStream(made, collate, recipe.seed, recipe.batch_positions, length)


def _validation_batches(
    recipe: Recipe, model: SpeechLLM, domain: Domain | None, replay: Domain | None
) -> list[dict[str, Any]]:
    """The same held-out batches at every validation; [] where nothing is held out."""
    sources = recipe.validation.sources
    if not sources and domain is not None:
        if not domain.text("dev") and domain.recordings("dev") is None:
            return []
        sources = [SourceRecipe(task="asr", data="domain", augment=0.0)]
    if not sources:
        return []
    stream = make_stream(recipe, model, sources, domain, replay, split="dev", steps=1)
    rows = max(1, stream.draws // stream.pool)
    return [stream[i] for i in range(max(1, recipe.validation.utterances // rows))]


class _From(torch.utils.data.Sampler[int]):
    """Batch numbers from ``start`` on; as long as the whole run, as Lightning counts it."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length = start, length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.length))

    def __len__(self) -> int:
        return self.length


def _loader(stream: BatchStream, start: int) -> torch.utils.data.DataLoader[dict[str, Any]]:
    return torch.utils.data.DataLoader(
        stream,
        batch_size=None,
        sampler=_From(start, len(stream)),
        num_workers=1,
        prefetch_factor=4,
    )


def _starting_point(recipe: Recipe, run: RunFolder) -> Path:
    """Folder of the model a run starts from; a new model is created in the run folder."""
    if recipe.create is None:
        return checkpoints.locate(recipe.model)
    from asr_llm.model.creation import create

    if not run.initial_model.is_dir():
        create(Path(recipe.create), run.initial_model, recipe.seed)
    return run.initial_model


def _replay(recipe: Recipe, base: Path) -> Domain | None:
    """General speech to replay: the recipe's, or what the base model brings."""
    if recipe.replay:
        return Domain.load(recipe.replay)
    return Domain.load(base / "replay") if (base / "replay").is_dir() else None


def _finish(
    recipe: Recipe, run: RunFolder, model: SpeechLLM, base: Path, best: float | None
) -> Trained:
    model.eval()
    if "lora" in recipe.train:
        named = recipe.model if recipe.create is None else base
        lora.save(model, run.adapter, named, projector="projector" in recipe.train)
        return Trained(run.path, run.adapter, None, best)
    card = f"# {recipe.name}\n\nWritten by `asr-llm pretrain`; see recipe.yaml in its run folder.\n"
    checkpoints.save(model, run.model, card)
    return Trained(run.path, None, run.model, best)
