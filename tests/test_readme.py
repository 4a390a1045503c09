"""What the documents say to type is run, or at least known; what they link to is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer

from asr_llm.cli import app
from asr_llm.corpus.speech.synthesis import synthesize

ROOT = Path(__file__).resolve().parents[1]
RUN = [
    "README.md",
    *(f"docs/{name}.md" for name in ("adapting", "transcribing", "evaluating", "serving")),
]
"""Documents whose commands are run, in this order and in one folder, each command once."""

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *(path for name in ("docs", "adapt", "eval") for path in sorted((ROOT / name).rglob("*.md"))),
]
README_WORDS = 900


def fenced(document: str | Path) -> list[tuple[str, str]]:
    """The fenced blocks of a document: language and content."""
    text = (ROOT / document).read_text("utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)


def commands(*documents: str | Path) -> list[str]:
    """Lines of the fenced blocks that begin with one of our commands, each once."""
    blocks = [block for name in documents for language, block in fenced(name) if not language]
    joined = [block.replace("\\\n", " ") for block in blocks]
    lines = [line.split("  #")[0].strip() for block in joined for line in block.splitlines()]
    ours = r"(asr-llm|make|python[\d.]*|\.venv/bin/\S+) "
    return list(dict.fromkeys(line for line in lines if re.match(ours, line)))


def find_command(words: list[str]) -> Any:
    """The command that a line names: of "domain check my_clinic" the second."""
    found: Any = typer.main.get_command(app)
    for word in words:
        inside = getattr(found, "commands", None)
        if inside is None:
            break
        assert word in inside, f"no command {word!r} in {words}"
        found = inside[word]
    return found


def options(command: Any) -> set[str]:
    """What may be given to a command: "--model", "-o"."""
    return {"--help"}.union(*(p.opts + p.secondary_opts for p in command.params))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_known(document: Path) -> None:
    """Those that are run below, and those that need a network, hours or data of one's own."""
    targets = (ROOT / "Makefile").read_text("utf-8")
    for line in commands(document):
        words = shlex.split(line)
        if words[0] == "asr-llm":
            known = options(find_command(words[1:]))
            given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert given <= known, f"{line}: no option {given - known}"
        elif words[0] == "make":
            assert f"\n{words[1]}: " in targets, line
        elif words[0].startswith("python") and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), line
        else:
            assert line.startswith(("python3.11 -m venv", ".venv/bin/")), line


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= README_WORDS
    assert "Your text and audio never leave your machine." in text
    assert sum(line.startswith("asr-llm ") for line in commands("README.md")) >= 8


@cache
def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$|<!--.*?-->", "", document.read_text("utf-8"), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document}: no {link}"
        assert not anchor or anchor in anchors(target), f"{document}: no heading for {link}"


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A user's folder, with the recordings and files that the documents' commands name."""
    for name in ("talk.mp3", "visit.wav"):
        soundfile.write(tmp_path / name, synthesize("Good morning.", "en-us").samples, 16000)
    for name in ("domains", "examples", "adapt"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "recordings").mkdir()
    shutil.copy(tmp_path / "visit.wav", tmp_path / "recordings")
    (tmp_path / "recordings" / "trans.txt").write_text("visit.wav\tGood morning.\n", "utf-8")
    (tmp_path / "ref.jsonl").write_text('{"id": "a", "text": "Two teas."}\n', "utf-8")
    (tmp_path / "o.jsonl").write_text('{"id": "a", "text": "too teas"}\n', "utf-8")
    (tmp_path / "w.trn").write_text("two teas (a)\n", "utf-8")
    (tmp_path / "questions.jsonl").write_text('{"question": "Who?", "answer": "Ann"}\n', "utf-8")
    shutil.copytree(tiny, tmp_path / "canary")
    return tmp_path


@pytest.mark.slow
def test_commands_run(folder: Path) -> None:
    """By `mini`, which is quick. Trainings are cut to two steps; the hub's model is a tiny one."""
    for line in commands(*RUN):
        if not line.startswith("asr-llm ") or "--ssl-certfile" in line:
            continue
        line = line.replace("nvidia/canary-qwen-2.5b", str(folder / "canary"))
        words = shlex.split(line.replace("=small", "=mini"))[1:]
        if "--model" in options(find_command(words)) and "--model" not in words:
            words += ["--model", "mini"]
        if words[0] == "adapt":
            words += ["--steps", "2"]
        if "adapt/paired.yaml" in words:
            shutil.copytree(folder / "recordings", folder / "my_clinic" / "train")
        if words[0] == "serve":
            serve_and_stop(words, folder)
            continue
        done = subprocess.run(
            [sys.executable, "-m", "asr_llm.cli", *words],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=1200,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, line


def serve_and_stop(words: list[str], folder: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    command = [sys.executable, "-m", "asr_llm.cli", *words, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("Serving mini, my_clinic"), line
    assert " at http://127.0.0.1:" in line
    process.terminate()
    assert process.wait(120) == 0
