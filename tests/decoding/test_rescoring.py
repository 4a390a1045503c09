"""Rescoring: CTC likelihoods by hand, the search's own scores, and what comes of the two."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.generate import n_best, prefill
from asr_llm.decoding.limits import Limits
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.phrases import Phrases
from asr_llm.decoding.prompts import end_token, inference, prompt, splice, text_of
from asr_llm.decoding.rescoring import (
    SearchScores,
    Weights,
    best,
    ctc_log_likelihood,
    forced_scores,
)
from asr_llm.decoding.results import Hypothesis
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, ctc
from asr_llm.model.salm import SpanSALM
from asr_llm.model.splice import Spliced

A, B, BLANK = range(3)
AUDIOS = [
    np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32) for n in (23456, 9000, 30000)
]
BEAMS = 4


@pytest.fixture
def model(lively: Path) -> SpanSALM:
    return checkpoints.load(lively)


@pytest.mark.parametrize(
    ("tokens", "probability"),
    [
        ([A], 0.6 * 0.5 + 0.6 * 0.4 + 0.3 * 0.5),  # "aa", "a_", "_a"
        ([A, B], 0.6 * 0.1),
        ([], 0.3 * 0.4),
        ([A, A], 0.0),  # a blank would have to stand between them
        ([A, B, A], 0.0),
    ],
)
def test_ctc_likelihood_by_hand(tokens: list[int], probability: float) -> None:
    emissions = torch.tensor([[0.6, 0.1, 0.3], [0.5, 0.1, 0.4]]).log()
    found = ctc_log_likelihood(emissions, tokens, BLANK)
    assert math.exp(found) == pytest.approx(probability)


def test_the_best_by_both_scores() -> None:
    one, two, three = found = [Hypothesis((i,)) for i in range(3)]
    searched, heard = [-1.0, -2.0, -4.0], [-30.0, -20.0, -19.0]
    assert best(found, searched, [(0.0, heard)]) == one
    assert best(found, searched, [(0.11, heard)]) == two
    assert best(found, searched, [(2.5, heard)]) == three
    assert best(found, searched, [(1.0, [-math.inf] * 3)]) == one
    assert best(found, searched, [(1.0, [-math.inf, -math.inf, -9.0])]) == three
    # By both judges: -1 - 3 - 4, -2 - 2 - 1 and -4 - 1.9 - 2.
    assert best(found, searched, [(0.1, heard), (0.5, [-8.0, -2.0, -4.0])]) == two


def searched(
    model: SpanSALM, limits: list[int], processors: tuple[Any, ...] = ()
) -> tuple[list[list[Hypothesis]], list[list[float]]]:
    """All hypotheses of each audio, and their scores."""
    scores = SearchScores(BEAMS, end_token(model))
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in AUDIOS])
        found = n_best(model, spliced, limits, BEAMS, [*processors, scores])
    return found, scores.totals(found)


def listed(model: SpanSALM, strength: float) -> Phrases:
    lists = [BiasingList(("the court", "a", "b"), strength)]
    return Phrases.of(lists, model.tokenizer.tokenizer, model.text_vocab_size)


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_the_searchs_scores_are_those_of_transformers(model: SpanSALM, strength: float) -> None:
    from transformers import GenerationConfig, LogitsProcessorList

    limits, end = [12] * len(AUDIOS), end_token(model)
    phrases = listed(model, strength)
    found, totals = searched(model, limits, (Biasing(phrases),))
    config = GenerationConfig(
        max_new_tokens=12,
        num_beams=BEAMS,
        num_return_sequences=BEAMS,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=model.text_pad_id,
        return_dict_in_generate=True,
        output_scores=True,
    )
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in AUDIOS])
        model.llm.model.embed_tokens = model.embed_tokens
        theirs = model.llm.generate(
            inputs_embeds=spliced.input_embeds,
            attention_mask=spliced.attention_mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([Biasing(phrases), Limits(limits, BEAMS, end)]),
        )
        del model.llm.model.embed_tokens
    lengths = [len(one.ids) + one.complete for own in found for one in own]
    means = [total for own in totals for total in own] / np.array(lengths)
    assert means == pytest.approx(theirs.sequences_scores.numpy(), abs=1e-4)
    assert len({one.ids for own in found for one in own}) == len(AUDIOS) * BEAMS


def let_the_third_be_heard(model: SpanSALM, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Emissions of what the search finds third for each audio; returns its spelling."""
    found, _ = searched(model, [12] * len(AUDIOS))
    tokenizer, head = model.tokenizer.tokenizer, ctc.CheckpointCtc(model)
    third = [text_of(tokenizer, list(own[2].ids)) for own in found]
    spelt = [head.spell(text).flat for text in third]
    assert all(spelt)

    def made_by_hand(encoded: torch.Tensor) -> torch.Tensor:
        """Each token in a frame of its own, with a blank behind it."""
        emissions = torch.full((len(AUDIOS), encoded.shape[1], head.blank + 1), -20.0)
        emissions[..., head.blank] = 0.0
        for rows, tokens in zip(emissions, spelt):
            for i, token in enumerate(tokens):
                rows[2 * i, token], rows[2 * i, head.blank] = 0.0, -20.0
        return emissions

    real = splice

    def roomy(*arguments: Any) -> Spliced:
        """As many frames as the tokens take, whatever was heard."""
        spliced = real(*arguments)
        frames = 2 * max(map(len, spelt))
        return replace(
            spliced,
            encoded=torch.zeros(len(AUDIOS), frames, 1),
            encoded_lens=torch.full((len(AUDIOS),), frames),
        )

    monkeypatch.setattr("asr_llm.decoding.decoder.splice", roomy)
    monkeypatch.setattr(SpanSALM, "ctc_log_probs", lambda self, encoded: made_by_hand(encoded))
    return spelt


