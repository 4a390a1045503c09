"""The job behind ``asr-llm pretrain``: a recipe that needs no domain, in one stage or several."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.jobs.training_run import keeping, refuse_used, refuse_without_data, run_folder
from asr_llm.recipe import Recipe
from asr_llm.training.processes import Processes, begin

if TYPE_CHECKING:
    from asr_llm.training.train import Trained


def pretrain(
    recipe: Recipe, *, run: str | Path | None = None, resume: bool = False, progress: bool = False
) -> Trained:
    """Train by a recipe that needs no domain, such as a stage of `mini`.

    Args:
        run: the run folder; default: ``runs/<name of the recipe>``.

    Raises:
        AsrLlmError: the recipe, its data, its model or the run folder is invalid.
        Interrupted: the user stopped the run.
        SystemExit: this process started others, which have ended; or it is one of them, and not
            the first.
    """
    place = Path(run) if run is not None else Path("runs") / recipe.name
    folders = [place]
    if recipe.stages:
        folders = [place / f"{i}-{stage.name}" for i, stage in enumerate(recipe.stages, start=1)]
    processes = begin(recipe)
    with processes.together():
        if processes.first:  # others may come when it has begun to write
            refuse_used(folders[0], resume)
        if not resume:  # a finished run needs its data no more
            refuse_without_data(recipe)
        done = _in_stages(recipe, folders, resume, progress, processes)
    processes.leave()
    return done


def _in_stages(
    recipe: Recipe, folders: list[Path], resume: bool, progress: bool, processes: Processes
) -> Trained:
    from asr_llm.training.train import train

    before: Path | None = None
    for folder, stage in zip(folders, recipe.in_stages()):
        chosen = stage.override(model=str(before) if before else None)
        stages_before = keeping("what the stages before trained") if before else nullcontext()
        with stages_before, run_folder(folder, chosen, resume, processes) as opened:
            done = train(chosen, opened, resume=True, progress=progress, processes=processes)
        before = done.model
    return done
