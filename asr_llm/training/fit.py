"""Training step, and what a checkpoint stores."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor

from asr_llm.errors import AsrLlmError, RunError
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import OptimizerRecipe, Recipe
from asr_llm.sequences.batch import Batch
from asr_llm.training.run_folder import RunFolder
from asr_llm.training.sharding import shard


class Means:
    """Mean losses of a step, over the batches of all processes."""

    names = ("loss", "lm", "ctc", "kl")

    def __init__(self) -> None:
        self._sums = dict.fromkeys(self.names, 0.0)
        self._counts = dict.fromkeys(self.names, 0)

    def add(self, losses: dict[str, Tensor]) -> None:
        """Count the losses of a batch."""
        for name in self.names:
            if name in losses:
                self._sums[name] += float(losses[name])
                self._counts[name] += 1

    def of(self, trainer: lightning.Trainer) -> dict[str, float]:
        """The mean of each loss that any batch had; to be called in all processes."""
        own = [*self._sums.values(), *self._counts.values()]
        there = trainer.strategy.root_device
        both = trainer.strategy.reduce(torch.tensor(own, device=there), reduce_op="sum").tolist()
        pairs = zip(self.names, both, both[len(self.names) :])
        return {name: total / count for name, total, count in pairs if count}


class Fit(lightning.LightningModule):
    """Lightning module of a SpanSALM trained by a recipe."""

    strict_loading = False  # checkpoints contain only what is trained

    def __init__(self, model: SpanSALM, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.means = Means()

    def configure_model(self) -> None:
        """Shard the LLM among the processes if the recipe says so; called by Lightning."""
        if self.recipe.strategy == "fsdp":
            shard(self.model, self.device_mesh["data_parallel"])

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.recipe.objective == "ctc":
            return {"ctc": self.model.ctc_loss(batch)}
        return self.model.losses(batch, pack=self.recipe.pack)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        # The number of the batch continues in a resumed run, so dropout is the same.
        number = index * self.trainer.world_size + self.global_rank
        torch.manual_seed(self.recipe.seed * 1_000_003 + number)
        if number % self.recipe.accumulate == self.global_rank:
            self.means = Means()
        losses = self._weighted(self._losses(batch))
        self.means.add(losses)
        self.log("loss", losses["loss"].detach())
        return losses["loss"] if losses["loss"].requires_grad else self._without_gradient()

    def _without_gradient(self) -> Tensor:
        """A loss of zero for a batch without any, such as one of text for a projector alone."""
        return sum((0.0 * p.sum() for p in self.parameters() if p.requires_grad), torch.zeros(()))

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """Modules without trained parameters stay in evaluation mode (no dropout)."""
        if isinstance(batch, AsrLlmError):
            raise batch
        for module in (self.model.perception.encoder, self.model.llm):
            module.train(any(p.requires_grad for p in module.parameters()))

    def validation_step(self, batch: Batch, index: int) -> None:
        losses = self._weighted(self._losses(batch))
        name, rows = "asr_loss" if batch.monitored else "val_loss", len(batch.input_ids)
        # All processes validate on all batches; the mean keeps them from differing in a last digit.
        self.log(name, losses["loss"], on_epoch=True, batch_size=rows, sync_dist=True)

    @torch.no_grad()
    def mean_loss(self, batches: list[Batch]) -> float:
        """The mean loss as in validation, before or between steps."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        total, rows = 0.0, 0
        with self.trainer.precision_plugin.forward_context():
            for batch in batches:
                moved = batch.to(self.device)
                total += float(self._weighted(self._losses(moved))["loss"]) * len(batch.input_ids)
                rows += len(batch.input_ids)
        for module in training:
            module.training = True
        return total / rows

    def _weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add ``loss``, the weighted sum that the recipe minimises."""
        if "lm" in losses:
            ctc, kl = losses.get("ctc", 0.0), losses.get("kl", 0.0)
            loss = losses["lm"] + self.recipe.ctc_weight * ctc + kl
        else:
            loss = losses["ctc"]
        losses = {**losses, "loss": loss}
        if not losses["loss"].isfinite():
            step = self.trainer.global_step
            where = f"in step {step + 1}" if self.training else f"on the dev set after step {step}"
            raise RunError(
                f"the loss is {float(losses['loss'])} {where}; expected a finite number: lower "
                "optimizer.lr or set 'precision: \"32\"' in the recipe, and start a new run"
            )
        return losses

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW without weight decay on vectors; warm-up and decay by step."""
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
        """Store what changes: trained parameters and batch statistics; the rest is the base's."""
        fixed = {n for n, p in self.named_parameters(remove_duplicate=False) if not p.requires_grad}
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if name not in fixed
        }
        checkpoint["val_loss"] = self.trainer.callback_metrics.get("val_loss")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the batch before the checkpoint as completed.

        Lightning saves before counting it, and would resume one batch behind, with different
        dropout, accumulation and validation steps. It would also count the batches of the previous
        validation towards the next one and skip some.
        """
        batches = checkpoint["global_step"] * self.recipe.accumulate // self.trainer.world_size
        loops = checkpoint["loops"]["fit_loop"]
        for loop, count in (("epoch_loop", batches), ("epoch_loop.val_loop", 0)):
            progress = loops[f"{loop}.batch_progress"]
            for counters in (progress["current"], progress["total"]):
                counters.update(dict.fromkeys(counters, count))

    def load_best(self, run: RunFolder) -> float | None:
        """Restore the weights with the lowest held-out loss; return that loss."""
        path = run.best_checkpoint()
        if path is None:
            return None
        saved = torch.load(path, map_location="cpu", weights_only=False)
        # Not load_state_dict, whose hooks remember that the model was sharded.
        parameters = dict(self.named_parameters(remove_duplicate=False))
        own = parameters | dict(self.named_buffers(remove_duplicate=False))
        with torch.no_grad():
            for name, value in saved["state_dict"].items():
                own[name].copy_(value)
        return run.best_loss()


def rate(step: int, steps: int, o: OptimizerRecipe) -> float:
    """Learning rate at a step as a share of its peak."""
    if step < o.warmup_steps:
        return (step + 1) / o.warmup_steps
    done = min((step - o.warmup_steps) / max(steps - o.warmup_steps, 1), 1.0)
    left = 1 - done if o.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return o.final + (1 - o.final) * left
