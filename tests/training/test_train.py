"""Training on a tiny model: what is trained, what is written, when it stops."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import asr_llm.training.train as train_module
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import AudioError, DomainError, RecipeError, RunError
from asr_llm.jobs import shar as shar_job
from asr_llm.model import checkpoints
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.recipe import OptimizerRecipe, Recipe
from asr_llm.training import streams
from asr_llm.training.callbacks import BestCheckpoint
from asr_llm.training.fit import Fit, rate
from asr_llm.training.loading import interruptible
from asr_llm.training.parts import prepare
from asr_llm.training.run_folder import RunFolder
from asr_llm.training.train import Trained, train

SENTENCES = [f"The court heard case number {n} today." for n in range(20)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(SENTENCES), "utf-8")
    return path


@pytest.fixture
def recipe(tiny: Path, text: Path) -> Callable[..., Recipe]:
    """A recipe of a few steps on text; keys as given."""

    def build(**keys: Any) -> Recipe:
        tasks = keys.pop("tasks", ["text"])
        spoken = {"asr", "word_synchronous"}
        sources = [
            {"task": task, "data": str(text)} | ({"voices": ["en-us"]} if task in spoken else {})
            for task in tasks
        ]
        return Recipe.model_validate(
            {
                "model": str(tiny),
                "sources": sources,
                "steps": 4,
                "batch_positions": 200,
                "precision": "32",
                "optimizer": {"lr": 1e-2, "warmup_steps": 0},
            }
            | keys
        )

    return build


def go(recipe: Recipe, folder: Path, resume: bool = False) -> Trained:
    return train(recipe, RunFolder(folder), resume=resume, progress=False)


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def trained_names(recipe: Recipe) -> set[str]:
    model = checkpoints.load(recipe.model)
    prepare(model, recipe)
    return {name for name, p in model.named_parameters() if p.requires_grad}


# The schedule ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "final", "expected"),
    [
        ("linear", 0.0, [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        ("linear", 0.2, [0.25, 0.5, 0.75, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2]),
        ("cosine", 0.0, [0.25, 0.5, 0.75, 1.0, 1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]),
    ],
)
def test_rate_by_hand(schedule: str, final: float, expected: list[float]) -> None:
    o = OptimizerRecipe.model_validate({"warmup_steps": 4, "schedule": schedule, "final": final})
    assert [rate(step, 8, o) for step in range(10)] == pytest.approx(expected, abs=1e-4)


def test_rate_without_warmup_and_with_nothing_else() -> None:
    assert rate(0, 5, OptimizerRecipe(warmup_steps=0)) == 1.0
    only = OptimizerRecipe(warmup_steps=5)
    assert [rate(step, 5, only) for step in (0, 4)] == [0.2, 1.0]


# What is trained -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "parts"),
    [
        (["lora"], {"llm"}),
        (["lora", "projector"], {"llm", "perception.proj"}),
        (["projector"], {"perception.proj"}),
        (["encoder"], {"perception.encoder"}),
        (["llm"], {"llm"}),
        (["projector", "llm"], {"perception.proj", "llm"}),
        (["ctc_head", "encoder"], {"ctc_head", "perception.encoder"}),
    ],
)
def test_everything_else_is_frozen(
    recipe: Callable[..., Recipe], train: list[str], parts: set[str]
) -> None:
    names = trained_names(recipe(train=train))
    # The embedding is tied to the output layer: one parameter, which belongs to the LLM.
    names -= {"embed_tokens.weight"}
    assert {".".join(n.split(".")[: 2 if "perception" in n else 1]) for n in names} == parts
    assert all((".lora_" in name) == ("lora" in train) for name in names if "llm" in name)


def test_a_part_without_parameters(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoints.load(recipe().model)
    model.perception.proj = torch.nn.Identity()
    with pytest.raises(RecipeError, match="'projector' matches no parameter"):
        prepare(model, recipe(train=["projector"]))


@pytest.mark.parametrize("objective", ["ctc", "lm+ctc"])
def test_ctc_needs_a_head(recipe: Callable[..., Recipe], objective: str) -> None:
    chosen = recipe(objective=objective, tasks=["asr"], train=["encoder"])
    with pytest.raises(RecipeError, match=r"needs a CTC head, .* add ctc_head to 'train'"):
        prepare(checkpoints.load(chosen.model), chosen)


def test_the_seed_decides_the_first_adapter(recipe: Callable[..., Recipe]) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(99)
        chosen = recipe(seed=seed)
        model = checkpoints.load(chosen.model)
        prepare(model, chosen)
        return next(p.detach() for n, p in model.named_parameters() if "lora_A" in n)

    assert first(1).equal(first(1))
    assert not first(1).equal(first(2))


# Runs ------------------------------------------------------------------------------------


def test_text_alone(recipe: Callable[..., Recipe], tiny: Path, tmp_path: Path) -> None:
    chosen = recipe(tasks=["text", "denoise", "restore"], steps=10)
    done = go(chosen, tmp_path / "run")
    assert done == Trained(tmp_path / "run", tmp_path / "run" / "adapter", None, None)
    weights = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert any("lora_B" in name and tensor.any() for name, tensor in weights.items())
    assert not (tmp_path / "run" / "adapter" / "projector.safetensors").exists()


def test_an_adapter_to_fuse_says_so_and_is_validated_on_text(
    recipe: Callable[..., Recipe], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "domain"
    (folder / "dev").mkdir(parents=True)
    labels = "labels:\n  PLEA: answers to a charge\n"
    (folder / "domain.yaml").write_text(f"name: court\n{labels}", "utf-8")
    (folder / "text.txt").write_text("\n".join(SENTENCES), "utf-8")
    (folder / "dev" / "text.txt").write_text("\n".join(SENTENCES[:4]), "utf-8")
    (folder / "terms").mkdir()
    (folder / "terms" / "plea.tsv").write_text("nolo contendere\tno low\n", "utf-8")
    asked: list[str] = []
    real = streams.make_stream

    def make_stream(*args: Any, **keys: Any) -> Any:
        asked.extend(source.task for source in args[2])
        return real(*args, **keys)

    monkeypatch.setattr(streams, "make_stream", make_stream)
    run = RunFolder(tmp_path / "run")
    chosen = recipe(fusion=0.5, biasing=3.0, sources=[{"task": "text", "data": "domain"}])
    done = train(chosen, run, Domain.load(folder), progress=False)
    assert asked == ["text", "text"]  # to train on, and to validate on
    assert done.adapter is not None
    assert AdapterFolder.read(done.adapter).fusion == 0.5
    assert AdapterFolder.read(done.adapter).biasing == BiasingList(("nolo contendere",), 3.0)
    assert done.best is not None


def test_a_domain_without_terms_has_nothing_to_prefer(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    (tmp_path / "domain.yaml").write_text("name: court\n", "utf-8")
    domain = Domain.load(tmp_path)
    assert train_module._biasing(recipe(biasing=3.0), domain) is None
    assert train_module._biasing(recipe(biasing=3.0), None) is None


@pytest.mark.parametrize(("language", "found"), [("en", "general"), ("de", None)])
def test_a_base_that_brings_no_general_text_takes_that_of_mini(
    recipe: Callable[..., Recipe], tiny: Path, tmp_path: Path, language: str, found: str | None
) -> None:
    (tmp_path / "domain.yaml").write_text(f"name: court\nlanguage: {language}\n", "utf-8")
    replay = train_module._replay(recipe(), tiny, Domain.load(tmp_path))
    assert (replay.name if replay else None) == found
    assert train_module._replay(recipe(), tiny, None) is None


def test_a_log_gets_a_line_now_and_then_if_anyone_asks(
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("asr_llm.training.callbacks._LOG_SECONDS", 0.0)
    train(recipe(steps=2), RunFolder(tmp_path / "run"), progress=True)
    assert re.fullmatch(
        r"(training, loss \d+\.\d\d: [12] of 2 steps\n){2}", capsys.readouterr().err
    )
    train(recipe(steps=1), RunFolder(tmp_path / "silent"), progress=False)
    assert not capsys.readouterr().err


def test_metrics_hold_numbers_and_no_text(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    go(recipe(steps=20, tasks=["text", "asr"]), tmp_path / "run")
    rows = metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 10, 20]
    assert all(row.keys() == {"step", "seconds", "loss", "lm", "lr"} for row in rows)
    assert all(isinstance(value, int | float) for row in rows for value in row.values())
    kept = [p for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert not any(b"heard case" in path.read_bytes() for path in kept)


def test_ctc_alone(recipe: Callable[..., Recipe], tiny: Path, tmp_path: Path) -> None:
    chosen = recipe(tasks=["asr"], train=["encoder", "ctc_head"], objective="ctc", steps=10)
    done = go(chosen, tmp_path / "run")
    assert done.model == tmp_path / "run" / "model"
    model, base = checkpoints.load(done.model), checkpoints.load(tiny)
    assert model.ctc_head is not None
    before = base.state_dict()
    changed = {k for k, v in model.state_dict().items() if not v.equal(before.get(k, v))}
    assert changed
    assert all(name.startswith("perception.encoder.") for name in changed)
    assert all(row.keys() >= {"ctc", "loss"} for row in metrics(tmp_path / "run"))


def test_both_losses_and_batches_without_speech(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    chosen = recipe(
        tasks=["text", "asr", "word_synchronous"],
        train=["projector", "llm", "ctc_head"],
        objective="lm+ctc",
        batch_positions=60,
        steps=10,
    )
    assert go(chosen, tmp_path / "run").model is not None


def test_a_batch_without_speech_teaches_a_projector_nothing(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    chosen = recipe(tasks=["text", "asr"], train=["projector"], batch_positions=60, steps=10)
    assert go(chosen, tmp_path / "run").model is not None


def test_a_new_model(recipe: Callable[..., Recipe], tiny: Path, tmp_path: Path) -> None:
    chosen = recipe(create=str(tiny.parent / "model.yaml"), train=["llm"], seed=0)
    done = go(chosen, tmp_path / "run")
    assert checkpoints.identity(tmp_path / "run" / "initial") == checkpoints.identity(tiny)
    assert done.model is not None
    assert not checkpoints.load(done.model).embed_tokens.weight.equal(
        checkpoints.load(tiny).embed_tokens.weight
    )


def test_the_same_seed_gives_the_same_weights(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    keys = {"tasks": ["text", "asr"], "lora": {"lora_dropout": 0.3}}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        go(recipe(seed=seed, **keys), tmp_path / name)
    a, b, c = (load_file(tmp_path / n / "adapter" / "adapter_model.safetensors") for n in "abc")
    assert all(a[name].equal(b[name]) for name in a)
    assert not any(a[name].equal(c[name]) for name in a)


# Validation ------------------------------------------------------------------------------


def held_out(text: Path, **keys: Any) -> dict[str, Any]:
    source = {"task": "asr", "data": str(text), "voices": ["en-us"], "augment": 0.0}
    return {"sources": [source], "every": 2, "utterances": 4} | keys


def test_validation_knows_no_dropout(
    recipe: Callable[..., Recipe], text: Path, tmp_path: Path
) -> None:
    chosen = recipe(
        tasks=["asr"],
        train=["encoder", "projector", "llm"],
        optimizer={"lr": 1e-30, "weight_decay": 0.0},
        validation=held_out(text),
        steps=6,
    )
    done = go(chosen, tmp_path / "run")
    losses = [row["val_loss"] for row in metrics(tmp_path / "run") if "val_loss" in row]
    assert len(losses) == 3
    assert len(set(losses)) == 1
    assert done.best == losses[0]


def test_the_last_step_is_validated(
    recipe: Callable[..., Recipe], text: Path, tmp_path: Path
) -> None:
    done = go(recipe(tasks=["asr"], validation=held_out(text), steps=5), tmp_path / "run")
    losses = {
        row["step"]: row["val_loss"] for row in metrics(tmp_path / "run") if "val_loss" in row
    }
    assert list(losses) == [2, 4, 5]
    assert done.best == min(losses.values())


@pytest.fixture
def replay(tmp_path: Path) -> Path:
    """A general domain with a dev set, spoken."""
    (tmp_path / "general" / "dev").mkdir(parents=True)
    (tmp_path / "general" / "domain.yaml").write_text(
        "name: general\nvoices: {train: [en-us], dev: [en-us]}\n", "utf-8"
    )
    (tmp_path / "general" / "text.txt").write_text("It rained.\nThe bus came.\n", "utf-8")
    (tmp_path / "general" / "dev" / "text.txt").write_text("We had tea.\n", "utf-8")
    return tmp_path / "general"


def watched(max_rise: float) -> dict[str, Any]:
    return {"max_rise": max_rise, "every": 1, "utterances": 1}


def test_a_run_that_unlearns_to_listen_is_stopped(
    recipe: Callable[..., Recipe], text: Path, tmp_path: Path, replay: Path
) -> None:
    chosen = recipe(
        tasks=["text"],
        train=["llm"],
        replay=str(replay),
        optimizer={"lr": 0.3, "warmup_steps": 0, "clip": 1e9},
        validation=held_out(text) | watched(0.2),
        steps=30,
    )
    done = go(chosen, tmp_path / "run")
    rows = [row for row in metrics(tmp_path / "run") if "asr_loss" in row]
    assert done.stopped == rows[-1]["step"] < 30
    base = go(
        recipe(replay=str(replay), validation=watched(9.0), optimizer={"lr": 1e-30}), tmp_path / "b"
    )
    first = [row["asr_loss"] for row in metrics(tmp_path / "b") if "asr_loss" in row]
    assert base.stopped is None
    assert first == pytest.approx([first[0]] * 4)
    assert [row["asr_loss"] > 1.2 * first[0] for row in rows] == [False] * (len(rows) - 1) + [True]
    # The weights that were kept are of before that.
    kept = [row["val_loss"] for row in rows[:-1]]
    assert done.best == (min(kept) if kept else None)


def test_nothing_to_watch_is_refused(
    recipe: Callable[..., Recipe], tmp_path: Path, replay: Path
) -> None:
    with pytest.raises(RecipeError, match="max_rise watches the loss on replayed speech"):
        go(recipe(validation=watched(0.1)), tmp_path / "b")
    (replay / "dev" / "text.txt").unlink()  # then what is replayed in training is watched
    go(recipe(replay=str(replay), validation=watched(9.0)), tmp_path / "a")
    assert any("asr_loss" in row for row in metrics(tmp_path / "a"))


def test_a_packed_run_learns_the_same(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    keys: dict[str, Any] = {"tasks": ["asr", "text"], "train": ["llm"], "steps": 3}
    for pack, name in ((None, "padded"), (100, "packed")):
        go(recipe(pack=pack, **keys), tmp_path / name)
    padded, packed = ([row["loss"] for row in metrics(tmp_path / n)] for n in ("padded", "packed"))
    assert packed == pytest.approx(padded, abs=1e-3)


def test_training_does_know_dropout(tiny: Path, recipe: Callable[..., Recipe]) -> None:
    chosen = recipe(train=["projector", "llm"])
    fit = Fit(checkpoints.load(tiny), chosen)
    prepare(fit.model, chosen)
    fit.train()
    fit.on_train_batch_start({}, 0)
    assert not fit.model.perception.encoder.training
    assert fit.model.llm.training
    assert fit.model.perception.training


def test_early_stop_and_the_best_weights(
    recipe: Callable[..., Recipe], text: Path, tmp_path: Path
) -> None:
    """A rate this high makes it worse and worse: the first validation was the best."""
    chosen = recipe(
        tasks=["text"],
        train=["llm"],
        optimizer={"lr": 0.3, "warmup_steps": 0, "clip": 1e9},
        validation=held_out(text, patience=2, every=1),
        checkpoint_every=1,
        steps=30,
    )
    done = go(chosen, tmp_path / "run")
    losses = [row["val_loss"] for row in metrics(tmp_path / "run") if "val_loss" in row]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30  # two without improvement
    assert done.best == losses[best]
    saved = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=False)
    assert saved["global_step"] == best + 1
    assert "optimizer_states" not in saved
    assert done.model is not None
    weights = checkpoints.load(done.model).state_dict()
    for name, tensor in saved["state_dict"].items():
        assert weights[name.removeprefix("model.")].equal(tensor)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=False)
    assert last["global_step"] == len(losses)
    assert not last["state_dict"]["model.llm.model.norm.weight"].equal(
        saved["state_dict"]["model.llm.model.norm.weight"]
    )


@pytest.mark.parametrize(("tolerance", "kept"), [(0.0, [0, 1]), (0.03, [0, 1, 2, 5])])
def test_which_weights_are_as_good_as_the_best(
    tmp_path: Path, tolerance: float, kept: list[int]
) -> None:
    """3% above the lowest, 3.70, is 3.811."""
    saved: list[int] = []
    best = BestCheckpoint(tmp_path / "best.ckpt", tolerance)
    for step, loss in enumerate([4.0, 3.7, 3.8, 3.82, 3.9, 3.75]):
        trainer = SimpleNamespace(
            callback_metrics={"val_loss": torch.tensor(loss)},
            save_checkpoint=lambda *_, step=step, **__: saved.append(step),
        )
        best.on_validation_end(trainer, None)
    assert saved == kept
    assert best.state_dict()["loss"] == pytest.approx(3.7)


def test_a_finished_run_is_not_trained_again(
    recipe: Callable[..., Recipe],
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = recipe(validation=held_out(text))
    done = go(chosen, tmp_path / "run")
    assert done.best is not None

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("lightning.Trainer", refuse)
    monkeypatch.setattr("asr_llm.model.checkpoints.load", refuse)
    assert go(chosen, tmp_path / "run", resume=True) == done
    with pytest.raises(RunError, match="already holds a run"):
        go(chosen, tmp_path / "run")


# What goes wrong -------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    chosen = recipe(train=["llm"], optimizer={"lr": 1e36, "warmup_steps": 0}, steps=50)
    with pytest.raises(RunError) as caught:
        go(chosen, tmp_path / "run")
    message = str(caught.value)
    assert message.startswith(("the loss is nan in step ", "the loss is inf in step "))
    assert message.endswith(
        "expected a finite number: lower optimizer.lr or set 'precision: \"32\"' in the recipe, "
        "and start a new run"
    )
    assert int(message.split("in step ")[1].split(";")[0]) <= 50
    assert not (tmp_path / "run" / "model").exists()


def test_so_does_a_held_out_loss(recipe: Callable[..., Recipe], text: Path, tmp_path: Path) -> None:
    chosen = recipe(
        train=["llm"],
        optimizer={"lr": 1e36, "warmup_steps": 0},
        steps=1,
        validation=held_out(text, every=1),
    )
    with pytest.raises(RunError, match=r"the loss is (nan|inf) on the dev set after step 1"):
        go(chosen, tmp_path / "run")


def test_weights_that_are_no_numbers_are_not_saved(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's damage shows in no loss."""

    def fit(trainer: Any, module: Fit, *args: Any, **kwargs: Any) -> None:
        next(p for p in module.parameters() if p.requires_grad).data.fill_(float("nan"))

    monkeypatch.setattr("lightning.Trainer.fit", fit)
    chosen = recipe()
    with pytest.raises(RunError, match="training diverged: the weights contain NaN or Inf"):
        go(chosen, tmp_path / "run")
    assert not (tmp_path / "run" / "adapter").exists()


