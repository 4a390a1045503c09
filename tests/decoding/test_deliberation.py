"""What a first pass wrote stands in the prompt, and its drafts change nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding import decoder as of_decoding
from asr_llm.decoding import search, two_passes
from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.drafted import Draft
from asr_llm.decoding.generate import n_best
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.results import Decoded
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints
from asr_llm.model.salm import SpanSALM
from asr_llm.model.splice import Spliced
from asr_llm.sequences.spans import SpanSequence, Text

GREEDY = DecodeOptions(num_beams=1, max_new_tokens=20)


class Wrote:
    """A first pass that writes what it is told of audios of each length."""

    def __init__(self, *texts: str) -> None:
        self.of = {len(audio): text for audio, text in zip(AUDIOS, texts, strict=True)}

    def states(self, audios: list[np.ndarray]) -> list[torch.Tensor]:
        return [torch.zeros(len(audio), 1) for audio in audios]

    def n_best(
        self, states: list[torch.Tensor], beams: int, processors: Any = tuple
    ) -> list[list[str]]:
        return [[self.of[len(own)]] for own in states]

    def log_likelihoods(
        self, states: list[torch.Tensor], texts: list[list[str]]
    ) -> list[list[float]]:
        """It is sure of the longest."""
        assert len(states) == len(texts)
        return [[float(len(text)) for text in own] for own in texts]


def noise(num_samples: int) -> np.ndarray:
    return np.random.default_rng(num_samples).normal(0, 0.1, num_samples).astype(np.float32)


AUDIOS = [noise(n) for n in (1600, 23456, 9000)]


@pytest.fixture
def model(lively: Path) -> SpanSALM:
    model = checkpoints.load(lively)
    model.cfg.first_pass_prompt = "\nHeard: {first_pass}"
    return model


def decoder(model: SpanSALM, *texts: str) -> Decoder:
    wrote: Any = Wrote(*texts)
    return Decoder(model, first_pass=wrote)


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands behind the speech in each prompt that is decoded."""
    seen: list[str] = []

    def splice(model: SpanSALM, sequences: list[SpanSequence]) -> dict[str, Any]:
        seen.extend(span.text for _, _, span in sequences if isinstance(span, Text))
        return embedded(model, sequences)

    embedded = of_decoding.splice
    monkeypatch.setattr(of_decoding, "splice", splice)
    return seen


def test_its_text_stands_behind_the_speech(model: SpanSALM, prompts: list[str]) -> None:
    after = model.chat.after
    decoder(model, "she said", "", "on and on" + " so" * 9).decode(AUDIOS, GREEDY)
    assert prompts == [f"\nHeard: she said{after}", after, f"\nHeard: on and on so{after}"]


def test_the_llm_reads_it(model: SpanSALM) -> None:
    one, other = (
        decoder(model, text, text, text).decode(AUDIOS, GREEDY) for text in ("a", "the court")
    )
    assert one != other


@pytest.mark.parametrize("with_prompt", [True, False])
def test_it_is_not_shown_where_it_is_not_wanted(
    model: SpanSALM, prompts: list[str], with_prompt: bool
) -> None:
    plain = Decoder(model).decode(AUDIOS, GREEDY)
    if with_prompt:
        options = replace(GREEDY, first_pass=False)
    else:
        model.cfg.first_pass_prompt, options = None, GREEDY
    assert decoder(model, "a", "b", "c").decode(AUDIOS, options) == plain
    assert set(prompts) == {model.chat.after}


@pytest.mark.parametrize("texts", [("she said", "that the court", "x"), ("she said", "", "x")])
def test_drafts_of_it_change_nothing(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...]
) -> None:
    used: list[list[Draft] | None] = []
    write = search.write

    def spy(*arguments: Any) -> Any:
        used.append(arguments[4])
        return write(*arguments)

    monkeypatch.setattr(search, "write", spy)
    found: list[list[Decoded]] = [
        decoder(model, *texts).decode(AUDIOS, replace(GREEDY, drafts=drafts))
        for drafts in (False, True)
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) == len(AUDIOS)
    plain, drafted = used
    assert plain is None and drafted is not None
    letters = ["".join(text.split()) for text in texts]
    assert ([draft.letters for draft in drafted] == letters) is all(texts)  # else CTC's


