"""The training loop, from recipe to run folder, for pretraining and adaptation.

Every batch is a function of the seed and its number, and the random state is reset from both at
every step, so a run killed at any moment and resumed from its last checkpoint ends with the same
weights as an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import AsrLlmError, RunError
from asr_llm.files import write_text
from asr_llm.model import checkpoints, lora
from asr_llm.model.allocator import keep_memory, release_memory
from asr_llm.model.salm import SpanSALM
from asr_llm.model.sources import tell
from asr_llm.recipe import Recipe
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.batching import BatchStream
from asr_llm.sequences.sources import Folders
from asr_llm.training import memory, preflight, streams
from asr_llm.training.callbacks import AsrMonitor, Metrics, Progress, checkpointing
from asr_llm.training.first_passes import hearer
from asr_llm.training.fit import Fit
from asr_llm.training.loading import interruptible, loader
from asr_llm.training.parts import cached_encoder, fit_projector, prepare
from asr_llm.training.processes import ALONE, Processes, environment
from asr_llm.training.run_folder import RunFolder
from asr_llm.training.sharding import sharing, whole
from asr_llm.training.stopping import Stop
from asr_llm.training.teacher import Teacher


@dataclass(frozen=True)
class Trained:
    """Result of a run: the path of its ``adapter`` or ``model``; ``best`` is its dev loss.

    ``stopped`` is the step at which the monitor stopped the run; ``left_out`` names recordings
    skipped for lack of word times.
    """

    run: Path
    adapter: Path | None
    model: Path | None
    best: float | None
    stopped: int | None = None
    left_out: frozenset[str] = frozenset()


_WORTH_SAYING = 2**30
"""Bytes of memory from which on a run tells what it will need."""


def train(
    recipe: Recipe,
    run: RunFolder,
    domain: Domain | None = None,
    resume: bool = False,
    progress: bool = True,
    processes: Processes = ALONE,
) -> Trained:
    """Train by a recipe.

    Args:
        run: output folder; see ``RunFolder``.
        domain: what 'domain' means in the recipe's sources.
        resume: continue from the last checkpoint of ``run``, if any; a finished run is not trained
            again.
        processes: those that share the batches; all of them call this.

    Raises:
        AsrLlmError: the recipe, the data, the model or the run folder is invalid.
        KeyboardInterrupt: the user stopped it; it can be resumed after the last step done.
    """
    if processes.first:
        run.open(recipe, resume)
    done, last = processes.agree((_done(run), run.last_checkpoint() if resume else None))
    if done is not None:
        return done
    keep_memory()
    say = _teller(recipe, run.step_of(last)) if progress and processes.first else None
    with run.disk_errors():
        base = _starting_point(recipe, run, last is None, processes)
        model = _model(recipe, base, say)
        replay = _replay(recipe, base, domain)
        hear, teach = hearer(base, model, say), Teacher(base, model, say)
        folders = Folders(domain, replay, hear=hear, teach=teach)
        with processes.in_turn():
            stream = streams.make_stream(recipe, model, recipe.sources, folders)
            held_out = streams.validation_batches(recipe, model, folders)
            monitored = streams.monitored_batches(recipe, model, folders)
        preflight.check_batch(model, stream[0])
        if processes.first:
            _record_answers(stream, run, say)
        if recipe.fit_projector and last is None:
            fit_projector(model, stream)
        if recipe.strategy != "fsdp":
            model.cached_encoder = cached_encoder(model, recipe)

        stop, max_rise = Stop(say), recipe.validation.max_rise
        monitor = AsrMonitor(max_rise, monitored) if max_rise is not None else None
        callbacks = [
            *([monitor] if monitor else []),
            *checkpointing(recipe, run, bool(held_out), monitor, stop),
            Metrics(run.metrics, resume_step=run.step_of(last)),
            Progress(recipe.steps, enabled=say is not None),
        ]
        dev = _made(held_out + monitored)
        fit, trainer = Fit(model, recipe), _trainer(recipe, run, callbacks, dev is not None)
        release_memory()
        batches = loader(stream, run.step_of(last) * recipe.accumulate, processes)
        with checkpoints.quiet(), interruptible(), _said_by(processes):
            trainer.fit(fit, batches, dev, ckpt_path=last)
        whole(model, processes.first)
        if processes.first:
            best = fit.load_best(run) if held_out else None
            done = _finish(recipe, run, model, base, best, domain)
        done, asked = processes.agree((done, stop.asked))
        if asked:  # in the last step
            raise KeyboardInterrupt
        assert done is not None
        stopped = trainer.global_step if monitor and monitor.risen else None
        left_out = frozenset[str]().union(*(source.left_out for source in stream.sources))
        return replace(done, stopped=stopped, left_out=left_out)


def _teller(recipe: Recipe, step: int) -> Callable[[str], None]:
    """What tells the user; it begins with the step that a run resumes after."""
    if step:
        tell(f"resuming after step {step} of {recipe.steps}")
    return tell


def _model(recipe: Recipe, base: Path, say: Callable[[str], None] | None) -> SpanSALM:
    """The model with what the recipe trains, if there is memory for it."""
    model = checkpoints.build(base)
    needed = preflight.check(model, recipe, base, partial(memory.available, recipe.devices))
    if say and needed.total >= _WORTH_SAYING:
        say(f"memory: at least {needed}")
        if recipe.precision == "auto" and not memory.halved(recipe):
            say("precision: float32, which is faster than bfloat16 on this machine")
    checkpoints.load_weights(model, base)
    prepare(model, recipe)
    # NeMo's FastConformer would ask the other processes, which may have a batch of text now.
    model.perception.encoder.sync_max_audio_length = False
    if not torch.cuda.is_available():
        # On CPU plain attention is a quarter faster in training than SDPA at our lengths.
        model.causal_lm.set_attn_implementation("eager")
    return model


def _done(run: RunFolder) -> Trained | None:
    """The result of a run that is finished already."""
    if not (run.adapter.is_dir() or run.model.is_dir()):
        return None
    adapter, made = (path if path.is_dir() else None for path in (run.adapter, run.model))
    return Trained(run.path, adapter, made, run.best_loss())


@contextmanager
def _said_by(processes: Processes) -> Iterator[None]:
    """Errors in a batch of another than the first process are told by it: no other has them."""
    try:
        yield
    except AsrLlmError as error:
        if not processes.first:
            tell(f"error in process {processes.rank + 1} of {processes.count}: {error}")
        raise


def _made(batches: list[Batch]) -> Any:
    """Loader of ready batches, None without any; a plain list would count as several loaders."""
    if not batches:
        return None
    return torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def _record_answers(stream: BatchStream, run: RunFolder, say: Callable[[str], None] | None) -> None:
    """Report and record how many of a teacher's answers are used."""
    judged = [source.judged for source in stream.sources if source.judged is not None]
    if not judged:
        return
    for one in judged:
        if say is not None:
            say(str(one))
    write_text(run.answers, json.dumps([one.record() for one in judged], indent=2) + "\n")


