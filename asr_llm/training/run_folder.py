"""A run folder: refuses to be overwritten, can be resumed, never holds half a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.plugins import TorchCheckpointIO

from asr_llm.errors import RunError
from asr_llm.recipe import Recipe


class RunFolder:
    """Paths and rules of ``runs/<name>/`` (see DESIGN: run folder).

    recipe.yaml, metrics.jsonl, checkpoints/, adapter/ or model/, hypotheses/, scores.json
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.adapter = self.path / "adapter"
        self.model = self.path / "model"
        self.initial_model = self.path / "initial"
        self.hypotheses = self.path / "hypotheses"
        self.scores = self.path / "scores.json"

    def open(self, recipe: Recipe, resume: bool) -> None:
        """Create the folder and write the effective recipe, or check that it is the same.

        Raises:
            RunError: the folder is in the way, or holds a run of another recipe.
        """
        from asr_llm import __version__

        text = yaml.safe_dump(recipe.dump() | {"asr_llm": __version__}, sort_keys=False)
        if self.recipe.is_file():
            if not resume:
                raise RunError(
                    f"{self.path} already holds a run; expected a new folder: choose another with "
                    "-o, or go on with --resume"
                )
            if self.recipe.read_text("utf-8") != text:
                raise RunError(
                    f"{self.recipe} differs from the recipe given; a run resumes with its own "
                    f"recipe only: pass the same one, or choose another folder with -o"
                )
            return
        if self.path.exists() and any(p.name != "initial" for p in self.path.iterdir()):
            raise RunError(
                f"{self.path} exists and holds no run; expected a new or empty folder: choose "
                "another with -o"
            )
        with self.disk_errors():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_text(self.recipe, text)

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint to resume from."""
        path = self.checkpoints / "last.ckpt"
        return path if path.is_file() else None

    def best_checkpoint(self) -> Path | None:
        """The checkpoint with the lowest held-out loss."""
        path = self.checkpoints / "best.ckpt"
        return path if path.is_file() else None

    @staticmethod
    def step_of(checkpoint: Path | None) -> int:
        """Optimizer steps done at a checkpoint; 0 without one."""
        if checkpoint is None:
            return 0
        import torch

        saved = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
        return int(saved["global_step"])

    @staticmethod
    def checkpoint_io() -> TorchCheckpointIO:
        """Lightning's writer, made atomic."""
        return _AtomicCheckpointIO()

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """A full disk or a forbidden path becomes one clear line."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            raise RunError(
                f"cannot write to {self.path}: {error.strerror}; make room or choose another "
                "folder with -o, then go on with --resume (the last checkpoint is whole)"
            ) from error


class _AtomicCheckpointIO(TorchCheckpointIO):
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        import torch

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        os.replace(part, path)

    def load_checkpoint(self, path: Any, map_location: Any = None) -> Any:
        import torch

        # Our own file: optimizer and loop state are more than tensors.
        return torch.load(path, map_location=map_location or "cpu", weights_only=False)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    os.replace(part, path)
