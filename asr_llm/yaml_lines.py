"""Reads YAML into pydantic models, and reports every problem with file and line."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from asr_llm.errors import AsrLlmError
from asr_llm.text_files import TextFileError, read_text

_MOST_BYTES = 4 * 2**20  # larger files would take too long
_MOST_NODES = 500_000
_MOST_PROBLEMS = 10

Model = TypeVar("Model", bound=BaseModel)
Location = Sequence[str | int]


class Strict(BaseModel):
    """A frozen model that rejects unknown keys and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class YamlProblem:
    """A problem in a YAML file; ``line`` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True)
class YamlFile:
    """A YAML document and the line of each of its keys and items."""

    data: Any
    problems: list[YamlProblem] = field(default_factory=list)
    _root: yaml.Node | None = None

    def line_of(self, location: Location) -> int:
        """Line (from 1) of a key or item such as ``("train", 3)``; of the nearest parent if absent.

        Elements that name nothing in the file (pydantic's union tags) are skipped.
        """
        node, line = self._root, 1
        for element in location:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(element):
                        node, line = value, key.start_mark.line + 1
                        break
            elif isinstance(node, yaml.SequenceNode) and element in range(len(node.value)):
                node = node.value[int(element)]
                line = node.start_mark.line + 1
        return line


def load_yaml(path: Path) -> YamlFile:
    """Read a YAML file; problems are returned as ``problems``, never raised."""
    try:
        text = read_text(path, most=_MOST_BYTES)
    except TextFileError as error:
        return YamlFile(None, [YamlProblem(error.line or 1, f"{error.found}; {error.fix}")])
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is not None and (bomb := _bomb(root)):
            return YamlFile(None, [bomb])
        data = loader.construct_document(root) if root is not None else None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"holds a character that YAML does not allow (U+{error.character:04X})"
        return YamlFile(None, [YamlProblem(line, f"{what}; take it away")])
    except yaml.YAMLError as error:
        # An unclosed bracket is detected only at the end of the file: report where it opens.
        unclosed = "flow" in (getattr(error, "context", None) or "")
        mark = getattr(error, "context_mark" if unclosed else "problem_mark", None)
        what = getattr(error, "problem", None) or "not valid YAML"
        hint = "; fix the YAML here (quote text that holds ': ' or begins with a bracket)"
        return YamlFile(None, [YamlProblem(mark.line + 1 if mark else 1, f"{what}{hint}")])
    except (ValueError, RecursionError, OverflowError) as error:
        # An impossible date; a number with thousands of digits; too deep nesting.
        return YamlFile(None, [YamlProblem(1, f"not readable as YAML ({error}); fix the value")])
    return YamlFile(data, list(_duplicate_keys(root)), root)


def _bomb(root: yaml.Node) -> YamlProblem | None:
    """Find aliases that expand excessively, or an anchor that contains itself."""
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in above:
            return _MOST_NODES + 1
        if id(node) not in sizes:
            above.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _inner(node)))
            above.remove(id(node))
        return sizes[id(node)]

    if size(root) <= _MOST_NODES:
        return None
    what = f"aliases (*name) that unfold to more than {_MOST_NODES:,} values, or to themselves"
    return YamlProblem(root.start_mark.line + 1, f"{what}; write out what they stand for")


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [inner for pair in node.value for inner in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def validate_yaml(path: Path, model: type[Model]) -> tuple[Model | None, YamlFile]:
    """Read and validate: the model (None when anything is wrong) and the file with its problems."""
    file = load_yaml(path)
    if file.problems:
        return None, file
    if not isinstance(file.data, dict):
        keys = ", ".join(_keys(model))
        file.problems.append(YamlProblem(1, f"found no keys; expected a mapping of: {keys}"))
        return None, file
    try:
        return model.model_validate(file.data), file
    except ValidationError as error:
        for item in error.errors(include_url=False):
            location, message = _explain(item, model)
            file.problems.append(YamlProblem(file.line_of(location), message))
        return None, file


def parse_yaml(path: Path, model: type[Model], error: type[AsrLlmError]) -> Model:
    """Read ``path`` as ``model``.

    Raises:
        error: of each of the first ten problems a line "file:line: key: what; expected; do".
    """
    parsed, file = validate_yaml(Path(path), model)
    if parsed is not None:
        return parsed
    # A misspelt key often explains a missing one: report it first.
    found = sorted(file.problems, key=lambda p: ": unknown key" not in p.message)
    lines = [f"{path}:{problem.line}: {problem.message}" for problem in found[:_MOST_PROBLEMS]]
    if left := len(found) - len(lines):
        lines.append(f"(and {left} more)")
    raise error("\n".join(lines))


def _explain(item: Any, model: type[BaseModel]) -> tuple[Location, str]:
    """Locate an error in the file, and describe it."""
    location = _untagged(model, item["loc"])[0]
    context = item.get("ctx", {})
    if item["type"].startswith("union_tag_"):
        location.append(context["discriminator"].strip("'"))
    key = ".".join(map(str, location))
    if item["type"] == "extra_forbidden":
        return location, f"{key}: {_unknown(model, item['loc'])}"
    if item["type"] in ("missing", "union_tag_not_found"):
        return location, f"{key}: missing; add this key"
    if item["type"] == "union_tag_invalid":
        expected = f"one of {context['expected_tags']}"
        return location, f"{key}: found {context['tag']!r}; expected {expected}"
    return location, f"{key}: {unfit(item)}"


def _unknown(model: type[BaseModel], location: Location) -> str:
    models = _untagged(model, location[:-1])[1]
    known = list(dict.fromkeys(name for found in models for name in _keys(found)))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else "remove it"
    tag = _tag(models[0]) if len(models) == 1 else None
    where = f" for {tag[0]} {tag[1]!r}" if tag else ""
    return f"unknown key{where}; expected one of {', '.join(known)}; {advice}"


def _keys(model: type[BaseModel]) -> list[str]:
    """Keys for users to write; those that are excluded are only read."""
    return [name for name, field in model.model_fields.items() if not field.exclude]


_EXPECTED = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What pydantic's types of errors say, in our words; for the others its own are used."""


def unfit(item: Any) -> str:
    """What was found and what was expected, of an item of a ``ValidationError``."""
    value = item["input"]
    expected = str(item["msg"]).replace("Input should be ", "").removeprefix("Value error, ")
    if item["type"] in _EXPECTED:
        expected = _EXPECTED[item["type"]].format(**item.get("ctx", {}))
    what = f"found {_short(value)}; expected {expected}"
    if item["type"] == "string_type" and not isinstance(value, dict | list | None):
        # YAML does not read yes, no, 10 and 2020-01-01 as text.
        what += "; put it in quotes"
    return what


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _untagged(
    model: type[BaseModel], location: Location
) -> tuple[list[str | int], list[type[BaseModel]]]:
    """A location as in the file, and the models it passes through.

    Pydantic inserts the tag of a union (``sources.0.asr.weight``), which may also be a key.
    """
    models, kept = [model], []
    for part in location:
        chosen = [m for m in models if (tag := _tag(m)) and tag[1] == part]
        if chosen and len(models) > 1:
            models = chosen
            continue
        kept.append(part)
        inner = [m.model_fields[str(part)].annotation for m in models if part in m.model_fields]
        if inner:
            models = [found for annotation in inner for found in _models_in(annotation)]
    return kept, models


def _tag(model: type[BaseModel]) -> tuple[str, Any] | None:
    """The field with only one possible value, and that value: the tag of a union member."""
    for name, field_ in model.model_fields.items():
        values = typing.get_args(field_.annotation)
        if typing.get_origin(field_.annotation) is typing.Literal and len(values) == 1:
            return name, values[0]
    return None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _models_in(part)]


def _duplicate_keys(node: yaml.Node | None) -> typing.Iterator[YamlProblem]:
    """Report repeated keys, which YAML silently overwrites."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                yield YamlProblem(line, f"{key.value}: given twice; keep one of them")
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            yield from _duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicate_keys(value)