def test_a_text_does_not_depend_on_its_batch(model: SpanSALM) -> None:
    decode = decoder(model, "she said", "", "that the court would").decode
    for options in (GREEDY, replace(GREEDY, num_beams=3)):
        alone = [decode([audio], options)[0] for audio in AUDIOS]
        assert decode(AUDIOS, options) == alone


def test_it_judges_the_hypotheses_of_a_beam_search(model: SpanSALM) -> None:
    one = decoder(model, "a", "b", "c")
    wide = replace(GREEDY, num_beams=4)
    plain = one.decode(AUDIOS, wide)
    judged = one.decode(AUDIOS, replace(wide, first_pass_weight=1000.0))
    assert sum(len(text.text) for text in judged) > sum(len(text.text) for text in plain)
    model.cfg.first_pass_weight = 1000.0
    assert one.decode(AUDIOS, wide) == judged
    assert one.decode(AUDIOS, replace(wide, first_pass_weight=0.0)) == plain


def test_it_is_itself_a_hypothesis(model: SpanSALM) -> None:
    one = decoder(model, "a first", "the second", "a third text")
    sure = replace(GREEDY, num_beams=2, first_pass_weight=1000.0, confidence=True)
    decoded = one.decode(AUDIOS, sure)  # `Wrote` is sure of the longest text
    found = one.decode(AUDIOS, replace(sure, first_pass_weight=0.0))
    for written, text, other in zip(decoded, ("a first", "the second", "a third text"), found):
        assert len(written.text) >= len(text)
        assert written.text == text or len(written.text) > len(text)
        assert [word.text for word in written.words] == written.text.split()
        assert other.text


@pytest.mark.parametrize("accept", [-1e9, 0.0, None])
def test_the_llm_searches_where_it_does_not_accept_the_first_pass(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch, accept: float | None
) -> None:
    searched: list[int] = []

    def spy(model: SpanSALM, spliced: Spliced, limits: list[int], *more: Any) -> Any:
        searched.extend(limits)
        assert len(spliced.input_embeds) == len(limits)
        return n_best(model, spliced, limits, *more)

    monkeypatch.setattr("asr_llm.decoding.decoder.n_best", spy)
    if accept is not None:
        model.cfg.first_pass_accept = accept
    one = decoder(model, "a first", "", "a third text")
    sure = replace(GREEDY, num_beams=2, first_pass_weight=1000.0, confidence=True)
    found = one.decode(AUDIOS, sure)
    # Nothing is taken on trust where the first pass wrote nothing.
    assert searched == [20] * (1 if accept == -1e9 else 3)
    if accept == -1e9:
        assert [found[0].text, found[2].text] == ["a first", "a third text"]
        assert found[1].text
    assert [len(text.words) for text in found] == [len(text.text.split()) for text in found]
    alone = [one.decode([audio], sure)[0].text for audio in AUDIOS]
    assert [text.text for text in found] == alone


def test_an_acceptance_that_is_no_number_is_refused(model: SpanSALM) -> None:
    model.cfg.first_pass_accept = "often"
    with pytest.raises(CheckpointError, match="first_pass_accept is often; expected a log-prob"):
        decoder(model, "a", "b", "c").decode(
            AUDIOS, replace(GREEDY, num_beams=2, first_pass_weight=1.0)
        )