def _trainer(
    recipe: Recipe, run: RunFolder, callbacks: list[lightning.Callback], validated: bool
) -> lightning.Trainer:
    between = recipe.validation.every * recipe.accumulate // recipe.processes
    shared: dict[str, Any] = {"devices": 1, "plugins": []}
    if recipe.processes > 1:
        shared = {
            "devices": recipe.devices,
            "num_nodes": recipe.num_nodes,
            "strategy": sharing(recipe),
            "plugins": [environment()],
        }
    return lightning.Trainer(
        **shared | {"plugins": [*shared["plugins"], run.checkpoint_io()]},
        accelerator="auto",
        precision="bf16-mixed" if memory.halved(recipe) else "32-true",
        max_steps=recipe.steps,
        accumulate_grad_batches=recipe.accumulate // recipe.processes,
        gradient_clip_val=recipe.optimizer.clip,
        val_check_interval=between if validated else None,
        check_val_every_n_epoch=None if validated else 1,
        limit_val_batches=None if validated else 0,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=True,
        use_distributed_sampler=False,
    )


def _starting_point(recipe: Recipe, run: RunFolder, anew: bool, processes: Processes) -> Path:
    """Folder of the model a run starts from; a new model is created in the run folder."""
    if recipe.create is None:
        with processes.in_turn():  # `small` may have to be composed
            return checkpoints.locate(recipe.model)
    from asr_llm.model.creation import create

    if processes.first and (anew or not run.initial_model.is_dir()):
        create(Path(recipe.create), run.initial_model, recipe.seed)
    processes.wait()
    return run.initial_model


def _replay(recipe: Recipe, base: Path, domain: Domain | None) -> Domain | None:
    """General speech to replay: the recipe's, the base's, or for English `mini`'s."""
    if recipe.replay:
        return Domain.load(recipe.replay)
    if (base / "replay").is_dir():
        return Domain.load(base / "replay")
    if domain is not None and domain.config.language == "en":
        return Domain.load(checkpoints.locate("mini") / "replay")
    return None


def _finish(
    recipe: Recipe,
    run: RunFolder,
    model: SpanSALM,
    base: Path,
    best: float | None,
    domain: Domain | None,
) -> Trained:
    model.eval()
    if not all(p.isfinite().all() for p in model.parameters() if p.requires_grad):
        raise RunError(
            "training diverged: the weights contain NaN or Inf; lower optimizer.lr or "
            "set 'precision: \"32\"' in the recipe, and start a new run"
        )
    if "lora" in recipe.train:
        named = recipe.model if recipe.create is None else base
        lora.save(
            model,
            run.adapter,
            named,
            projector="projector" in recipe.train,
            fusion=recipe.fusion,
            biasing=_biasing(recipe, domain),
        )
        return Trained(run.path, run.adapter, None, best)
    card = f"# {recipe.name}\n\nWritten by `asr-llm pretrain`; see recipe.yaml in its run folder.\n"
    checkpoints.save(model, run.model, card, base=base)
    return Trained(run.path, None, run.model, best)


def _biasing(recipe: Recipe, domain: Domain | None) -> BiasingList | None:
    """The domain's terms, if the recipe boosts them and there are any."""
    if recipe.biasing is None or domain is None:
        return None
    phrases = dict.fromkeys(term.text for listed in domain.terms().values() for term in listed)
    return BiasingList(tuple(phrases), recipe.biasing) if phrases else None
