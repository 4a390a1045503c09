"""docs/adding-a-logits-processor.md: its example does what it says there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asr_llm
from asr_llm.decoding import search
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.options import DecodeOptions
from asr_llm.model import checkpoints
from asr_llm.model.salm import SpanSALM

DOCS = Path(__file__).parents[1] / "docs" / "adding-a-logits-processor.md"
AUDIOS = [
    np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32) for n in (23456, 9000, 30000)
]


@pytest.fixture(scope="module")
def suppression() -> Any:
    """The class that the page defines."""
    blocks = DOCS.read_text("utf-8").split("```python\n")[1:]
    (example,) = (b.partition("```")[0] for b in blocks if "class Suppression" in b)
    made: dict[str, Any] = {}
    exec(compile(example, str(DOCS), "exec"), made)
    return made["Suppression"]


@pytest.fixture(scope="module")
def model(lively: Path) -> SpanSALM:
    return checkpoints.load(lively)


@pytest.mark.parametrize("beams", [1, 3])
def test_words_that_are_suppressed_are_never_written(
    model: SpanSALM, suppression: Any, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    """Greedily too, where there would be drafts."""
    options, decoder = DecodeOptions(num_beams=beams), Decoder(model)
    plain = [one.text for one in decoder.decode(AUDIOS, options)]
    unwanted = sorted({letter for text in plain for letter in text if letter.isalpha()})[:3]
    tokenizer, real = model.tokenizer.tokenizer, search.processors
    monkeypatch.setattr(
        search, "processors", lambda *given: [suppression(unwanted, tokenizer), *real(*given)]
    )
    ids = {ids[0] for ids in suppression(unwanted, tokenizer).sequences if len(ids) == 1}
    assert ids
    together = [one.text for one in decoder.decode(AUDIOS, options)]
    assert together != plain
    for text, audio in zip(together, AUDIOS):
        assert not ids & set(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert decoder.decode([audio], options)[0].text == text


def test_a_word_of_several_tokens_by_hand(suppression: Any) -> None:
    import torch

    class Words:
        def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, Any]:
            tokens = {"atrial": [1, 2], " atrial": [3, 2]}
            return {"input_ids": [tokens[text] for text in texts]}

    processor = suppression(["atrial"], Words())
    scores = torch.zeros(3, 5)
    after = processor(torch.tensor([[0, 1], [3, 0], [0, 3]]), scores)
    assert [row.isinf().nonzero().flatten().tolist() for row in after] == [[2], [], [2]]
    assert not scores.isinf().any()


def test_the_page_adds_it_to_a_scratch_copy(tmp_path: Path) -> None:
    shutil.copytree(
        Path(asr_llm.__file__).parent,
        tmp_path / "asr_llm",
        ignore=shutil.ignore_patterns("assets", "__pycache__"),
    )
    page, decoding = DOCS.read_text("utf-8"), tmp_path / "asr_llm" / "decoding"
    (class_file,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (decoding / "suppression.py").write_text(class_file, "utf-8")
    imported = "from asr_llm.decoding.suppression import Suppression\n\n\n"
    for name, diff in zip(
        ("options.py", "processors.py"), re.findall(r"```diff\n(.*?)```", page, re.DOTALL)
    ):
        before = "".join(line[1:] for line in diff.splitlines(True) if line[0] == " ")
        after = "".join(line[1:] for line in diff.splitlines(True))
        written = (decoding / name).read_text("utf-8")
        assert before in written
        (decoding / name).write_text(written.replace(before, after), "utf-8")
    listed = decoding / "processors.py"
    written = listed.read_text("utf-8").replace("@dataclass", f"{imported}@dataclass", 1)
    listed.write_text(written, "utf-8")
    (tmp_path / "try.py").write_text(
        "from types import SimpleNamespace as Space\n"
        "from asr_llm.decoding.options import DecodeOptions\n"
        "from asr_llm.decoding.processors import processors\n"
        "model = Space(tokenizer=Space(tokenizer=lambda *_, **__: {'input_ids': [[1, 2]]}))\n"
        "for options in (DecodeOptions(suppressed=('atrial',)), DecodeOptions()):\n"
        "    print([type(one).__name__ for one in processors(model, options)])\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "try.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['Suppression']\n[]\n", done.stderr


@pytest.mark.parametrize("beams", [1, 2])
def test_what_is_suppressed_is_not_taken_from_a_first_pass_either(
    model: SpanSALM, suppression: Any, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    """However likely the LLM and Whisper find it."""

    class Wrote:
        def states(self, audios: list[np.ndarray]) -> list[np.ndarray]:
            return audios

        def n_best(self, states: list[np.ndarray], *_: Any) -> list[list[str]]:
            return [["a qualm"] for _ in states]

        def log_likelihoods(self, states: Any, texts: list[list[str]]) -> list[list[float]]:
            return [[float("qualm" in text) for text in own] for own in texts]

    monkeypatch.setattr(model.cfg, "first_pass_prompt", " {first_pass}", raising=False)
    monkeypatch.setattr(model.cfg, "first_pass_accept", -1e9, raising=False)
    first_pass: Any = Wrote()
    decoder = Decoder(model, first_pass=first_pass)
    options = DecodeOptions(num_beams=beams, first_pass_weight=1e6, max_new_tokens=20)
    assert [one.text for one in decoder.decode(AUDIOS, options)] == ["a qualm"] * 3
    real, tokenizer = search.processors, model.tokenizer.tokenizer
    monkeypatch.setattr(
        search, "processors", lambda *given: [suppression(["qualm"], tokenizer), *real(*given)]
    )
    for one in decoder.decode(AUDIOS, options):
        assert one.text and "qualm" not in one.text
