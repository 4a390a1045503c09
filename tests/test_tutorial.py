"""The scoring tutorial, followed from beginning to end in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from asr_llm.cli import app

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "score-any-recogniser.md"


def test_every_command_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown: list[str] = []
    for block in re.findall(r"^```\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.S | re.M):
        if file := re.fullmatch(r"cat > (\S+) <<'END'\n(.*)END\n", block, re.S):
            (tmp_path / file[1]).write_text(file[2], "utf-8")
            continue
        words = shlex.split(block.replace("\\\n", " "))
        with pytest.raises(SystemExit) as stopped:
            app(words[1:], prog_name=words[0])
        assert stopped.value.code == 0, block
        shown.append(capsys.readouterr().out)
    first, normalised, accepted, safety, published = shown
    assert re.search(r"alpha +33\.3 .* 33\.3", first)  # acetaminophen
    assert re.search(r"beta +33\.3 ", normalised)  # war faring
    assert re.search(r"1 +alpha +0\.0 ", accepted)
    assert re.search(r"alpha +0\.0 ", safety) and re.search(r"beta +62\.5 ", safety)
    assert published.startswith("| rank | system | T-WER (95%)")
    scores = json.loads((tmp_path / "safe" / "scores.json").read_text("utf-8"))
    assert scores["systems"]["beta"]["safety"]["by_kind"]["dose"]["turned"] == 1
    assert (tmp_path / "scored" / "recordings.csv").is_file()
    assert "Safety words" in (tmp_path / "safe.html").read_text("utf-8")
