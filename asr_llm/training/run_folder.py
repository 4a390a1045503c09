"""Run folder: never overwritten, resumable, without partial files."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.plugins import TorchCheckpointIO

from asr_llm.errors import AsrLlmError, RunError
from asr_llm.files import write_text
from asr_llm.recipe import Recipe
from asr_llm.version import __version__

_OF_MACHINES = ("devices", "num_nodes", "strategy")
"""Keys of a recipe that do not change the result: a run may resume with others."""


class RunFolder:
    """Paths and rules of ``runs/<name>/`` (see DESIGN: run folder).

    recipe.yaml, metrics.jsonl, answers.json (of a teacher), checkpoints/, adapter/ or model/,
    hypotheses/, scores.json
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.answers = self.path / "answers.json"
        self.checkpoints = self.path / "checkpoints"
        self.adapter = self.path / "adapter"
        self.model = self.path / "model"
        self.initial_model = self.path / "initial"
        self.hypotheses = self.path / "hypotheses"
        self.scores = self.path / "scores.json"

    def open(self, recipe: Recipe, resume: bool) -> None:
        """Create the folder and write the effective recipe, or check that it is the same.

        Raises:
            RunError: the folder is in the way, or has a run of another recipe.
        """
        text = yaml.safe_dump(recipe.dump() | {"asr_llm": __version__}, sort_keys=False)
        if self.recipe.is_file():
            if not resume:
                raise RunError(
                    f"{self.path} already holds a run; expected a new folder: choose "
                    "another with -o, or continue with --resume"
                )
            if differing := self._differing(recipe):
                raise RunError(
                    f"{self.recipe} differs from what is asked for in {', '.join(differing)}; a "
                    "run resumes with its own recipe only: ask for the same (an adaptation resumes "
                    "without --recipe, --seed and --steps), or choose another folder with -o"
                )
            return
        taken = self.path.exists() and not self.path.is_dir()
        if taken or (self.path.is_dir() and any(map(_in_the_way, self.path.iterdir()))):
            raise RunError(
                f"{self.path} exists and holds no run; expected a new or empty folder: choose "
                "another with -o"
            )
        with self.disk_errors():
            try:
                self.checkpoints.mkdir(parents=True, exist_ok=True)
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                raise RunError(
                    f"cannot make the run folder {self.path}: {error.strerror}; expected "
                    "a writable place: choose another with -o"
                ) from error
            write_text(self.recipe, text)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes; the system unlocks it when this one ends.

        Raises:
            RunError: another process is using this folder.
        """
        path = self.path / ".lock"
        with self.disk_errors():
            file = path.open("a")
        with file:
            try:
                # Unlike flock's, this lock is not inherited by the loader's process.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"{self.path} is in use by another process; wait until that has ended, or "
                    "choose another folder with -o"
                ) from error
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # usually not empty
                    self.path.rmdir()

    def _differing(self, recipe: Recipe) -> list[str]:
        """Keys that change the result in which a recipe differs from the run's own."""
        try:
            own = yaml.safe_load(self.recipe.read_text("utf-8"))
            before = Recipe.model_validate(own).dump()
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.recipe} cannot be read as the recipe of a run; restore it, or choose "
                "another folder with -o"
            ) from error
        now = recipe.dump()
        return [key for key in now if now[key] != before[key] and key not in _OF_MACHINES]

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint to resume from."""
        path = self.checkpoints / "last.ckpt"
        return path if path.is_file() else None

    def best_checkpoint(self) -> Path | None:
        """The checkpoint with the lowest held-out loss."""
        path = self.checkpoints / "best.ckpt"
        return path if path.is_file() else None

    def best_loss(self) -> float | None:
        """The held-out loss of the best checkpoint."""
        path = self.best_checkpoint()
        loss = _read(path).get("val_loss") if path is not None else None
        return None if loss is None else float(loss)

    @staticmethod
    def step_of(checkpoint: Path | None) -> int:
        """Optimizer steps done at a checkpoint; 0 without one."""
        return 0 if checkpoint is None else int(_read(checkpoint)["global_step"])

    @staticmethod
    def checkpoint_io() -> TorchCheckpointIO:
        """Lightning's writer, made atomic."""
        return _AtomicCheckpointIO()

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn a full disk or a forbidden path into a one-line error."""
        try:
            yield
        except AsrLlmError:
            raise
        except Exception as error:
            reason = _refusal(error, self.path)
            if reason is None:
                raise
            raise RunError(
                f"cannot write to {self.path}: {reason}; make room or choose another "
                "folder with -o, then continue with --resume (the last checkpoint is whole)"
            ) from error


def _refusal(error: BaseException, folder: Path) -> str | None:
    """Why the disk rejected a write to ``folder``, if it did.

    torch wraps the system's error in its own, safetensors in the message.
    """
    link: BaseException | None = error
    while link is not None:
        for code in (errno.ENOSPC, errno.EDQUOT):
            if getattr(link, "errno", None) == code or f"(os error {code})" in str(link):
                return os.strerror(code)
        if isinstance(link, OSError) and link.errno in (errno.EACCES, errno.EROFS):
            named, ours = Path(os.fsdecode(link.filename or "")).absolute(), folder.absolute()
            if named.is_relative_to(ours) or ours.is_relative_to(named):
                return os.strerror(link.errno)
        link = link.__cause__ or link.__context__
    return None


def _in_the_way(path: Path) -> bool:
    """Whether a file prevents starting a run; a new model, or part of one, does not."""
    return path.name not in ("initial", ".initial.part", ".initial.old", ".lock")


def _read(checkpoint: Path) -> dict[str, Any]:
    """Read one of our checkpoints (which have more than tensors), memory-mapped.

    Raises:
        RunError: it is not a checkpoint.
    """
    import torch

    try:
        saved: dict[str, Any] = torch.load(
            checkpoint, map_location="cpu", weights_only=False, mmap=True
        )
    except Exception as error:
        raise RunError(
            f"{checkpoint} cannot be read ({error}); remove it to restart this run with "
            "--resume, or choose another folder with -o"
        ) from error
    return saved


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

        # Our own file; optimizer and loop state need pickle.
        return torch.load(path, map_location=map_location or "cpu", weights_only=False)