def test_a_list_is_preferred_in_both_passes_and_in_the_score_of_the_first(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two texts of the first pass, of which one has the listed word: the list decides."""
    lists, seen = BiasingList(("the court",), 4.0), []
    gains = Biasing.gains

    def spy(*arguments: Any) -> list[float]:
        seen.append(gains(*arguments))
        return seen[-1]

    monkeypatch.setattr(Biasing, "gains", spy)
    one = decoder(model, "say the court", "the port", "a")
    first_pass: Any = one.first_pass
    first_pass.hub_tokenizer = model.tokenizer.tokenizer
    first_pass.vocabulary = model.text_vocab_size
    wide = replace(GREEDY, num_beams=2, first_pass_weight=1.0)
    one.decode(AUDIOS, wide)
    assert seen == []
    one.decode(AUDIOS, replace(wide, biasing=lists))
    ((listed, *others),) = seen
    assert listed >= 4 and others == [0.0, 0.0]
    # Twice as strong in the first pass, up to a limit.
    for strength, twice in ((2.0, 4.0), (4.0, 5.0), (9.0, 5.0)):
        first, second = one._phrases((replace(lists, strength=strength),))
        assert first is not None and second is not None
        assert (first.gain.max(), second.gain.max()) == (strength, twice)


def test_greedy_texts_are_judged_beside_the_first_pass(model: SpanSALM) -> None:
    one = decoder(model, "a first text that is long, as long as none will be", "b", "c")
    first, second, _ = one.decode(AUDIOS, replace(GREEDY, first_pass_weight=1000.0))
    plain = one.decode(AUDIOS, replace(GREEDY, first_pass_weight=0.0))
    assert first.text.startswith("a first text") or len(first.text) > 48
    assert second.text == max(plain[1].text, "b", key=len)  # `Wrote` is sure of the longest


class Listed(Wrote):
    """A first pass that writes something else with lists, which it finds so much less likely."""

    def __init__(self, lost: float) -> None:
        super().__init__("a mole", "a mole", "a mole")
        self.lost = lost

    def n_best(
        self, states: list[torch.Tensor], beams: int, processors: Any = tuple
    ) -> list[list[str]]:
        return [["a mocha", "a mole"] if processors() else ["a mole"] for _ in states]

    def log_likelihoods(
        self, states: list[torch.Tensor], texts: list[list[str]]
    ) -> list[list[float]]:
        return [[-1.0 if text == "a mole" else -1.0 - self.lost for text in own] for own in texts]


@pytest.mark.parametrize(
    ("lost", "shown"), [(two_passes.LOST - 1, "a mocha"), (two_passes.LOST + 1, "a mole")]
)
def test_what_lists_put_there_against_what_is_heard_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, lost: float, shown: str
) -> None:
    monkeypatch.setattr(two_passes, "Biasing", lambda phrases: phrases)
    whisper: Any = Listed(lost)
    found = two_passes.FirstPassTexts.of(whisper, AUDIOS, 2, Any)  # type: ignore[arg-type]
    assert found.shown == [shown] * 3
    assert all(set(own) == {"a mocha", "a mole"} for own in found.texts)
    assert two_passes.FirstPassTexts.of(whisper, AUDIOS, 2, None).shown == ["a mole"] * 3


def test_whisper_scores_a_text_once() -> None:
    asked: list[list[list[str]]] = []

    class Counted(Wrote):
        def log_likelihoods(
            self, states: list[torch.Tensor], texts: list[list[str]]
        ) -> list[list[float]]:
            asked.append(texts)
            return super().log_likelihoods(states, texts)

    whisper: Any = Counted("one", "two", "three")
    first = two_passes.FirstPassTexts.of(whisper, AUDIOS, 2, None)
    texts = [["one", "a", "a"], ["two"], ["three", "b"]]
    assert first.log_likelihoods(texts) == [[3.0, 1.0, 1.0], [3.0], [5.0, 1.0]]
    assert first.log_likelihoods([["a"], ["two"], ["b", "cc"]]) == [[1.0], [3.0], [1.0, 2.0]]
    assert asked == [[["one", "a"], ["two"], ["three", "b"]], [["cc"]]]


def test_the_best_listed_text_that_is_heard_comes_before_the_plain_one() -> None:
    likely = {"loop loop": -40.0, "a mocha": -5.0, "a mole": -1.0}
    assert two_passes._checked([*likely], likely, "a mole") == ["a mocha", "loop loop", "a mole"]