def test_the_hypothesis_is_taken_that_the_emissions_are_of(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelt = let_the_third_be_heard(model, monkeypatch)
    head = ctc.CheckpointCtc(model)
    options = DecodeOptions(num_beams=BEAMS, max_new_tokens=12, ctc_weight=100.0)
    decoded = Decoder(model).decode(AUDIOS, options)
    assert [head.spell(one.text).flat for one in decoded] == spelt


def test_a_text_does_not_depend_on_its_company_and_is_sure_of_its_own_words(
    model: SpanSALM,
) -> None:
    options = DecodeOptions(num_beams=BEAMS, ctc_weight=0.5, confidence=True)
    decoder = Decoder(model)
    together = decoder.decode(AUDIOS, options)
    assert [one.text for one in together] == [
        decoder.decode([audio], options)[0].text for audio in AUDIOS
    ]
    for one in together:
        assert [word.text for word in one.words] == one.text.split()


def test_the_checkpoint_says_how_much_it_weighs(
    model: SpanSALM, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Weights.of(model, None, None).ctc == 0.0
    let_the_third_be_heard(model, monkeypatch)
    short = DecodeOptions(max_new_tokens=12)
    plain = Decoder(model).decode(AUDIOS, short)
    weighed = Decoder(model).decode(AUDIOS, replace(short, ctc_weight=100.0))
    assert weighed != plain
    model.cfg.ctc_weight = 100
    assert Weights.of(model, None, None).ctc == 100.0
    assert Decoder(model).decode(AUDIOS, short) == weighed
    assert Decoder(model).decode(AUDIOS, replace(short, ctc_weight=0.0)) == plain
    model.cfg.ctc_weight = "much"
    with pytest.raises(CheckpointError, match="ctc_weight is much; expected a number from 0"):
        Decoder(model).decode(AUDIOS)
    headless = checkpoints.load(tiny)
    headless.cfg.ctc_weight = 0.5
    assert Weights.of(headless, None, None).ctc == 0.0
    with pytest.raises(CheckpointError, match="but this checkpoint has no CTC head"):
        Weights.of(headless, 0.3, None)


class Ends(LogitsProcessor):
    """Makes it likely that a text ends."""

    BY = 15.0

    def __init__(self, end: int) -> None:
        self.end = end

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[:, self.end] += self.BY
        return scores


@pytest.mark.parametrize("strength", [0.0, 12.0])
def test_a_given_text_is_scored_as_the_search_scores_it(model: SpanSALM, strength: float) -> None:
    preferred, end = Biasing(listed(model, strength)), end_token(model)
    found, totals = searched(model, [30] * len(AUDIOS), (preferred, Ends(end)))
    whole = [
        [one.complete and math.isfinite(t) for one, t in zip(*own)] for own in zip(found, totals)
    ]
    assert all(map(any, whole))
    texts = [[one.ids for one, fit in zip(*own) if fit] for own in zip(found, whole)]
    expected = [[t for t, fit in zip(*own) if fit] for own in zip(totals, whole)]
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in AUDIOS])
        scored = forced_scores(model, spliced, prefill(model, spliced), texts)
    gained = preferred.gains([ids for own in texts for ids in own], end, model.text_vocab_size)
    assert any(gained) is bool(strength)
    of_text = iter(gained)
    for own, ids, total in zip(scored, texts, expected):
        assert [len(one) for one in own] == [len(one) + 1 for one in ids]
        sums = [sum(one) + next(of_text) + Ends.BY for one in own]
        assert sums == pytest.approx(total, abs=1e-3)
