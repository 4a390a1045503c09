"""What is left of a run that did not come to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr_llm.errors import Interrupted
from asr_llm.jobs.training_run import keeping, run_folder
from asr_llm.recipe import text_recipe


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
