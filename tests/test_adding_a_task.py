"""docs/adding-a-task.md, followed to the letter in a scratch copy of the package's tasks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import asr_llm

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding-a-task.md").read_text("utf-8")
SOURCES = Path("asr_llm", "sequences", "sources")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_adds_a_task(tmp_path: Path) -> None:
    shutil.copytree(
        Path(asr_llm.__file__).parent,
        tmp_path / "asr_llm",
        ignore=shutil.ignore_patterns("assets", "__pycache__"),
    )
    class_file, test = blocks("python")
    (tmp_path / SOURCES / "punctuate.py").write_text(class_file, "utf-8")
    (diff,) = blocks("diff")
    before = "".join(line[1:] for line in diff.splitlines(True) if line[0] == " ")
    after = "".join(line[1:] for line in diff.splitlines(True))
    union = tmp_path / SOURCES / "__init__.py"
    written = union.read_text("utf-8")
    assert before in written
    imported = "from asr_llm.sequences.sources.punctuate import PunctuateSource\n"
    first = written.index("from asr_llm.sequences.sources.question")
    written = (written[:first] + imported + written[first:]).replace(before, after)
    union.write_text(written, "utf-8")

    tests = (ROOT / "tests" / "sequences" / "test_sources.py").read_text("utf-8")
    (tmp_path / "test_sources.py").write_text(f"{tests}\n\n{test}", "utf-8")
    (tmp_path / "recipe.yaml").write_text(blocks("yaml")[0], "utf-8")
    (tmp_path / "test_recipe.py").write_text(
        "from asr_llm.recipe import Recipe\n\n\n"
        "def test_it_loads() -> None:\n"
        "    (source,) = Recipe.load('recipe.yaml').sources\n"
        "    assert (source.task, source.plain) == ('punctuate', 0.9)\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "punctuate or it_loads"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