def test_a_bad_recording_is_one_line_though_another_process_met_it(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asr_llm.corpus.recordings.importers import read_manifest

    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", np.full(8000, 0.1), 16000)
    (tmp_path / "trans.txt").write_text("a.wav\tOne.\nb.wav\tTwo.\n", "utf-8")
    source = {"task": "asr", "data": str(tmp_path / "trans.txt")}
    chosen = recipe(sources=[source])

    def listed(*args: Any, **kwargs: Any) -> Any:
        """The recording goes bad after it was listed."""
        cuts = read_manifest(*args, **kwargs)
        (tmp_path / "b.wav").write_bytes(b"RIFF")
        return cuts

    monkeypatch.setattr("asr_llm.sequences.sources.data.read_manifest", listed)
    with pytest.raises(AudioError) as caught:
        go(chosen, tmp_path / "run")
    assert "b.wav" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_cannot_be_used_at_all(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("One.\n", "utf-8")
    source = {"task": "interleave", "data": str(tmp_path / "text.txt")}
    with pytest.raises(DomainError, match="examples can be used"):
        go(recipe(sources=[source]), tmp_path / "run")


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_the_users_stop_keeps_the_step(
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: signal.Signals,
) -> None:
    step = Fit.training_step

    def stopped(self: Fit, batch: Any, index: int) -> Any:
        if index == 1:
            signal.raise_signal(asked)
            signal.raise_signal(asked)  # as `timeout` does
        return step(self, batch, index)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Fit, "training_step", stopped)
    chosen = recipe(checkpoint_every=50)
    with pytest.raises(KeyboardInterrupt):
        go(chosen, tmp_path / "run")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    monkeypatch.undo()
    run = RunFolder(tmp_path / "run")
    assert run.step_of(run.last_checkpoint()) == 2
    assert train(chosen, run, resume=True, progress=True).adapter is not None
    assert capsys.readouterr().err.startswith("resuming after step 2 of 4\n")


def test_the_users_stop_in_a_validation_does_not_wait_for_its_end(
    recipe: Callable[..., Recipe], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, validated = Fit.validation_step, list[int]()

    def stopped(self: Fit, batch: Any, index: int) -> None:
        validated.append(self.trainer.global_step)
        signal.raise_signal(signal.SIGINT)
        validate(self, batch, index)

    chosen = recipe(validation=held_out(text, every=1), batch_positions=60, checkpoint_every=50)
    monkeypatch.setattr(Fit, "validation_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        go(chosen, tmp_path / "run")
    monkeypatch.undo()
    run = RunFolder(tmp_path / "run")
    assert (validated, run.step_of(run.last_checkpoint())) == ([1], 1)
    assert go(chosen, run.path, resume=True).adapter is not None
    steps = [row["step"] for row in metrics(run.path) if "val_loss" in row]
    assert steps == list(range(1, chosen.steps + 1))


def test_a_loader_ended_with_the_rest_of_its_group_is_the_users_stop() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")
    with pytest.raises(RuntimeError, match="Killed"), interruptible():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")


def test_a_full_disk_leaves_the_run_resumable(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, count = torch.save, 0

    def full(checkpoint: Any, file: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(checkpoint, file)

    chosen = recipe(checkpoint_every=1)
    monkeypatch.setattr("torch.save", full)
    with pytest.raises(RunError, match=r"cannot write to .* continue with --resume"):
        go(chosen, tmp_path / "run")
    monkeypatch.undo()
    run = RunFolder(tmp_path / "run")
    assert run.step_of(run.last_checkpoint()) == 2
    assert go(chosen, run.path, resume=True).adapter is not None


def test_a_disk_that_is_full_at_the_very_end(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    chosen = recipe(train=["projector", "llm"], checkpoint_every=4)
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(RunError, match="cannot write to"):
        go(chosen, tmp_path / "run")
    monkeypatch.undo()
    assert not (tmp_path / "run" / "model").exists()
    assert go(chosen, tmp_path / "run", resume=True).model is not None


def test_half_a_line_of_metrics_is_no_hindrance(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    chosen = recipe(steps=10, checkpoint_every=5)
    run = RunFolder(tmp_path / "run")
    run.open(chosen, resume=False)
    run.metrics.write_text('{"step": 10, "loss": 1.0}\n{"step": 20, "lo', "utf-8")
    go(chosen, run.path, resume=True)
    assert [row["step"] for row in metrics(run.path)] == [1, 10]


def test_the_base_is_untouched(recipe: Callable[..., Recipe], tiny: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in tiny.rglob("*") if p.is_file()}
    go(recipe(), tmp_path / "run")
    assert {p.name: p.read_bytes() for p in tiny.rglob("*") if p.is_file()} == before


def test_a_shar_folder_is_learned_from(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    """As from its manifest, in another order."""
    rows = []
    for n in range(6):
        soundfile.write(tmp_path / f"{n}.wav", np.full(8000 + 800 * n, 0.1), 16000)
        rows.append({"audio_filepath": f"{n}.wav", "text": f"case {n}"})
    listed = tmp_path / "manifest.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    shar = shar_job.pack(listed, tmp_path / "shar", shard_size=2).path
    source = {"task": "asr", "data": str(shar), "augment": 0.0}
    done = go(recipe(sources=[source], train=["lora", "projector"]), tmp_path / "run")
    assert done.adapter is not None
    damaged = shar / "recording.000001.tar"
    damaged.write_bytes(b"")
    with pytest.raises(AudioError, match=r"recording.000001.tar cannot be read"):
        go(recipe(sources=[source], train=["lora", "projector"]), tmp_path / "again")
