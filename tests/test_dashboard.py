"""The dashboard's counts, on code that is short enough to count by eye."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    """The script beside this file."""
    spec = importlib.util.spec_from_file_location(
        "dashboard", Path(__file__).with_name("dashboard.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_and_layers(dashboard: ModuleType) -> None:
    tree = ast.parse(
        "from asr_llm import __version__\ndef f():\n    from asr_llm.model import lora"
    )
    assert sorted(dashboard.imports(tree)) == ["", "model.lora"]
    corpus = dashboard.PACKAGE / "corpus" / "audio.py"
    assert sorted(dashboard.upward(corpus, tree)) == [
        "corpus.audio <- asr_llm",
        "corpus.audio <- model.lora",
    ]
    assert dashboard.upward(dashboard.PACKAGE / "cli" / "x.py", tree) == []
    sideways = ast.parse("from asr_llm.training.fit import Fit")
    decoding = dashboard.PACKAGE / "decoding" / "decoder.py"
    assert dashboard.upward(decoding, sideways) == ["decoding.decoder <- training.fit"]


def test_circles(dashboard: ModuleType) -> None:
    a, b, c = (dashboard.PACKAGE / "corpus" / f"{name}.py" for name in "abc")
    trees = {
        a: ast.parse("from asr_llm.corpus.b import x"),
        b: ast.parse("from asr_llm.corpus import a"),
        c: ast.parse("from asr_llm.corpus.a import x"),
    }
    assert dashboard.circles(trees) == [{"corpus.a", "corpus.b"}]


def test_parameters_and_imports_inside(dashboard: ModuleType) -> None:
    tree = ast.parse(
        "import os\nclass A:\n    def f(self, a, /, b, *c, d=1, **e):\n        import re\n"
    )
    (function,) = dashboard.functions(tree)
    assert dashboard.parameters(function) == 3
    assert dashboard.inside_functions({Path("a.py"): tree}) == 0.5


def test_the_walks_exist(dashboard: ModuleType) -> None:
    assert len(dashboard.figures()) == 9
    with pytest.raises(SystemExit, match=r"x.py has no nothing\(\)"):
        trees = {dashboard.PACKAGE / "jobs" / "x.py": ast.parse("")}
        dashboard.hops("jobs/x.py nothing", trees)


def test_the_document_has_the_marks(dashboard: ModuleType) -> None:
    text = dashboard.DOCUMENT.read_text("utf-8")
    assert text.index(dashboard.BEGIN) < text.index("| words in README.md |")
    assert text.index("| words in README.md |") < text.index(dashboard.END)
