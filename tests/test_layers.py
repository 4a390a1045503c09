"""The import rule: data walks through the package in one direction; nothing imports back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import asr_llm

PACKAGE = Path(asr_llm.__file__).parent

BASICS = {"version", "defaults", "errors", "files", "progress", "text_files", "yaml_lines"}
CORPUS = BASICS | {"corpus"}
SEQUENCES = CORPUS | {"sequences"}
MODEL = SEQUENCES | {"recipe", "model"}
DECODING = MODEL | {"decoding"}
JOBS = DECODING | {"training", "transcription", "evaluation", "serving", "jobs"}

MAY_IMPORT = {
    "version": set(),
    "defaults": set(),
    "errors": set(),
    "files": {"errors"},
    "progress": set(),
    "text_files": {"errors"},
    "yaml_lines": {"errors", "text_files"},
    "corpus": CORPUS,
    "sequences": SEQUENCES,
    "recipe": SEQUENCES,
    "model": MODEL,
    "decoding": DECODING,
    "training": DECODING | {"training"},  # a teacher's answers are decoded
    "transcription": DECODING | {"transcription"},
    "evaluation": {
        "errors",
        "text_files",
        "yaml_lines",
        "corpus.text.normalizers",
        "corpus.terms.phrases",
        "evaluation",
    },
    "serving": DECODING | {"transcription", "serving"},
    "jobs": JOBS,
    "cli": JOBS | {"cli"},
}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


MOST_LINES, USUAL_LINES, LONG_FILES = 350, 300, 4
MOST_LINES_OF_A_BODY = 50
LONG_BODIES = {"evaluation score": 71, "jobs score_files": 73}
"""By package and name, without parameters and docstring. Longer already; they may shrink and none
may join them. So for those below."""
MOST_PARAMETERS = 6
MANY_PARAMETERS = {
    "evaluation score": 18,
    "jobs adapt": 11,
    "jobs evaluate": 13,
    "model __init__": 7,
    "transcription __init__": 7,
    "transcription load": 10,
}


def imports_of(path: Path) -> set[str]:
    """What a file imports of this package, without the package's name: "corpus.domain.files"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for name in node.names:
                inside = (PACKAGE.parent / (node.module or "").replace(".", "/")).is_dir()
                found.add(f"{node.module}.{name.name}" if inside else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    ours = {name for name in found if name.split(".")[0] == "asr_llm"}
    return {name.removeprefix("asr_llm.") for name in ours}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_rule(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[part]
    for name in imports_of(path):
        assert name in allowed or name.split(".")[0] in allowed, f"{path}: asr_llm.{name}"


def module(path: Path) -> str:
    """A file's name inside the package: "corpus.recordings.audio"; of ``__init__`` the folder's."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_no_circles() -> None:
    modules = {module(path) for path in FILES}
    graph = {module(path): imports_of(path) & modules for path in FILES}
    TopologicalSorter(graph).prepare()  # CycleError: names the files


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the package, as "model compose"."""
    for path in FILES:
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{part} {node.name}", node


def test_files_are_short() -> None:
    for path in FILES:
        name, lines = str(path.relative_to(PACKAGE)), len(path.read_text("utf-8").splitlines())
        assert lines <= MOST_LINES, f"{name}: split it by its nouns"


def test_few_files_are_long() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    long = [str(path.relative_to(PACKAGE)) for path in FILES if lengths[path] > USUAL_LINES]
    assert len(long) <= LONG_FILES, f"over {USUAL_LINES} lines: {', '.join(long)}"


def test_functions_are_short() -> None:
    for name, node in functions():
        body = node.body[ast.get_docstring(node) is not None :] or node.body
        lines = (node.end_lineno or 0) - body[0].lineno + 1
        most = LONG_BODIES.get(name, MOST_LINES_OF_A_BODY)
        assert lines <= most, f"the body of {name} has {lines} lines; at most {most}"


def test_functions_have_few_parameters() -> None:
    for name, node in functions():
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = sum(argument.arg not in ("self", "cls") for argument in every)
        most = MANY_PARAMETERS.get(name, MOST_PARAMETERS)
        if not name.startswith("cli "):  # there each is an option
            assert count <= most, f"{name} has {count} parameters; pass a frozen class of options"


def test_parts_are_found() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert parts == set(MAY_IMPORT)


def test_the_parser_sees_imports_inside_functions(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from asr_llm.model import lora\n    import asr_llm.jobs\n")
    assert imports_of(file) == {"model.lora", "jobs"}


def test_only_the_command_line_prints() -> None:
    printing = {
        path.relative_to(PACKAGE).parts[0]
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "print"
    }
    assert printing <= {"cli"}


def test_public_names() -> None:
    assert len(asr_llm.__all__) <= 10
    for name in asr_llm.__all__:
        assert getattr(asr_llm, name).__module__.startswith("asr_llm.")
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        asr_llm.nothing_of_that_name  # noqa: B018
