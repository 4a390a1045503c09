"""The job behind ``asr-llm adapt``: train an adapter for a domain, then evaluate it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.domain.folder import Domain, check
from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.pieces import LONGEST_SECONDS
from asr_llm.errors import CheckpointError, DomainError, RecipeError, RunError, number_of
from asr_llm.files import write_text
from asr_llm.jobs.held_out import HeldOut, general_set, held_out_sets, requested_set
from asr_llm.jobs.measurement import REPORT, Report, System, measure
from asr_llm.jobs.training_run import (
    ORIGIN,
    aligned_in,
    keeping,
    notes_of,
    product,
    refuse_used,
    refuse_without_data,
    run_folder,
)
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.progress import Progress
from asr_llm.recipe import Recipe, text_recipe
from asr_llm.sequences.sources import SpeechSource
from asr_llm.training.processes import Processes, begin

if TYPE_CHECKING:
    from asr_llm.training.run_folder import RunFolder


@dataclass(frozen=True)
class AdaptResult:
    """The result of an adaptation.

    ``adapter`` is None if the recipe trained the model itself, which is then in ``trained_model``;
    ``scores`` is None if the domain has no test set. ``notes`` are messages for the user.
    """

    run: Path
    model: str
    adapter: Path | None
    trained_model: Path | None
    scores: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def adapt(
    domain: str | Path,
    recipe: Recipe | None = None,
    *,
    model: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    general: str | Path | None = None,
    report_audio: bool = True,
    report_text: bool = True,
    progress: Progress | None = None,
) -> AdaptResult:
    """Adapt a model to a domain, then evaluate base and adapted model on held-out data.

    Args:
        domain: the domain folder.
        recipe: default: text-only adaptation.
        model, seed, steps: override the recipe.
        run: the run folder; default: ``runs/<name of the domain>``.
        resume: continue the run in that folder. A finished one is only scored again.
        general: domain folder whose test set measures forgetting; default: the base checkpoint's
            own.
        report_audio, report_text: whether ``report.html`` includes the audio and text of the test
            set.

    Raises:
        AsrLlmError: the domain, the recipe, the model or the run folder is invalid.
        Interrupted: the user stopped the run.
        SystemExit: this process started others, which have ended; or it is one of them, and not
            the first.
    """
    folder = Domain.load(domain)
    place = Path(run) if run is not None else Path("runs") / folder.name
    started = place / "recipe.yaml"
    if resume and recipe is None and started.is_file():
        recipe = Recipe.load(started)  # the run's own recipe
    chosen = (recipe or text_recipe()).override(model=model, seed=seed, steps=steps)
    _refuse_pretraining(chosen)
    processes = begin(chosen)
    notes: list[str] = []
    requested: Domain | HeldOut | None = None
    with processes.together():
        if processes.first:  # others may come when it has begun to write
            refuse_used(place, resume)
            if not resume:
                notes += _checked(folder)
            if general is not None:  # a wrong one is refused before a model is loaded
                requested = requested_set(general)
        if not resume:  # a finished run needs its data no more
            refuse_without_data(chosen, folder)
        training = _Training(folder, chosen, place, requested, progress)
        opened, sets, told = training.carry_out(resume, processes)
    processes.leave()
    adapter = opened.adapter if opened.adapter.is_dir() else None
    trained = opened.model if adapter is None else None
    scores = None
    if "domain" in sets:
        adapted = System("adapted", str(trained or chosen.model), AdapterFolder.read_all(adapter))
        report = Report(
            place / REPORT,
            f"{folder.name}: {chosen.model}, adapted",
            audio=report_audio,
            text=report_text,
            recipe=place / "recipe.yaml",
        )
        systems = [System("base", chosen.model), adapted]
        with keeping(f"the trained {(adapter or trained or place).name}"):
            scores = measure(systems, sets, place, progress, report)
    return AdaptResult(place, chosen.model, adapter, trained, scores, (*notes, *told))


def _checked(domain: Domain) -> list[str]:
    """Refuse a domain with errors before a model is loaded; a note if there are warnings."""
    report = check(domain.path)
    if report.errors:
        raise DomainError(str(report.errors[0]))
    count = len(report.warnings)
    see = f"see: asr-llm domain check {shlex.quote(str(domain.path))}"
    return [f"the domain has {number_of(count, 'warning')}; {see}"] if count else []


def _refuse_pretraining(recipe: Recipe) -> None:
    if recipe.create is not None:
        raise RecipeError(
            "the recipe has 'create', which makes a new model; expected 'model' for an "
            "adaptation: remove the key, or run 'asr-llm pretrain'"
        )
    if recipe.stages:
        raise RecipeError(
            "the recipe has 'stages', which are for training a base model; expected none for an "
            "adaptation: remove the key, or run 'asr-llm pretrain'"
        )


@dataclass(frozen=True)
class _Training:
    """The part of an adaptation that several processes share."""

    folder: Domain
    recipe: Recipe
    place: Path
    general: Domain | HeldOut | None
    progress: Progress | None

    def carry_out(
        self, resume: bool, processes: Processes
    ) -> tuple[RunFolder, dict[str, HeldOut], list[str]]:
        """Train, unless that is done; the run, the sets to score it on, and notes."""
        from asr_llm.model import checkpoints

        with processes.in_turn():  # `small` may have to be composed
            base = checkpoints.locate(self.recipe.model)
        notes: list[str] = []
        sets: dict[str, HeldOut] = {}
        with run_folder(self.place, self.recipe, resume, processes) as opened:
            if processes.first:
                _same_origin(opened, self.folder, self.recipe.model, base)
                sets = held_out_sets(self.folder, self.general or general_set(None, base))
            if processes.agree(product(opened)) is None:
                from asr_llm.training.train import train

                with processes.in_turn():
                    folder = self._aligned(opened, notes)
                shown = self.progress is not None
                done = train(self.recipe, opened, folder, True, shown, processes)
                notes += notes_of(done)
        return opened, sets, notes

    def _aligned(self, run: RunFolder, notes: list[str]) -> Domain:
        """The domain, its recordings with word times where they are needed."""
        folder, model = self.folder, self.recipe.model
        for split in ("train", "dev"):
            if _wants_word_times(self.recipe, folder, split):
                folder = _with_word_times(folder, split, model, run, notes, self.progress)
        return folder


def _wants_word_times(recipe: Recipe, domain: Domain, split: str) -> bool:
    """Whether recordings without word times must be interleaved, or are too long to keep whole."""
    sources = recipe.sources if split == "train" else recipe.held_out_sources
    heard = [s for s in sources if isinstance(s, SpeechSource) and s.data == "domain"]
    heard = [s for s in heard if s.speech != "synthetic"]
    cuts = domain.recordings(split) if heard else None
    interleaved = any(s.needs_word_times for s in heard)
    return any(
        interleaved or cut.duration > LONGEST_SECONDS for cut in cuts or () if not word_items(cut)
    )


def _with_word_times(
    domain: Domain,
    split: str,
    model: str,
    run: RunFolder,
    notes: list[str],
    progress: Progress | None,
) -> Domain:
    """The domain with a split's recordings aligned by the base model's CTC head."""
    from asr_llm.jobs.align import WordTimes, align_manifest

    manifest, aligned = domain.manifest(split), aligned_in(run) / f"{split}.jsonl.gz"
    assert manifest is not None
    if not aligned.is_file():
        try:
            times = WordTimes(model, anew=False)
            done = align_manifest(manifest, aligned, times, progress=progress)
        except CheckpointError as error:
            raise RecipeError(
                "interleaving recordings, or splitting those longer than "
                f"{LONGEST_SECONDS:g} s, needs the word times of {manifest}, and {error}. "
                f"Align it first: asr-llm align {manifest} --model CTC.nemo"
            ) from error
        notes += [f"left out {dropped.id}: {dropped.reason}" for dropped in done.dropped]
    return replace(domain, manifests={**domain.manifests, split: aligned})


def _same_origin(run: RunFolder, domain: Domain, model: str, base: Path) -> None:
    """Record what a run adapts, and reject resuming it with another domain or base."""
    from asr_llm.model.checkpoints import identity

    path = run.path / ORIGIN
    origin = {"domain": domain.name, "model": model, "sha256": identity(base)}
    if not path.is_file():
        with run.disk_errors():
            write_text(path, json.dumps(origin, indent=2) + "\n")
        return
    before = json.loads(path.read_text("utf-8"))
    if before["domain"] != domain.name:
        raise RunError(
            f"{run.path} adapts to the domain {before['domain']!r}, not {domain.name!r}; "
            "choose another folder with -o"
        )
    if before["sha256"] != origin["sha256"]:
        raise RunError(
            f"{run.path} began with other weights of {before['model']} "
            f"({before['sha256'][:12]}…, now {origin['sha256'][:12]}…); "
            "choose another folder with -o"
        )
