"""Run folders of training jobs: reject used ones, lock them, remove what cannot be resumed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.domain.folder import Domain
from asr_llm.errors import Interrupted, RunError
from asr_llm.files import check_writable
from asr_llm.recipe import Recipe
from asr_llm.sequences.sources import Folders, untimed
from asr_llm.training.processes import ALONE, Processes

if TYPE_CHECKING:
    from asr_llm.training.run_folder import RunFolder
    from asr_llm.training.train import Trained

ORIGIN = "origin.json"
"""File in the run folder of an adaptation: its domain and base."""


def refuse_used(place: Path, resume: bool) -> None:
    """Reject a used or unwritable folder early; ``RunFolder.open`` also does, but loads slowly."""
    check_writable(place)
    if not resume and (place / "recipe.yaml").is_file():
        raise RunError(
            f"{place} already holds a run; expected a new folder: choose another with -o, "
            "or continue with --resume"
        )


def refuse_without_data(recipe: Recipe, domain: Domain | None = None) -> None:
    """Reject a recipe whose data is absent, before a model is loaded.

    ``replay`` may come with the model, and is checked with it.

    Raises:
        AsrLlmError: see ``Source.check``.
    """
    for stage in recipe.in_stages():
        for source in stage.sources:
            if source.data != "replay":
                source.check(Folders(domain))


@contextmanager
def run_folder(
    place: Path, recipe: Recipe, resume: bool, processes: Processes = ALONE
) -> Iterator[RunFolder]:
    """Open and lock the run folder. A run that ends before its first checkpoint leaves none.

    Of several processes only the first does; the others wait for it.

    Raises:
        Interrupted: the user stopped the run.
    """
    from asr_llm.training.run_folder import RunFolder

    run = RunFolder(place)
    if not processes.first:
        processes.wait()
        yield run
        return
    run.open(recipe, resume)
    with run.locked():
        processes.wait()
        try:
            yield run
        except Exception:
            made = (run.last_checkpoint(), run.best_checkpoint(), product(run))
            if not any(made):
                _remove(run)
            raise
        except KeyboardInterrupt as stopped:
            kept = _kept(run)
            if kept is None:
                _remove(run)
            raise Interrupted(kept) from stopped


def _kept(run: RunFolder) -> str | None:
    """What a run that was stopped can be resumed from."""
    if made := product(run):
        return f"the trained {made.name}"
    if last := run.last_checkpoint():
        return f"training up to step {run.step_of(last)}"
    if any(aligned_in(run).glob("*.jsonl.gz")):
        return "the word times of the recordings"
    return None


def _remove(run: RunFolder) -> None:
    for path in (run.recipe, run.metrics, run.answers, run.path / ORIGIN):
        path.unlink(missing_ok=True)
    for made_before in (run.checkpoints, aligned_in(run)):
        shutil.rmtree(made_before, ignore_errors=True)


def aligned_in(run: RunFolder) -> Path:
    """Folder of the manifests that an adaptation had aligned."""
    return run.path / "alignment"


@contextmanager
def keeping(kept: str) -> Iterator[None]:
    """Have an interruption say what is kept, unless it says so itself.

    Raises:
        Interrupted: the user stopped the run.
    """
    try:
        yield
    except KeyboardInterrupt as stopped:
        own = stopped.kept if isinstance(stopped, Interrupted) else None
        raise Interrupted(own or kept) from stopped


def product(run: RunFolder) -> Path | None:
    """The final product of a run, written last and atomically."""
    return next((path for path in (run.adapter, run.model) if path.is_dir()), None)


def notes_of(trained: Trained) -> list[str]:
    """Notes on a training that skipped data or was stopped by its monitor."""
    notes = [untimed(trained.left_out)] if trained.left_out else []
    if trained.stopped is not None:
        notes.append(
            f"stopped at step {trained.stopped}: the loss on general speech had risen by more than "
            "validation.max_rise allows; the best weights from before are kept, if there were any"
        )
    return notes
