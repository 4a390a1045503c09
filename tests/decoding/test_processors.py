"""The example of docs/decoding.md does what it says there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_llm.decoding import search
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.options import DecodeOptions
from asr_llm.model import checkpoints
from asr_llm.model.salm import SpanSALM

DOCS = Path(__file__).parents[2] / "docs" / "decoding.md"
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
    plain = [one.text for one in decoder.decode_once(AUDIOS, options)]
    unwanted = sorted({letter for text in plain for letter in text if letter.isalpha()})[:3]
    tokenizer, real = model.tokenizer.tokenizer, search.processors
    monkeypatch.setattr(
        search, "processors", lambda *given: [suppression(unwanted, tokenizer), *real(*given)]
    )
    ids = {ids[0] for ids in suppression(unwanted, tokenizer).sequences if len(ids) == 1}
    assert ids
    together = [one.text for one in decoder.decode_once(AUDIOS, options)]
    assert together != plain
    for text, audio in zip(together, AUDIOS):
        assert not ids & set(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert decoder.decode_once([audio], options)[0].text == text


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
