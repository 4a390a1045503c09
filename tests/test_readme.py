"""Every command of the README is run, in the README's order."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from asr_llm.corpus.synthesis import synthesize

ROOT = Path(__file__).resolve().parents[1]


def fenced(document: str) -> list[tuple[str, str]]:
    """The fenced blocks of a document: language and content."""
    text = (ROOT / document).read_text("utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)


def readme_commands(*documents: str) -> list[str]:
    """Lines of the fenced blocks that begin with one of our commands."""
    blocks = [block for name in documents for language, block in fenced(name) if not language]
    joined = [block.replace("\\\n", " ") for block in blocks]
    lines = [line.split("  #")[0].strip() for block in joined for line in block.splitlines()]
    return [line for line in lines if re.match(r"(asr-llm|make|python[\d.]*|\.venv/bin) ?", line)]


def test_every_command_is_known() -> None:
    """The commands tested below, and those that the tests themselves come from."""
    lines = readme_commands("README.md")
    assert sum(line.startswith("asr-llm ") for line in lines) >= 8
    others = [line for line in lines if not line.startswith("asr-llm ")]
    targets = (ROOT / "Makefile").read_text("utf-8")
    for line in others:
        if line.startswith("make "):
            assert f"\n{line.split()[1]}: " in targets
        else:
            assert line.startswith(("python3.11 -m venv", ".venv/bin/")), line


@pytest.mark.slow
def test_readme_commands_run(tiny: Path, tmp_path: Path) -> None:
    """In a fresh folder. Trainings are cut to two steps; the hub's model is a tiny one here."""
    for name in ("talk.mp3", "visit.wav"):
        soundfile.write(tmp_path / name, synthesize("Good morning.", "en-us").samples, 16000)
    for name in ("domains", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "recordings").mkdir()
    shutil.copy(tmp_path / "visit.wav", tmp_path / "recordings")
    (tmp_path / "recordings" / "trans.txt").write_text("visit.wav\tGood morning.\n", "utf-8")
    (tmp_path / "ref.jsonl").write_text('{"id": "a", "text": "Two teas."}\n', "utf-8")
    (tmp_path / "o.jsonl").write_text('{"id": "a", "text": "too teas"}\n', "utf-8")
    (tmp_path / "w.trn").write_text("two teas (a)\n", "utf-8")
    (tmp_path / "questions.jsonl").write_text('{"question": "Who?", "answer": "Ann"}\n', "utf-8")
    shutil.copytree(ROOT / "adapt", tmp_path / "adapt")
    shutil.copytree(tiny, tmp_path / "canary")
    for line in readme_commands("README.md"):
        if not line.startswith("asr-llm "):
            continue
        words = shlex.split(line.replace("nvidia/canary-qwen-2.5b", str(tmp_path / "canary")))[1:]
        if words[0] == "adapt":
            words += ["--steps", "2"]
        if "adapt/paired.yaml" in words:
            shutil.copytree(tmp_path / "recordings", tmp_path / "my_clinic" / "train")
        if words[0] == "serve":
            serve_and_stop(words, tmp_path)
            continue
        done = subprocess.run(
            [sys.executable, "-m", "asr_llm.cli", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=1200,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, line


def serve_and_stop(words: list[str], folder: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    command = [sys.executable, "-m", "asr_llm.cli", *words, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Serving mini, my_clinic at http://127.0.0.1:")
    process.terminate()
    assert process.wait(120) == 0
