"""The processes that train together: one per GPU, on one machine or several.

They share the batches of every step: process r of P computes batches r, r + P, … of those that a
single process would compute one after the other. So a run does not depend on their number, but for
rounding, and resumes on another.

On one machine the command line starts them itself (``launch``); torchrun or srun start those of
several machines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from asr_llm.errors import AsrLlmError, RecipeError, RunError
from asr_llm.training.launch import launch

if TYPE_CHECKING:
    from lightning.fabric.plugins import ClusterEnvironment

    from asr_llm.recipe import Recipe

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long processes wait while the first prepares data or writes a model."""

_LOST = ("gloo", "nccl", "closed by peer", "reset by peer", "broken pipe", "timed out")


@dataclass(frozen=True)
class Processes:
    """This process among those of a run.

    Args:
        rank: from 0; the first writes the run folder, shows progress and reports.
        count: of all machines.
        local_rank: from 0, on this machine.
        group: connection for what is not training; None if alone.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            import torch

            torch.distributed.barrier(group=self.group)

    def agree(self, value: T) -> T:
        """The first process's value."""
        if self.count == 1:
            return value
        import torch

        values = [value]
        torch.distributed.broadcast_object_list(values, group=self.group)
        return values[0]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first process fill the caches, then one on each other machine, then all."""
        turn = 0 if self.first else 1 if self.local_rank == 0 else 2
        for _ in range(turn):
            self.wait()
        yield
        for _ in range(turn, 2):
            self.wait()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What all processes do, in which the first reports errors.

        Raises:
            RunError: in the first, if another process has ended.
            SystemExit: in the others, on an error.
        """
        try:
            yield
        except (RuntimeError, AsrLlmError, KeyboardInterrupt) as error:
            ours = isinstance(error, AsrLlmError | KeyboardInterrupt)
            if self.count == 1 or not (ours or _is_lost(error)):
                raise
            if not self.first:
                raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
            if ours:
                raise
            raise RunError(
                f"another of the {self.count} processes has ended, so this one cannot go on; the "
                "last checkpoint is whole: continue with --resume"
            ) from error

    def leave(self) -> None:
        """End all processes but the first.

        Raises:
            SystemExit: in the others.
        """
        if self.count > 1:
            import torch

            self.wait()
            torch.distributed.destroy_process_group()
        if not self.first:
            raise SystemExit(0)


ALONE = Processes()


def begin(recipe: Recipe) -> Processes:
    """Connect to the other processes of a run, or start them.

    Raises:
        RecipeError: another number was started than the recipe says.
        RunError: it takes several machines, and torchrun or srun has not started them.
        SystemExit: they were started by this process, and have ended.
    """
    if recipe.processes == 1 and "LOCAL_RANK" not in os.environ:
        return ALONE  # srun may start several runs
    started = _started()
    if started is None and recipe.processes > 1:
        if recipe.num_nodes > 1:
            raise RunError(
                f"num_nodes: found {recipe.num_nodes} in the recipe, but only this process was "
                "started; expected one per GPU on every machine: start them with torchrun or srun "
                "(docs/scale.md)"
            )
        raise SystemExit(launch(recipe.devices))
    if started != recipe.processes:
        raise RecipeError(
            f"{started} processes were started, but devices: {recipe.devices} times num_nodes: "
            f"{recipe.num_nodes} is {recipe.processes}; expected the same number"
        )
    return _connected(recipe) if recipe.processes > 1 else ALONE


def environment() -> ClusterEnvironment:
    """Lightning's description of who started the processes.

    Raises:
        RunError: srun was called with options that Lightning does not support.
    """
    from lightning.fabric.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "LOCAL_RANK" in os.environ:
        return LightningEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise RunError(f"srun: {error}") from error


def _started() -> int | None:
    """How many processes torchrun, srun or ``launch`` started; None if none of them did."""
    if "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS")  # not set in a batch script outside of srun
    return int(tasks) if tasks else None


def _connected(recipe: Recipe) -> Processes:
    import torch

    where = environment()
    local, cuda = where.local_rank(), torch.cuda.is_available()
    if cuda and recipe.devices > torch.cuda.device_count():
        raise RecipeError(
            f"devices: found {recipe.devices}; expected at most {torch.cuda.device_count()}, the "
            "GPUs of this machine"
        )
    if cuda:
        torch.cuda.set_device(local)
    os.environ["MASTER_ADDR"] = where.main_address
    os.environ["MASTER_PORT"] = str(where.main_port)
    where.set_global_rank(where.node_rank() * recipe.devices + local)  # others know theirs
    rank = where.global_rank()
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo", rank=rank, world_size=recipe.processes
    )
    group = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)
    return Processes(rank, recipe.processes, local, group)


def _is_lost(error: BaseException) -> bool:
    """Whether an error says that the connection to another process is gone."""
    return any(word in str(error).lower() for word in _LOST)
