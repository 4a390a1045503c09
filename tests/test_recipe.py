"""Recipes: what is not understood is refused, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from asr_llm.errors import RecipeError
from asr_llm.recipe import Recipe, text_recipe

ADAPT = Path(__file__).parent.parent / "adapt"
OTHERS = {"model.yaml", "qa.yaml", "compare.yaml"}  # mini's architecture and questions; a table
RECIPES = sorted(path for path in ADAPT.rglob("*.yaml") if path.name not in OTHERS)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    return path


def test_text_yaml_states_the_defaults() -> None:
    assert Recipe.load(ADAPT / "text.yaml") == text_recipe().override(model="small")


def test_recipes_are_found() -> None:
    assert len(RECIPES) >= 3


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ADAPT)))
def test_every_recipe_loads(path: Path) -> None:
    assert Recipe.load(path).sources


def test_every_row_of_the_comparison_is_a_recipe() -> None:
    listed = yaml.safe_load((ADAPT / "compare.yaml").read_text("utf-8"))
    for name, sources in listed["rows"].items():
        assert Recipe.model_validate(listed["recipe"] | {"name": name, "sources": sources}).sources


def test_text_recipe_hears_nothing_and_is_fused() -> None:
    recipe = text_recipe()
    assert {(s.task, s.data, s.weight) for s in recipe.sources} == {
        ("text", "domain", 0.5),
        ("text", "replay", 0.5),
    }
    assert (recipe.train, recipe.fusion, recipe.biasing) == (["lora"], 0.5, 2.5)


def test_dump_loads_again(tmp_path: Path) -> None:
    recipe = text_recipe().model_copy(update={"steps": 7, "seed": 3})
    assert Recipe.load(write(tmp_path, yaml.safe_dump(recipe.dump()))) == recipe


def test_stages_are_recipes_of_their_own(tmp_path: Path) -> None:
    text = """
