"""What happens around the steps: checkpoints, metrics, progress."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from asr_llm.recipe import Recipe
from asr_llm.training.run_folder import RunFolder, write_text


def checkpointing(recipe: Recipe, run: RunFolder, validated: bool) -> list[lightning.Callback]:
    """``last.ckpt`` every so many steps; with a held-out set ``best.ckpt`` and early stop."""
    folder = str(run.checkpoints)
    callbacks: list[lightning.Callback] = [
        ModelCheckpoint(
            folder,
            filename="last",
            every_n_train_steps=recipe.checkpoint_every,
            save_top_k=1,
            enable_version_counter=False,
        )
    ]
    if validated:
        callbacks.append(
            ModelCheckpoint(
                folder,
                filename="best",
                monitor="val_loss",
                save_top_k=1,
                enable_version_counter=False,
                save_on_train_epoch_end=False,
            )
        )
        if recipe.validation.patience is not None:
            callbacks.append(EarlyStopping("val_loss", patience=recipe.validation.patience))
    return callbacks


class Metrics(lightning.Callback):
    """``metrics.jsonl``: a line a step, and one a validation. Numbers only, never text."""

    def __init__(self, path: Path, resume_step: int = 0, every: int = 10) -> None:
        self.path, self.every = path, every
        self.resume_step = resume_step
        self._started = time.monotonic()

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Drop the lines written after the checkpoint that this run resumes from."""
        if self.path.is_file():
            lines = self.path.read_text("utf-8").splitlines()
            kept = [x for x in lines if json.loads(x)["step"] <= self.resume_step]
            write_text(self.path, "".join(f"{line}\n" for line in kept))

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Write the training losses, now and then."""
        step = trainer.global_step
        if step % self.every == 0 and (index + 1) % trainer.accumulate_grad_batches == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._write(trainer, step, ("loss", "lm", "ctc"), lr=rate)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Write the held-out loss."""
        self._write(trainer, trainer.global_step, ("val_loss",))

    def _write(self, trainer: Any, step: int, names: tuple[str, ...], **more: float) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k in names}
        row = {"step": step, "seconds": round(time.monotonic() - self._started, 1)} | found | more
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class Progress(lightning.Callback):
    """A progress bar on stderr with the time left; silent when stderr is no terminal."""

    def __init__(self, steps: int, enabled: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
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
        """Move the bar."""
        loss = trainer.callback_metrics.get("loss")
        described = "training" if loss is None else f"training, loss {float(loss):.2f}"
        self.bar.update(self.task, completed=trainer.global_step, description=described)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Put the bar away."""
        self.bar.stop()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Put the bar away, and leave the terminal clean for the message."""
        self.bar.stop()
