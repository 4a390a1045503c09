"""How sure the recogniser is: by hand, against a pass over the finished text, in any company."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.decoding.confidence import (
    Calibration,
    TokenProbabilities,
    calibration,
    decoded_words,
    tokens_of_words,
)
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.fusion import Fusion
from asr_llm.decoding.generate import generate
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.prompts import inference, prompt, splice
from asr_llm.decoding.results import Decoded, DecodedWord, Hypothesis
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapters import put_aside, switched_on
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import LoraRecipe


@pytest.fixture(scope="module")
def model(tiny: Path, enliven: Callable[[SpanSALM, float], SpanSALM]) -> SpanSALM:
    """The tiny checkpoint with larger weights, so that what it writes depends on what it hears."""
    return enliven(checkpoints.load(tiny), 0.3)


AUDIOS = [
    np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32)
    for n in (1600, 23456, 9000, 1280, 30000)
]


def decode(
    model: SpanSALM, audios: list[np.ndarray], num_beams: int = 1, **options: Any
) -> list[Decoded]:
    return Decoder(model).decode(audios, DecodeOptions(num_beams=num_beams, **options))


# From token probabilities to a word's ------------------------------------------------------


class Letters:
    """A tokenizer whose tokens are given; the last one is special."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens
        self.all_special_ids = [len(tokens)]

    def decode(self, ids: list[int], **options: Any) -> str:
        return "".join(self.tokens[i] for i in ids if i < len(self.tokens))


@pytest.mark.parametrize(
    ("tokens", "ids", "expected"),
    [
        (["She", " sa", "id", "."], [0, 1, 2, 3], [[0], [1, 2, 3]]),
        ([" ", "She", " ", "said"], [0, 1, 2, 3], [[1], [3]]),
        (["of th", "e ca", "t"], [0, 1, 2], [[0], [0, 1], [1, 2]]),
        (["a", "b"], [0, 2, 1, 2], [[0, 2]]),
        (["a", "b"], [2, 2], []),
        ([" \n"], [0, 0], []),
    ],
)
def test_tokens_of_words_by_hand(
    tokens: list[str], ids: list[int], expected: list[list[int]]
) -> None:
    assert tokens_of_words(Letters(*tokens), ids) == expected


@given(st.text(max_size=30), st.lists(st.integers(0, 299), max_size=12))
def test_every_word_has_tokens_in_order(model_tokenizer: Any, text: str, ids: list[int]) -> None:
    """Of any text, and of tokens that are no text: half characters, special ones."""
    for tokens in (model_tokenizer(text, add_special_tokens=False)["input_ids"], ids):
        words = model_tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        ).split()
        found = tokens_of_words(model_tokenizer, tokens)
        assert len(found) == len(words)
        assert all(found) and all(places == sorted(set(places)) for places in found)
        flat = [place for places in found for place in places]
        assert flat == sorted(flat)


@pytest.fixture(scope="module")
def model_tokenizer(model: SpanSALM) -> Any:
    return model.tokenizer.tokenizer


def test_a_words_confidence_is_the_product_of_its_tokens() -> None:
    log_probs = [math.log(p) for p in (0.9, 0.5, 0.8)]
    she, said = decoded_words(Letters("She", " sa", "id"), [0, 1, 2], log_probs, Calibration())
    assert (she.text, said.text) == ("She", "said")
    assert she.confidence == pytest.approx(0.9)
    assert said.confidence == pytest.approx(0.4)
    assert said.log_probs == (log_probs[1], log_probs[2])


def test_calibration_moves_the_log_odds() -> None:
    assert Calibration()(math.log(0.3)) == pytest.approx(0.3)
    # 0.8 are odds of 4 to 1; squared 16 to 1; and half of those 8 to 1.
    assert Calibration(scale=2.0)(math.log(0.8)) == pytest.approx(16 / 17)
    assert Calibration(2.0, -math.log(2))(math.log(0.8)) == pytest.approx(8 / 9)
    assert 0.999 < Calibration()(0.0) <= 1
    assert Calibration(3.0)(-1e9) == pytest.approx(0, abs=1e-300)


@given(st.floats(-50, 0), st.floats(-50, 0), st.floats(0.1, 5), st.floats(-3, 3))
def test_calibration_keeps_the_order(one: float, two: float, scale: float, offset: float) -> None:
    low, high = sorted((one, two))
    calibrate = Calibration(scale, offset)
    assert 0 <= calibrate(low) <= calibrate(high) <= 1


def test_the_checkpoints_config_has_the_calibration(model: SpanSALM) -> None:
    assert calibration(model) == Calibration()
    before = decode(model, AUDIOS[1:2], confidence=True)[0].words
    model.cfg.word_confidence = {"scale": 2, "offset": 0.5}
    try:
        assert calibration(model) == Calibration(2.0, 0.5)
        after = decode(model, AUDIOS[1:2], confidence=True)[0].words
        assert [word.log_probs for word in after] == [word.log_probs for word in before]
        assert after[0].confidence == Calibration(2.0, 0.5)(sum(before[0].log_probs))
    finally:
        del model.cfg.word_confidence


@pytest.mark.parametrize(
    "wrong", [3, {"scale": -1, "offset": 0}, {"slope": 1}, {"scale": "x"}, {"offset": math.inf}]
)
def test_a_wrong_calibration_is_refused(model: SpanSALM, wrong: object) -> None:
    model.cfg.word_confidence = wrong
    try:
        with pytest.raises(CheckpointError, match="expected 'scale', a number above 0, and 'off"):
            calibration(model)
    finally:
        del model.cfg.word_confidence


