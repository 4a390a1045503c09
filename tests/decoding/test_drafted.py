"""Drafts save passes of the LLM and change nothing of what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer

from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.decoding.confidence import TokenProbabilities
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.drafted import (
    Draft,
    Letters,
    Written,
    _RoomyLayer,
    can_draft,
    ctc_drafts,
    write,
)
from asr_llm.decoding.generate import generate
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.prompts import end_token, inference, prompt, splice
from asr_llm.decoding.results import Hypothesis
from asr_llm.model import checkpoints
from asr_llm.model.salm import SpanSALM

PIECES = ["she", "was", "seen", ",", ".", "The", "h", "er", "f", "am", "ily", "Her"]
END = 99


class Words:
    """A tokenizer of words that stand between spaces; ids are places in ``PIECES``."""

    def __call__(self, texts: list[str], add_special_tokens: bool = True) -> dict[str, Any]:
        return {"input_ids": [[PIECES.index(word) for word in text.split()] for text in texts]}

    def decode(self, ids: list[int]) -> str:
        return "".join(PIECES[i] for i in ids if i < len(PIECES))


def ids(words: str) -> list[int]:
    return [PIECES.index(word) for word in words.split()]


def draft(text: str) -> Draft:
    return Draft(text, Letters(Words()), END)


def test_draft_begins_and_ends_a_sentence() -> None:
    made = draft("The f  am ily ")
    assert made.next(8) == [*ids("The f am ily ."), END]
    assert made.next(2) == ids("The f")
    assert draft("").next(8) == [*ids("."), END]
    assert draft("her f").tokens == ids("Her f")


def test_draft_continues_after_punctuation_that_only_the_llm_writes() -> None:
    made = draft("The f am ily was seen")
    made.follow(4, *ids(","))
    assert made.next(2) == ids("was seen")
    made.follow(2, *ids(","))
    assert made.next(8) == [*ids("."), END]


def test_draft_finds_its_place_behind_other_pieces_of_the_same_word() -> None:
    made = draft("Her f am ily was")
    made.follow(0, *ids("h"))  # for 'Her': two letters of it are left
    made.follow(0, *ids("er"))
    assert made.next(3) == ids("f am ily")


def test_draft_finds_its_place_behind_words_it_lacks_or_has_too_many_of() -> None:
    lacking = draft("The f am ily was seen")
    lacking.follow(1, *ids("she"))  # 'The she family …': off by three letters
    assert lacking.next(1) == ids("ily")
    lacking.follow(0, *ids("f"))
    assert lacking.next(4) == ids("am ily was seen")
    more = draft("The she f am ily was seen")
    more.follow(1, *ids("f"))
    more.follow(0, *ids("am"))
    assert more.next(3) == ids("ily was seen")


def test_draft_that_is_used_up_proposes_the_end() -> None:
    made = draft("The")
    for _ in range(2):
        made.follow(0, *ids("seen"))
    assert made.next(8) == [*ids("."), END]


def test_matching_draft_tokens_are_accepted() -> None:
    text = Written(draft("The f am ily"), limit=10, end=END)
    assert text.add([5, 3, 9], [-0.1, -0.2, -0.3], [5, 8]) == 1
    assert (text.ids, text.log_probs, text.done) == ([5, 3], [-0.1, -0.2], False)
    assert text.add([4, END, 7], [-0.4, -0.5, -0.6], [4, END]) == 2
    assert (text.ids, text.complete, text.done) == ([5, 3, 4], True, True)


@pytest.mark.parametrize(
    ("limit", "expected", "complete"), [(2, [5, 3], False), (4, [5, 3, 4], True)]
)
def test_the_end_counts_towards_the_limit(limit: int, expected: list[int], complete: bool) -> None:
    text = Written(draft("The"), limit, END)
    text.add([5, 3, 4, END, 7], [0.0] * 5, [5, 3, 4, END])
    assert (text.ids, text.complete, text.done) == (expected, complete, True)


@pytest.fixture(scope="module")
def model(lively: Path) -> SpanSALM:
    return checkpoints.load(lively).eval()


def noise(num_samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)


AUDIOS = [noise(n, n) for n in (1600, 23456, 9000, 30000)]
LIMITS = [20, 12, 20, 1]


def written(model: SpanSALM, drafts: Callable[[Letters, int], list[Draft]]) -> list[Hypothesis]:
    """Texts and whether they were completed, with these drafts."""
    prompts, end = [prompt(audio, model.chat) for audio in AUDIOS], end_token(model)
    with inference(model):
        made = drafts(Letters(model.tokenizer.tokenizer), end)
        return write(model, splice(model, prompts), LIMITS, end, made)


@pytest.fixture(scope="module")
def greedy(model: SpanSALM) -> list[Hypothesis]:
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in AUDIOS])
        found = generate(model, spliced, LIMITS)
    assert len({one.ids for one in found}) > 1
    return found


@settings(max_examples=25)
@given(texts=st.lists(st.text("ab her.,T", max_size=30), min_size=4, max_size=4))
def test_text_is_the_greedy_one_whatever_is_drafted(
    model: SpanSALM, greedy: list[Hypothesis], texts: list[str]
) -> None:
    assert written(model, lambda of, end: [Draft(text, of, end) for text in texts]) == greedy


def test_text_is_the_greedy_one_without_drafts(model: SpanSALM, greedy: list[Hypothesis]) -> None:
    assert written(model, lambda of, end: []) == greedy


def test_a_true_draft_saves_passes(
    model: SpanSALM, greedy: list[Hypothesis], monkeypatch: pytest.MonkeyPatch
) -> None:
    def true(of: Letters, end: int) -> list[Draft]:
        drafts = [Draft("", of, end) for _ in greedy]
        for one, tokens in zip(drafts, (list(written.ids) for written in greedy)):
            one.tokens, one.close = tokens, [end]
            one.letters = "".join(of[token] for token in tokens)
            one.starts = [len("".join(of[t] for t in tokens[:i])) for i in range(len(tokens) + 1)]
        return drafts

    passes = []
    read = model.causal_lm.model.forward
    monkeypatch.setattr(model.causal_lm.model, "forward", lambda **k: passes.append(1) or read(**k))
    assert written(model, true) == greedy
    longest = max(len(one.ids) for one in greedy)
    assert len(passes) <= longest / 4  # five tokens in each pass, but for its letters


@pytest.mark.parametrize("drafted", [False, True])
def test_probabilities_are_those_of_generate(model: SpanSALM, drafted: bool) -> None:
    prompts, end = [prompt(audio, model.chat) for audio in AUDIOS], end_token(model)
    seen = TokenProbabilities(beams=1)
    with inference(model):
        spliced = splice(model, prompts)
        found = generate(model, spliced, LIMITS, processors=[seen])
        drafts = ctc_drafts(model, spliced, end) if drafted else None
        texts = write(model, spliced, LIMITS, end, drafts, confidence=True)
    expected = seen.of([list(one.ids) for one in found])
    for text, log_probs in zip(texts, expected, strict=True):
        assert text.log_probs == pytest.approx(log_probs, abs=1e-4)


def test_mini_writes_the_same_in_fewer_passes() -> None:
    model = checkpoints.load("mini").eval()
    sentences = ["The harbour was quiet in the morning.", "They asked for an early answer."]
    audios = [synthesize(text, "en-us").samples for text in sentences]
    passes = []
    model.causal_lm.model.register_forward_hook(lambda *_: passes.append(1))
    counts = []
    for drafts in (False, True):
        passes.clear()
        options = DecodeOptions(num_beams=1, drafts=drafts)
        found = [one.text for one in Decoder(model).decode(audios, options)]
        counts.append((found, len(passes)))
    (plain, many), (drafted, few) = counts
    assert drafted == plain
    assert few <= 0.7 * many
    with inference(model):
        spliced = splice(model, [prompt(audio, model.chat) for audio in audios])
        texts = [one.letters for one in ctc_drafts(model, spliced, end_token(model))]
    assert texts[0].startswith("thehar")


@given(
    steps=st.lists(st.tuples(st.sampled_from(["add", "drop", "keep"]), st.integers(1, 90))),
    seed=st.integers(0, 99),
)
def test_a_cache_with_room_is_one_without(steps: list[tuple[str, int]], seed: int) -> None:
    torch.manual_seed(seed)
    roomy, plain, rows = _RoomyLayer(), DynamicLayer(), 3
    for step, number in [("add", 5), *steps]:
        length = plain.get_seq_length()
        if step == "add":
            keys, values = torch.rand(2, rows, 2, number, 4)
            roomy.update(keys, values)
            plain.update(keys, values)
        elif step == "drop":
            for layer in (roomy, plain):
                layer.crop(-min(number, length - 1))
        else:
            rows = max(1, rows - number % 2)
            for layer in (roomy, plain):
                layer.batch_select_indices(torch.arange(rows))
        assert roomy.get_seq_length() == plain.get_seq_length()
        assert torch.equal(roomy.keys, plain.keys) and torch.equal(roomy.values, plain.values)


def test_a_cache_with_room_is_not_copied_for_each_token() -> None:
    layer = _RoomyLayer()
    places = {layer.update(*torch.rand(2, 3, 2, 1, 4))[0].data_ptr() for _ in range(130)}
    assert len(places) == 2  # room for 64 more than there are, twice


def test_no_drafts_without_a_head_or_with_windows_or_in_large_batches(model: SpanSALM) -> None:
    def like(head: Any, device: str = "cpu", **config: Any) -> Any:
        return SimpleNamespace(
            ctc_head=head,
            causal_lm=SimpleNamespace(config=SimpleNamespace(**config)),
            device=torch.device(device),
        )

    full, head = ["full_attention"] * 2, torch.nn.Identity()
    assert can_draft(model, 4)
    assert not can_draft(model, 5)
    assert can_draft(like(head, "cuda"), 9)
    assert can_draft(like(head, layer_types=full, sliding_window=None), 1)
    assert not can_draft(like(None, layer_types=full), 1)
    assert not can_draft(like(head, layer_types=["sliding_attention", *full]), 1)
    assert not can_draft(like(head, sliding_window=512), 1)


def test_a_draft_that_fails_is_given_one_token_until_it_hits() -> None:
    made = draft("The f am ily was seen")
    for _ in range(3):
        assert len(made.next(4)) == 4
        made.follow(0, *ids(","))
    assert made.next(4) == ids("The")
    made.follow(1, *ids("f"))
    assert made.next(4) == ids("am ily was seen")
