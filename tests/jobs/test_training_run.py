"""What is left of a run that did not come to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr_llm.corpus.domain.folder import Domain, create
from asr_llm.errors import DomainError, Interrupted, RecipeError
from asr_llm.jobs.training_run import keeping, refuse_without_data, run_folder
from asr_llm.recipe import Recipe, text_recipe


def test_missing_recordings_are_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    domain = Domain.load(create(tmp_path / "shop"))
    recorded = {"task": "asr", "data": "domain", "speech": "recorded"}
    replay = {"task": "asr", "data": "replay"}

    def recipe(*sources: dict[str, object]) -> Recipe:
        return Recipe.model_validate({"name": "x", "steps": 1, "sources": sources})

    with pytest.raises(DomainError, match="no recordings for the 'asr' source"):
        refuse_without_data(recipe(replay, recorded), domain)
    refuse_without_data(recipe(replay, recorded | {"optional": True}), domain)
    with pytest.raises(RecipeError, match="nothing is there"):
        refuse_without_data(recipe({"task": "text", "data": str(tmp_path / "no.txt")}))


def test_an_interruption_says_what_is_kept(tmp_path: Path) -> None:
    chosen = text_recipe()
    with pytest.raises(Interrupted) as caught, run_folder(tmp_path / "run", chosen, False):
        raise KeyboardInterrupt
    assert caught.value.kept is None
    assert not (tmp_path / "run").exists()
    with pytest.raises(Interrupted) as caught, run_folder(tmp_path / "run", chosen, False) as run:
        torch.save({"global_step": 7}, run.checkpoints / "last.ckpt")
        raise KeyboardInterrupt
    assert caught.value.kept == "training up to step 7"
    with pytest.raises(Interrupted) as caught, run_folder(run.path, chosen, True):
        run.adapter.mkdir()
        raise KeyboardInterrupt
    assert caught.value.kept == "the trained adapter"
    for inner, expected in ((Interrupted("a"), "a"), (Interrupted(None), "b")):
        with pytest.raises(Interrupted) as caught, keeping("b"):
            raise inner
        assert caught.value.kept == expected
