"""Run folders: never overwritten, resumed with their own recipe only, no half files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from asr_llm import __version__
from asr_llm.errors import DomainError, RunError
from asr_llm.recipe import Recipe
from asr_llm.sequences.sources import TextSource
from asr_llm.training.run_folder import RunFolder, write_text

RECIPE = Recipe(name="a", sources=[TextSource(data="domain")])


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    opened = RunFolder(tmp_path / "run")
    opened.open(RECIPE, resume=False)
    return opened


def test_the_effective_recipe_is_written(run: RunFolder) -> None:
    written = yaml.safe_load(run.recipe.read_text("utf-8"))
    assert written.pop("asr_llm") == __version__
    assert Recipe.model_validate(written) == RECIPE
    assert written["optimizer"]["lr"] == 2e-4  # defaults too
    assert run.checkpoints.is_dir()
    assert (run.last_checkpoint(), run.best_checkpoint(), run.best_loss()) == (None, None, None)
    assert run.step_of(None) == 0


def test_a_run_is_not_overwritten(run: RunFolder) -> None:
    with pytest.raises(RunError, match=r"already holds a run; expected a new folder: .* --resume"):
        RunFolder(run.path).open(RECIPE, resume=False)


def test_a_run_is_resumed_with_its_own_recipe_only(run: RunFolder) -> None:
    before = run.recipe.read_bytes()
    RunFolder(run.path).open(RECIPE, resume=True)
    other = RECIPE.model_copy(update={"seed": 2, "steps": 7})
    with pytest.raises(RunError, match=r"differs from what is asked for in steps, seed; a run"):
        RunFolder(run.path).open(other, resume=True)
    assert run.recipe.read_bytes() == before


def test_a_run_that_knew_fewer_keys_is_resumed(run: RunFolder) -> None:
    """A key that came with a later version has its default in the runs before it."""
    written = yaml.safe_load(run.recipe.read_text("utf-8"))
    del written["fit_projector"]
    write_text(run.recipe, yaml.safe_dump(written | {"asr_llm": "0.0.1"}))
    RunFolder(run.path).open(RECIPE, resume=True)


@pytest.mark.parametrize("text", ["a: [", "", "- 1", "steps: 5"])
def test_an_unreadable_recipe(run: RunFolder, text: str) -> None:
    run.recipe.write_text(text, "utf-8")
    with pytest.raises(RunError, match="cannot be read as the recipe of a run"):
        run.open(RECIPE, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(RunError, match="exists and holds no run; expected a new or empty"):
        RunFolder(tmp_path).open(RECIPE, resume)
    with pytest.raises(RunError, match="exists and holds no run"):
        RunFolder(tmp_path / "notes.txt").open(RECIPE, resume)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("names", [[], ["initial"], [".initial.part"]])
def test_an_empty_folder_or_one_with_a_new_model_will_do(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    RunFolder(tmp_path).open(RECIPE, resume=False)
    assert RunFolder(tmp_path).recipe.is_file()


def test_resuming_a_run_that_never_started_starts_it(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new").open(RECIPE, resume=True)
    assert (tmp_path / "new" / "recipe.yaml").is_file()


# Checkpoint files ------------------------------------------------------------------------


def test_a_checkpoint_appears_whole_or_not_at_all(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    path = run.checkpoints / "last.ckpt"
    write = run.checkpoint_io().save_checkpoint
    write({"global_step": 3}, path)
    assert run.step_of(run.last_checkpoint()) == 3

    def cut(checkpoint: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.save", cut)
    with pytest.raises(RunError, match="No space left on device"), run.disk_errors():
        write({"global_step": 6}, path)
    monkeypatch.undo()
    assert run.step_of(run.last_checkpoint()) == 3
    assert [p.name for p in run.checkpoints.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=False) == {"global_step": 3}


def test_a_checkpoint_that_is_none(run: RunFolder) -> None:
    (run.checkpoints / "last.ckpt").write_bytes(b"half")
    with pytest.raises(RunError, match=r"last\.ckpt cannot be read .* remove it"):
        run.step_of(run.last_checkpoint())


def test_write_text_replaces_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")

    def refuse(*args: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_text(path, "new")
    assert path.read_text("utf-8") == "old"


# Disk errors -----------------------------------------------------------------------------


class SafetensorError(Exception):
    """As safetensors and tokenizers have it: the system's error in the message only."""


def hidden(cause: OSError) -> RuntimeError:
    """As torch.save has it: the system's error behind one of its own."""
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        hidden(OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_full_disk_is_one_line(run: RunFolder, error: Exception) -> None:
    with pytest.raises(RunError) as caught, run.disk_errors():
        raise error
    assert str(caught.value) == (
        f"cannot write to {run.path}: No space left on device; make room or choose another "
        "folder with -o, then continue with --resume (the last checkpoint is whole)"
    )


def test_a_forbidden_place_in_the_run_folder(run: RunFolder) -> None:
    with pytest.raises(RunError, match="Permission denied"), run.disk_errors():
        raise PermissionError(errno.EACCES, "Permission denied", str(run.path / "x" / "y"))


def test_unrelated_errors_pass_through(run: RunFolder) -> None:
    with pytest.raises(PermissionError), run.disk_errors():
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/text.txt")
    with pytest.raises(FileNotFoundError), run.disk_errors():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(run.path))
    cause = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DomainError, match="mine"), run.disk_errors():
        raise DomainError("mine") from cause
    with pytest.raises(RuntimeError, match="something else"), run.disk_errors():
        raise RuntimeError("something else")


def test_two_processes_do_not_write_one_run(run: RunFolder) -> None:
    script = (
        "import sys\n"
        "from asr_llm.errors import RunError\n"
        "from asr_llm.training.run_folder import RunFolder\n"
        "try:\n    with RunFolder(sys.argv[1]).locked():\n        print('free')\n"
        "except RunError as error:\n    print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", script, str(run.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with run.locked():
        assert other().startswith(f"{run.path} is in use by another process; wait until")
    assert other() == "free\n"
    assert not (run.path / ".lock").exists()
    assert run.recipe.is_file()


def test_a_run_is_resumed_on_another_number_of_processes(run: RunFolder) -> None:
    shared = RECIPE.override(accumulate=1).model_copy(update={"devices": 2, "strategy": "fsdp"})
    RunFolder(run.path).open(shared, resume=True)
