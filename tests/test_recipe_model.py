"""Recipes that could only fail late, or lose what they trained, are refused early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asr_llm.errors import RecipeError
from asr_llm.recipe import Recipe

SPEECH = [{"task": "asr", "data": "domain"}]
TEXT = [{"task": "text", "data": "domain"}]


def recipe(**keys: Any) -> Recipe:
    return Recipe.model_validate({"sources": SPEECH} | keys)


@pytest.mark.parametrize(
    "train",
    [["lora"], ["lora", "projector"], ["llm"], ["encoder", "ctc_head"], ["projector", "llm"]],
)
def test_what_can_be_trained_together(train: list[str]) -> None:
    assert recipe(train=train).train == train


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": ["lora", "llm"]}, "lora alone or with projector: an adapter holds nothing else"),
        ({"train": ["projector", "encoder", "lora"]}, "lora alone or with projector"),
        ({"train": ["decoder"]}, "'lora', 'projector', 'encoder', 'llm' or 'ctc_head'"),
        ({"train": []}, "at least 1 item"),
        ({"fit_projector": True}, "projector in 'train' where it is fitted"),
        ({"objective": "ctc", "sources": TEXT}, "only speech .* with objective ctc"),
        ({"objective": "ctc", "validation": {"sources": TEXT}}, "only speech"),
        (
            {
                "stages": [
                    {
                        "name": "a",
                        "train": ["llm"],
                        "steps": 1,
                        "optimizer": {},
                        "fit_projector": True,
                    }
                ]
            },
            "projector in 'train' where it is fitted",
        ),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_late_failures_are_rejected_early(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**keys)


def test_speech_alone_may_be_learned_by_ctc() -> None:
    word = {"task": "word_synchronous", "data": "domain"}
    sources = [*SPEECH, word]
    assert recipe(objective="ctc", sources=sources, validation={"sources": sources})
    assert recipe(objective="lm+ctc", sources=SPEECH + TEXT)
    assert recipe(train=["projector"], fit_projector=True)


def test_in_a_file_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("sources: [{task: asr, data: domain}]\nname: x\ntrain: [lora, llm]\n", "utf-8")
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    assert str(caught.value) == (
        f"{path}:3: train: found a list; expected lora alone or with projector: an adapter "
        "holds nothing else"
    )


def test_a_value_that_overrides_is_explained() -> None:
    with pytest.raises(RecipeError, match=r"^seed: found -1; expected at least 0$"):
        recipe(sources=SPEECH).override(seed=-1)
