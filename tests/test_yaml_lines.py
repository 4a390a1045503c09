"""YAML errors are placed at their file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from asr_llm.errors import RecipeError
from asr_llm.yaml_lines import load_yaml, parse_yaml, validate_yaml


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rank: int = 8
    targets: list[str] = []


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    lora: Inner | None = None
    stages: list[Inner] = []
    by_name: dict[str, Inner] = {}


def write(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\nlora: {rank: 4}\nstages:\n  - targets: [q, v]\n")
    expected = Outer(name="x", lora=Inner(rank=4), stages=[Inner(targets=["q", "v"])])
    assert parse_yaml(path, Outer, RecipeError) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nlora:\n  rnak: 4\n", "3: lora.rnak: unknown key; expected one of rank, targets; "
         "did you mean 'rank'?"),
        ("name: x\nzzz: 4\n", "2: zzz: unknown key; expected one of name, lora, stages, by_name; "
         "remove it"),
        ("name: x\nstages:\n- rank: 1\n- rank: 2\n  target: [q]\n",
         "5: stages.1.target: unknown key; expected one of rank, targets; did you mean 'targets'?"),
        ("name: x\nby_name:\n  a:\n    rnk: 1\n",
         "4: by_name.a.rnk: unknown key; expected one of rank, targets; did you mean 'rank'?"),
        ("# comment\nname: x\nlora:\n  rank: many\n",
         "4: lora.rank: found 'many'; expected a whole number"),
        ("name: yes\n", "1: name: found True; expected text; put it in quotes"),
        ("lora: {}\n", "1: name: missing; add this key"),
        ("name: x\nname: y\n", "2: name: given twice; keep one of them"),
        ("name: x\nlora: [\n", "3: expected the node content, but found '<stream end>'; fix the "
         "YAML here (quote text that holds ': ' or begins with a bracket)"),
        ("name: x\nlora: [1, 2\nby_name: {}\n", "2: expected ',' or ']', but got ':'; fix the "
         "YAML here (quote text that holds ': ' or begins with a bracket)"),
        ("", "1: found no keys; expected a mapping of: name, lora, stages, by_name"),
        ("- a\n", "1: found no keys; expected a mapping of: name, lora, stages, by_name"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        parse_yaml(path, Outer, RecipeError)
    assert str(error.value) == f"{path}:{message}"


def test_all_mistakes_are_found_and_told(tmp_path: Path) -> None:
    path = write(tmp_path, "nam: x\nlora:\n  rank: many\n")
    model, file = validate_yaml(path, Outer)
    assert model is None
    assert sorted(problem.line for problem in file.problems) == [1, 1, 3]
    with pytest.raises(RecipeError) as caught:
        parse_yaml(path, Outer, RecipeError)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{path}:")[0] for line in lines] == ["1", "1", "3"]
    assert "nam: unknown key" in lines[0]
    path = write(tmp_path, "".join(f"key{i}: 1\n" for i in range(14)))
    with pytest.raises(RecipeError, match=r"\n\(and 5 more\)$"):
        parse_yaml(path, Outer, RecipeError)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        parse_yaml(tmp_path / "none.yaml", Outer, RecipeError)
    with pytest.raises(RecipeError, match="Is a directory"):
        parse_yaml(tmp_path, Outer, RecipeError)
    (tmp_path / "latin.yaml").write_bytes(b"name: x\n# caf\xe9\n")
    with pytest.raises(RecipeError, match=r"latin\.yaml:2: not UTF-8 text"):
        parse_yaml(tmp_path / "latin.yaml", Outer, RecipeError)


def test_line_of_goes_as_deep_as_the_file_does(tmp_path: Path) -> None:
    file = load_yaml(write(tmp_path, "name: x\nstages:\n- rank: 1\n- rank: 2\n"))
    assert file.data == {"name": "x", "stages": [{"rank": 1}, {"rank": 2}]}
    assert [file.line_of(location) for location in ([], ["stages"], ["stages", 1])] == [1, 2, 4]
    assert file.line_of(["stages", 1, "rank"]) == 4
    assert file.line_of(["stages", 7, "none"]) == 2


def _unfolding(depth: int) -> str:
    lines = ["name: x", "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    for i in range(1, depth):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        _unfolding(12),
        "name: &a [*a]\n",
        "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nname: &c {<<: *c}\n",
        "a: &a " + "[" * 50 + "1" + "]" * 50 + "\n" + _unfolding(12),
    ],
)
def test_bombs_are_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, "utf-8")
    (problem,) = load_yaml(path).problems
    assert "unfold to more than 500,000 values, or to themselves" in problem.message


def test_too_large_or_deep_yaml_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text, message in (
        ("name: x\n" * 600_000, "more than 4 MB of text"),
        ("name: x\n# \x0b\n", "a character that YAML does not allow (U+000B)"),
        ("name: " + "[" * 5000, "not readable as YAML"),
        ("name: " + "9" * 5000, "not readable as YAML"),
    ):
        path.write_text(text, "utf-8")
        (problem,) = load_yaml(path).problems
        assert message in problem.message


def test_aliases_that_stay_small_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("\ufeffa: &a [x]\rb: *a\r".encode("utf-16-be"))
    file = load_yaml(path)
    assert (file.data, file.problems) == ({"a": ["x"], "b": ["x"]}, [])
    assert file.line_of(("b",)) == 2