name: jstip
create: model.yaml
sources: [{task: asr, data: replay}]
steps: 9
seed: 4
stages:
- {name: projector, train: [projector], steps: 2, optimizer: {lr: 1.0e-4}, fit_projector: true}
- {name: all, train: [encoder, projector, llm], steps: 3, optimizer: {lr: 4.0e-5}}
"""
    one, two = Recipe.load(write(tmp_path, text)).in_stages()
    assert (one.name, one.train, one.steps) == ("jstip-projector", ["projector"], 2)
    assert (one.optimizer.lr, one.fit_projector, one.create) == (1e-4, True, "model.yaml")
    assert (two.name, two.train, two.steps) == ("jstip-all", ["encoder", "projector", "llm"], 3)
    assert (two.optimizer.lr, two.fit_projector, two.create) == (4e-5, False, None)
    assert one.seed == two.seed == 4
    assert one.stages == two.stages == []
    assert two.in_stages() == [two]


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        text_recipe().steps = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("sources:\n- {task: text, data: domain}\nstep: 5\n", 3, ["step", "unknown", "'steps'"]),
        ("sources:\n- {task: text, data: domain}\nlora:\n  rank: 8\n", 4, ["lora.rank", "unknown"]),
        ("sources:\n- task: text\n  data: domain\n  weigth: 1\n", 4, ["'weight'"]),
        ("sources:\n- {task: sing, data: domain}\n", 2, ["'sing'", "'denoise'"]),
        ("sources:\n- data: domain\n", 2, ["sources.0.task: missing"]),
        ("sources:\n- text\n", 2, ["sources.0", "'text'"]),
        (
            "sources:\n- {task: asr, data: replay}\n- task: question\n  data: q.jsonl\n"
            "  voices: [zz]\n  insert: {share: 0.9}\n",
            5,
            [
                "sources.1.voices: unknown key for task 'question'; expected one of task, data, "
                "weight; remove it\n",
                ":6: sources.1.insert: unknown key for task 'question'; ",
            ],
        ),
        (
            "sources:\n- task: interleave\n  data: domain\n  interleave:\n    unit: word\n",
            5,
            ["sources.0.interleave.unit: unknown key; ", "'units'"],
        ),
        (
            "sources:\n- task: interleave\n  data: domain\n  interleave:\n    units: word\n"
            "  weigth: 2\n",
            6,
            ["sources.0.weigth: unknown key for task 'interleave'; ", "'weight'?"],
        ),
        ("sources:\n- task: insert\n  data: domain\n  insert: {share: 2}\n", 4, ["insert.share"]),
        (
            "sources:\n- task: asr\n  data: domain\n  voices: [en-us]\n  speech: recorded\n",
            5,
            ["sources.0.speech: found 'recorded'; expected any or synthetic beside 'voices'"],
        ),
        ("steps: many\nsources:\n- {task: text, data: domain}\n", 1, ["steps", "'many'"]),
        ("steps: 0\nsources:\n- {task: text, data: domain}\n", 1, ["steps", "a number above 0"]),
        ("precision: bf8\nsources:\n- {task: text, data: domain}\n", 1, ["precision", "'bf8'"]),
        (
            "train: [lora, projector]\nfusion: 0.5\nsources:\n- {task: text, data: domain}\n",
            2,
            ["fusion", "lora alone"],
        ),
        (
            "fusion: 0.5\nvalidation: {max_rise: 0.1}\nsources:\n- {task: text, data: domain}\n",
            2,
            ["validation", "no max_rise"],
        ),
        ("fusion: yes\nsources:\n- {task: text, data: domain}\n", 1, ["fusion", "such as 0.5"]),
        ("biasing: yes\nsources:\n- {task: text, data: domain}\n", 1, ["biasing", "such as 0.5"]),
        ("biasing: 0\nsources:\n- {task: text, data: domain}\n", 1, ["biasing", "or null for no"]),
        (
            "biasing: .inf\nsources:\n- {task: text, data: domain}\n",
            1,
            ["biasing", "a finite number"],
        ),
        (
            "train: [llm]\nbiasing: 2.5\nsources:\n- {task: text, data: domain}\n",
            2,
            ["biasing", "lora in 'train'"],
        ),
        ("sources:\n- {task: text, data: domain, weight: .inf}\n", 2, ["weight", "finite"]),
        ("steps: 5\n", 1, ["sources", "missing"]),
        ("sources: []\n", 1, ["sources", "at least 1"]),
        ("sources: [\n", 2, []),
        ("", 1, ["sources"]),
    ],
)
def test_malformed_recipes_name_file_and_line(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["- a list\n", "step: 5\n"])
def test_a_key_that_is_only_written_is_not_proposed(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="name, model, ") as caught:
        Recipe.load(write(tmp_path, text))
    assert "asr_llm," not in str(caught.value).replace(str(tmp_path), "")


def test_a_missing_recipe_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"such as adapt/text\.yaml for"):
        Recipe.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("devices: 3", "devices.*'accumulate' .now 4. to be a multiple of the 3 processes"),
        ("devices: 2\nnum_nodes: 4", "num_nodes.* multiple of the 8 processes"),
        ("strategy: ddp", "strategy.* 'devices' or 'num_nodes' above 1 beside it"),
        ("devices: 2\nstrategy: horovod", "strategy"),
        ("devices: 2\ntrain: [all]\nstrategy: fsdp", "train"),
        ("devices: 2\ntrain: [encoder]\nstrategy: fsdp", "strategy.* ddp for 'kl', and to train"),
    ],
)
def test_processes_that_mean_nothing(tmp_path: Path, keys: str, message: str) -> None:
    text = f"sources: [{{task: asr, data: domain}}]\naccumulate: 4\n{keys}\n"
    with pytest.raises(RecipeError, match=rf"(?s)recipe.yaml:\d+: {message}"):
        Recipe.load(write(tmp_path, text))
