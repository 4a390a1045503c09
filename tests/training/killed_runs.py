"""Carries out trainings, each in a process of its own that ends itself where it is told.

Run as a script with a file of jobs, JSON: a list of {"folder", "recipe", "kills"}, where
``kills`` names the end of each process but the last, which comes to its end. What is
imported is imported once: the processes are forks.

A recipe for several ``devices`` is carried out by as many processes, of which the last is killed.
Then ``resumed`` may say what differs in the recipe of the process that comes to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Do all jobs; exit with the first status that is not as it should be."""
    import asr_llm.training.train  # noqa: F401  (for the forks)
    from asr_llm.training.launch import free_port

    for job in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        for end in [*job["kills"], None]:
            recipe = job["recipe"] | (job.get("resumed", {}) if end is None else {})
            count = recipe.get("devices", 1)
            os.environ["MASTER_PORT"] = str(free_port())
            started = [start(job["folder"], recipe, end, rank, count) for rank in range(count)]
            *others, last = (os.waitpid(process, 0)[1] for process in started)
            expected = 0 if end is None else signal.SIGKILL
            if last != expected or any((status != 0) != (end is not None) for status in others):
                found = [*others, last]
                sys.exit(f"{job['folder']}: ended with {found} at {end}, expected {expected}")


def start(folder: str, recipe: dict[str, Any], end: list[Any] | None, rank: int, count: int) -> int:
    """Fork one of ``count`` processes of a run; its id."""
    child = os.fork()
    if child:
        return child
    if count > 1:
        os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    try:
        carry_out(folder, recipe, end if rank == count - 1 else None)
    except SystemExit as left:
        os._exit(left.code)  # type: ignore[arg-type]
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def carry_out(folder: str, recipe: dict[str, Any], end: list[Any] | None) -> None:
    """One process of a run."""
    from asr_llm.recipe import Recipe
    from asr_llm.training.processes import begin
    from asr_llm.training.run_folder import RunFolder
    from asr_llm.training.train import train

    if end is not None:
        arm(*end)
    chosen = Recipe.model_validate(recipe)
    processes = begin(chosen)
    try:
        with processes.together():
            run = RunFolder(folder)
            train(chosen, run, resume=True, progress=False, processes=processes)
        processes.leave()
    except KeyboardInterrupt:
        die()


def die(*args: Any, **kwargs: Any) -> None:
    """SIGKILL: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(place: str, number: int) -> None:
    """Die in a place at its n-th turn, counted from 1; in a batch by its number from 0.

    "interrupt" is Ctrl-C in a batch, "interrupt validation" in a batch of a validation.
    """
    import safetensors.torch
    import torch

    from asr_llm.training.callbacks import LastCheckpoint
    from asr_llm.training.fit import Fit

    def half(checkpoint: Any, file: Any) -> None:
        file.write(b"half a checkpoint")
        file.flush()
        die()

    if place == "batch":
        step = Fit.training_step
        Fit.training_step = lambda self, batch, index: (  # type: ignore[method-assign]
            die() if index == number else step(self, batch, index)
        )
    elif place == "interrupt":
        interrupted = Fit.training_step

        def stopped(self: Any, batch: Any, index: int) -> Any:
            if index == number:
                signal.raise_signal(signal.SIGINT)
            return interrupted(self, batch, index)

        Fit.training_step = stopped  # type: ignore[method-assign]
    elif place == "validation":
        Fit.validation_step = at(number, die, Fit.validation_step)  # type: ignore[method-assign]
    elif place == "interrupt validation":
        validate = Fit.validation_step

        def interrupting(self: Any, batch: Any, index: int) -> None:
            signal.raise_signal(signal.SIGINT)
            validate(self, batch, index)

        Fit.validation_step = at(number, interrupting, validate)  # type: ignore[method-assign]
    elif place == "after checkpoint":
        write = LastCheckpoint.on_train_batch_end

        def written(self: Any, trainer: Any, *rest: Any) -> None:
            write(self, trainer, *rest)
            if self.path.exists() and trainer.global_step == number:
                die()

        LastCheckpoint.on_train_batch_end = written  # type: ignore[method-assign]
    elif place == "writing a checkpoint":
        torch.save = at(number, half, torch.save)
    elif place == "writing the result":
        safetensors.torch.save_file = at(number, die, safetensors.torch.save_file)
    else:
        raise ValueError(place)


def at(number: int, instead: Callable[..., Any], usual: Callable[..., Any]) -> Callable[..., Any]:
    """Do as usual, but something else at the n-th call."""
    count = 0

    def chosen(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return (instead if count == number else usual)(*args, **kwargs)

    return chosen


if __name__ == "__main__":
    main()
