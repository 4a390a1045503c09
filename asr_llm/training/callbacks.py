"""Lightning callbacks: checkpoints, metrics, progress."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from asr_llm.files import write_text
from asr_llm.recipe import Recipe
from asr_llm.sequences.batch import Batch
from asr_llm.training.run_folder import RunFolder
from asr_llm.training.stopping import Stop

_LOG_SECONDS = 60.0


class AsrMonitor(lightning.Callback):
    """Stops a run that forgets how to transcribe: alignment monitoring (arXiv 2506.05671).

    Training on text can lower the text loss while recognition degrades. So the loss on held-out
    pairs of general speech is measured before the first step and at every validation; training
    stops once it has risen by more than ``max_rise`` of its initial value.
    """

    def __init__(self, max_rise: float, batches: list[Batch]) -> None:
        self.max_rise, self.batches = max_rise, batches
        self.first: float | None = None
        self.risen = False

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Measure the base model's loss."""
        if self.first is None:
            self.first = trainer.strategy.broadcast(module.mean_loss(self.batches))

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Stop if the loss has risen too far."""
        assert self.first is not None
        now = float(trainer.callback_metrics["asr_loss"])
        self.risen = now > self.first * (1 + self.max_rise)
        trainer.should_stop = trainer.should_stop or self.risen

    def state_dict(self) -> dict[str, Any]:
        """Save the initial loss."""
        return {"first": self.first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the initial loss."""
        self.first = state_dict["first"]


def checkpointing(
    recipe: Recipe,
    run: RunFolder,
    validated: bool,
    monitor: AsrMonitor | None = None,
    stop: Stop | None = None,
) -> list[lightning.Callback]:
    """``last.ckpt`` every N steps; with a held-out set also ``best.ckpt`` and early stopping."""
    last = run.checkpoints / "last.ckpt"
    measured = validated or monitor is not None
    callbacks: list[lightning.Callback] = [
        LastCheckpoint(last, recipe.checkpoint_every, measured, stop)
    ]
    if stop is not None:
        callbacks.append(stop)
    if validated:
        best = run.checkpoints / "best.ckpt"
        callbacks.append(BestCheckpoint(best, recipe.validation.tolerance, monitor))
        if recipe.validation.patience is not None:
            callbacks.append(EarlyStopping("val_loss", patience=recipe.validation.patience))
    return callbacks


class LastCheckpoint(Checkpoint):
    """The checkpoint to resume from, written every N optimizer steps and when the user stops.

    At a validation step the checkpoint comes first, so a resumed run validates again. The last step
    is always validated; a run resumed after it would skip that, so no checkpoint is written there.
    """

    def __init__(
        self, path: Path, every: int, validated: bool = False, stop: Stop | None = None
    ) -> None:
        self.path, self.every, self.validated = path, every, validated
        self.stop = stop or Stop()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Write the checkpoint if it is due; leave if the user wants to stop."""
        step = trainer.global_step
        in_step = (index + 1) % trainer.accumulate_grad_batches != 0
        if in_step:
            return
        asked = self._asked(trainer)
        if self.validated and step == trainer.max_steps:
            trainer.should_stop = True  # Lightning validates when a run stops early
        elif step % self.every == 0 or asked:
            self._save(trainer, asked)

    def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
        """Leave amid a validation, which the resumed run repeats, if the user wants to stop.

        The last one goes on, and the run with it: it is nearly done.
        """
        if trainer.global_step < trainer.max_steps and self._asked(trainer):
            self._save(trainer, asked=True)

    def _asked(self, trainer: Any) -> bool:
        """Signals reach the processes at different times, and all must stop at the same place."""
        return trainer.strategy.reduce_boolean_decision(self.stop.asked, all=False)

    def _save(self, trainer: Any, asked: bool) -> None:
        trainer.save_checkpoint(self.path)
        if asked:
            raise KeyboardInterrupt


class BestCheckpoint(Checkpoint):
    """The weights with the lowest held-out loss; the first on ties.

    Weights that the monitor rejects are excluded.

    Args:
        tolerance: later weights count as equally good if their loss is above the lowest by less
            than this share.
    """

    def __init__(
        self, path: Path, tolerance: float = 0.0, monitor: AsrMonitor | None = None
    ) -> None:
        self.path, self.tolerance, self.monitor = path, tolerance, monitor
        self.loss = math.inf

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Write the weights if they are the best so far."""
        loss = float(trainer.callback_metrics["val_loss"])
        risen = self.monitor is not None and self.monitor.risen
        if loss < self.loss * (1 + self.tolerance) and not risen:
            self.loss = min(self.loss, loss)
            trainer.save_checkpoint(self.path, weights_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Save the lowest loss."""
        return {"loss": self.loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the lowest loss."""
        self.loss = state_dict["loss"]


class Metrics(lightning.Callback):
    """``metrics.jsonl``: a line for the first step, every tenth, and each validation.

    Numbers only, never text. The losses of a step are means over its batches, those of other
    processes included.
    """

    def __init__(self, path: Path, resume_step: int = 0, every: int = 10) -> None:
        self.path, self.every = path, every
        self.resume_step = resume_step
        self._started = time.monotonic()

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Drop lines that this run will write again, and a partial line of a killed run."""
        if trainer.is_global_zero and self.path.is_file():
            lines = self.path.read_text("utf-8").splitlines()
            kept = [line for line in lines if self._is_past(line)]
            write_text(self.path, "".join(f"{line}\n" for line in kept))

    def _is_past(self, line: str) -> bool:
        try:
            row = json.loads(line)
        except ValueError:
            return False
        # The validation at the checkpoint's own step is repeated.
        step: int = row["step"]
        validated = "val_loss" in row or "asr_loss" in row
        return step < self.resume_step or (step == self.resume_step and not validated)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Write the training losses at intervals."""
        step = trainer.global_step
        stepped = (index + 1) % trainer.accumulate_grad_batches == 0
        if stepped and (step == 1 or step % self.every == 0):
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._write(trainer, module.means.of(trainer) | {"lr": rate})

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Write the held-out loss."""
        found = trainer.callback_metrics.items()
        held_out = {k: float(v) for k, v in found if k in ("val_loss", "asr_loss")}
        self._write(trainer, held_out)

    def _write(self, trainer: Any, values: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        seconds = round(time.monotonic() - self._started, 1)
        row = {"step": trainer.global_step, "seconds": seconds} | values
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class Progress(lightning.Callback):
    """Progress on stderr: a bar with the remaining time, or one line per minute in a log."""

    def __init__(self, steps: int, enabled: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self.steps, self.logs = steps, enabled and not console.is_terminal
        self.logged = time.monotonic()
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
        )
        self.task = self.bar.add_task("training", total=steps)

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Show the bar."""
        self.bar.start()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Move the bar, or write a line."""
        loss = trainer.callback_metrics.get("loss")
        described = "training" if loss is None else f"training, loss {float(loss):.2f}"
        self.bar.update(self.task, completed=trainer.global_step, description=described)
        if self.logs and time.monotonic() - self.logged >= _LOG_SECONDS:
            self.logged = time.monotonic()
            line = f"{described}: {trainer.global_step} of {self.steps} steps"
            self.bar.console.print(line, highlight=False, soft_wrap=True)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Remove the bar."""
        self.bar.stop()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Remove the bar, so that the message appears on a clean terminal."""
        self.bar.stop()