# Token probabilities -----------------------------------------------------------------------


def test_probabilities_follow_the_hypotheses_by_hand() -> None:
    """Two hypotheses of one text: after the first step both go on from the second one."""
    seen = TokenProbabilities(beams=2)

    def step(written: list[list[int]], probabilities: list[list[float]]) -> None:
        scores = torch.tensor(probabilities).log() + 3.0  # not normalised
        ids = torch.tensor(written, dtype=torch.long).reshape(2, -1)
        assert seen(ids, scores) is scores

    step([[], []], [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]])
    step([[0], [1]], [[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])
    step([[1, 0], [1, 1]], [[0.1, 0.1, 0.8], [0.25, 0.5, 0.25]])
    expected = {(1, 0, 2): (0.3, 0.7, 0.8), (1, 1, 1): (0.3, 0.2, 0.5), (0,): (0.6,), (): ()}
    for ids, probabilities in expected.items():
        (found,) = seen.of([list(ids)])
        assert np.exp(found) == pytest.approx(probabilities)


def of_finished(model: SpanSALM, audio: np.ndarray, ids: list[int]) -> list[float]:
    """Each token's log-probability by one pass over prompt, speech and the finished text."""
    if not ids:
        return []
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat)]).input_embeds
        text = model.embed_tokens(torch.tensor([ids]))
        hidden = model.hidden_states(torch.cat([spliced, text[:, :-1]], 1), None)
        logits = model.causal_lm.lm_head(hidden[0, spliced.shape[1] - 1 :])
        return logits.log_softmax(-1)[range(len(ids)), ids].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize("limit", [1, 2, 12])
def test_probabilities_are_those_of_a_pass_over_the_finished_text(
    model: SpanSALM, beams: int, limit: int
) -> None:
    seen = TokenProbabilities(beams)
    limits = [limit, 12, limit, 5, limit]
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in AUDIOS])
        found = generate(model, spliced, limits, beams, [seen])
    written = [list(one.ids) for one in found]
    assert any(written)
    for audio, ids, sure in zip(AUDIOS, written, seen.of(written)):
        assert sure == pytest.approx(of_finished(model, audio, ids), abs=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_an_adapter_of_text_has_its_say(tiny: Path, beams: int) -> None:
    """Fusion's preference is part of the probabilities, but of the first token's."""
    model = checkpoints.load(tiny)
    torch.manual_seed(1)
    lora.install(model, LoraRecipe(r=2, lora_alpha=8))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 1.0)
    put_aside(model.eval())
    seen = TokenProbabilities(beams)
    asked = [prompt(AUDIOS[1], model.chat)]
    with inference(model):
        processors = [Fusion(model, {"default": 2.0}, model.text_eos_id), seen]
        (one,) = generate(model, splice(model, asked), [6], beams, processors)
    ids = list(one.ids)
    text = model.embed_tokens(torch.tensor([ids[:-1]]))

    def read(embeds: torch.Tensor) -> torch.Tensor:
        hidden = model.hidden_states(embeds, None)[0, 1 - len(ids) :]
        scores: torch.Tensor = model.causal_lm.lm_head(hidden).log_softmax(-1)
        return scores

    with inference(model):
        with switched_on(model, "default"):
            domain = read(text)
        heard = read(torch.cat([splice(model, asked).input_embeds, text], 1))
        favoured = (domain - read(text)).clamp(min=0)
        favoured[:, model.text_eos_id] = 0
        expected = (heard + 2.0 * favoured).log_softmax(-1)
    found = seen.of([ids])[0][1:]
    assert len(found) == 5
    assert found == pytest.approx(expected[range(5), ids[1:]].tolist(), abs=1e-4)
    assert found != pytest.approx(heard[range(5), ids[1:]].tolist(), abs=1e-2)


@pytest.mark.parametrize("beams", [1, 3])
def test_neither_the_text_nor_the_company_matters(model: SpanSALM, beams: int) -> None:
    plain = decode(model, AUDIOS, num_beams=beams)
    sure = decode(model, AUDIOS, num_beams=beams, confidence=True)
    assert [(d.text, d.complete, d.loop_cut) for d in sure] == [
        (d.text, d.complete, d.loop_cut) for d in plain
    ]
    assert not any(d.words or d.encoded is not None for d in plain)
    assert any(d.words for d in sure)
    for audio, together in zip(AUDIOS, sure):
        assert [word.text for word in together.words] == together.text.split()
        (alone,) = decode(model, [audio], num_beams=beams, confidence=True)
        for one, other in zip(alone.words, together.words, strict=True):
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_words_that_a_loop_repeats_are_cut_with_it(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = model.tokenizer.tokenizer("on and" + " on and" * 5, add_special_tokens=False)["input_ids"]
    written = [Hypothesis(tuple(ids))]
    monkeypatch.setattr("asr_llm.decoding.decoder.n_best", lambda *_, **__: [written])
    monkeypatch.setattr(
        TokenProbabilities, "of", lambda self, texts: [[-1.0] * len(t) for t in texts]
    )
    (found,) = decode(model, AUDIOS[:1], num_beams=2, confidence=True)
    assert found.text == "on and"
    assert [word.text for word in found.words] == ["on", "and"]
    assert isinstance(found.words[0], DecodedWord)


def test_encoder_output_is_kept_on_request(model: SpanSALM) -> None:
    kept = decode(model, AUDIOS, keep_encoded=True)
    for audio, one in zip(AUDIOS, kept):
        assert one.encoded is not None
        assert len(one.encoded) == -(-len(audio) // model.frame_samples)
