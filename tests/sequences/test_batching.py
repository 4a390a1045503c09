"""Batches: a pure function of the seed and their number; every example once an epoch."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import DomainError
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.batching import BatchStream, Collator, _split, content_key
from asr_llm.sequences.examples import Examples, Item
from asr_llm.sequences.spans import SpanSequence, Speech, Text

LOCATOR, PAD = 1, 0


class Letters:
    """A tokenizer whose tokens are characters: a = 10, b = 11, …"""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [9 if c == " " else ord(c) - ord("a") + 10 for c in text]}

    def convert_tokens_to_ids(self, token: str) -> int:
        assert token == "<audio>"
        return LOCATOR


def ctc_ids(text: str) -> list[int]:
    """As a head that shares the LLM's vocabulary has it: each word behind a space."""
    return Letters()(f" {text}", add_special_tokens=False)["input_ids"]


def collator(ctc: bool = False) -> Collator:
    return Collator(Letters(), "<audio>", PAD, frame_samples=4, ctc=ctc_ids if ctc else None)


def speech(text: str, num_samples: int) -> Utterance:
    return Utterance(text, "s", np.arange(1, num_samples + 1, dtype=np.float32))


# Collate ---------------------------------------------------------------------------------


def test_weights_of_a_divergence_stand_beside_the_sequence_and_what_is_read_for_it() -> None:
    heard = speech("e", 4)
    batch = collator()(
        [
            (Text("a"), Speech(heard, 0, 1), Text("b"), Text("cd", True, 0.5)),
            (Text("abc", True),),
            (Text("a"), Speech(heard, 0, 1), Text("b", True), Text("c"), Text("d", True, 2.0)),
        ]
    )
    assert batch.input_ids.tolist() == [
        [10, LOCATOR, 11, 12, 13],
        [10, 11, 12, PAD, PAD],
        [10, LOCATOR, 11, 12, 13],
    ]
    assert batch.kl.tolist() == [[0, 0, 0, 0.5, 0.5], [0, 0, 0, 0, 0], [0, 0, 0, 0, 2]]
    # "a", " e" and "b" are one text, which the space before "e" makes longer; then c and d.
    assert batch.read.input_ids.tolist() == [
        [10, 9, 14, 11, 12, 13],
        [10, 9, 14, 11, 12, 13],
    ]
    assert batch.read.loss_mask.tolist() == [
        [False, False, False, False, True, True],
        [False, False, False, False, False, True],
    ]
    assert batch.read.speech is None
    assert collator()([(Text("ab", True),)]).kl is None
    moved = batch.to("cpu")
    assert moved.kl is not None and moved.read is not None


def test_speech_that_comes_again_is_known_though_several_are_in_a_row() -> None:
    one, two = (replace(speech("e", n), recorded=True) for n in (4, 7))
    other = speech("e", 4)

    def keys(*spans: Speech) -> list[str | None]:
        return collator()([(*spans, Text("a", True))]).speech.audio_keys

    (both,) = keys(Speech(one, 0, 1), Speech(two, 0, 2))
    assert both == content_key(np.array([1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 0]))
    assert keys(Speech(one, 0, 1), Speech(two, 0, 1)) == [None]  # a part of one
    assert keys(Speech(one, 0, 1), Speech(other, 0, 1)) == [None]  # one that will not come again


def test_collate_by_hand() -> None:
    one, two = speech("C, d!", 10), speech("e", 3)
    batch = collator(ctc=True)(
        [
            (Text("ab"), Speech(one, 0, 2), Text("c", True), Speech(one, 2, 3), Text("d", True)),
            (Text("abc", True),),
            (Speech(two, 0, 1), Text("e", True)),
        ]
    )
    assert batch.input_ids.tolist() == [
        [10, 11, LOCATOR, 12, LOCATOR, 13],
        [10, 11, 12, PAD, PAD, PAD],
        [LOCATOR, 14, PAD, PAD, PAD, PAD],
    ]
    assert batch.loss_mask.tolist() == [
        [False, False, False, True, False, True],
        [True, True, True, False, False, False],
        [False, True, False, False, False, False],
    ]
    assert batch.speech.audios.tolist() == [
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0],
        [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert batch.speech.audios.dtype == torch.float32
    assert batch.speech.audio_lens.tolist() == [12, 4]
    assert batch.speech.audio_rows == [0, 2]
    assert batch.speech.audio_frames == [3, 1]
    assert batch.speech.span_frames == [[(0, 2), (2, 3)], [(0, 1)]]
    # Normalised words, each after a space, as a byte-level BPE begins words.
    assert [t.tolist() for t in batch.speech.ctc_targets] == [[9, 12, 9, 13], [9, 14]]


def test_only_tensors_are_moved() -> None:
    batch = collator()([(Speech(speech("ab", 4), 0, 1), Text("a", True))])
    moved = batch.to("meta")
    assert moved.input_ids.is_meta and moved.loss_mask.is_meta
    assert moved.speech.audios.is_meta and moved.speech.audio_rows == [0]
    assert not batch.input_ids.is_meta


def test_collate_without_speech_has_no_audio() -> None:
    batch = collator(ctc=True)([(Text("a", True),)])
    assert batch.speech is None


# The stream ------------------------------------------------------------------------------


def named_source(name: str, count: int, weight: float, cost: Any = lambda i: 5.0) -> Examples:
    """Examples that say which they are: "name", their number in letters, and some noise."""

    def item(i: int) -> Item:
        number = "".join(chr(97 + int(d)) for d in f"{i:03d}")
        return Item(
            cost(i),
            lambda rng: (Text(name + number + chr(97 + int(rng.integers(26))), True),),
        )

    return Examples(count, weight, item)


def drawn(batch: Batch) -> list[tuple[str, int]]:
    """(source, number) of the examples in a batch."""
    rows = ["".join(chr(i - 10 + 97) for i in row if i) for row in batch.input_ids.tolist()]
    return [(r[0], int("".join(str(ord(c) - 97) for c in r[1:4]))) for r in rows]


def stream(sources: list[Examples], budget: int = 40, seed: int = 1, pool: int = 4) -> BatchStream:
    return BatchStream(sources, collator(), seed, budget, length=10_000, pool=pool)


def two_sources() -> list[Examples]:
    return [
        named_source("x", 30, 0.75, cost=lambda i: 3.0 + i % 7),
        named_source("y", 11, 0.25, cost=lambda i: 20.0),
    ]


@given(st.permutations(range(24)), st.integers(0, 3))
@settings(max_examples=10, deadline=None)
def test_a_batch_depends_on_seed_and_number_alone(order: list[int], seed: int) -> None:
    fresh = stream(two_sources(), seed=seed)
    expected = {i: fresh[i].input_ids.tolist() for i in range(24)}
    asked = stream(two_sources(), seed=seed)
    for i in order:
        assert asked[i].input_ids.tolist() == expected[i]
    assert stream(two_sources(), seed=seed)[order[0]].input_ids.tolist() == expected[order[0]]


def test_seeds_differ() -> None:
    assert drawn(stream(two_sources(), seed=1)[0]) != drawn(stream(two_sources(), seed=2)[0])


def test_every_example_comes_once_an_epoch_in_a_new_order() -> None:
    batches = stream(two_sources())
    seen: dict[str, list[int]] = {"x": [], "y": []}
    # Batches of a pool are shuffled, so that epochs are whole only from pool to pool.
    for first in range(0, 400, batches.pool):
        pool = [drawn(batches[i]) for i in range(first, first + batches.pool)]
        for source, number in sorted(itertools.chain(*pool)):
            seen[source].append(number)
    for name, count in (("x", 30), ("y", 11)):
        counts = Counter(seen[name])
        assert sorted(counts) == list(range(count))
        assert max(counts.values()) - min(counts.values()) <= 1
        assert min(counts.values()) >= 10
    orders = [[batches._example(0, 30 * epoch + i) for i in range(30)] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(30))
    assert orders[0] != orders[1]


def test_weights_are_shares_of_the_examples() -> None:
    batches = stream(two_sources())
    counts = Counter(source for i in range(400) for source, _ in drawn(batches[i]))
    assert counts["x"] / counts.total() == pytest.approx(0.75, abs=0.005)


def test_batches_have_the_budget_and_their_share_of_it() -> None:
    cost = {("x", i): 3.0 + i % 7 for i in range(30)} | {("y", i): 20.0 for i in range(11)}
    batches = stream(two_sources(), budget=200)
    costs = [sum(cost[e] for e in drawn(batches[i])) for i in range(80)]
    assert np.mean(costs) == pytest.approx(200, rel=0.1)
    # Equal up to one example at either end.
    assert all(abs(c - np.mean(costs)) <= 45 for c in costs)


def test_batches_hold_examples_of_similar_length() -> None:
    batches = stream(two_sources(), budget=400)
    spreads = []
    for i in range(16):
        lengths = [20 if source == "y" else 3 + n % 7 for source, n in drawn(batches[i])]
        spreads.append(max(lengths) - min(lengths))
    assert sum(spread <= 4 for spread in spreads) >= 12


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_no_batch_is_empty_however_small_the_budget(count: int) -> None:
    # Shares that do not divide: each source gives less than its share in a pool.
    sources = [named_source(chr(97 + k), 3, 1.0, cost=lambda i: 100.0) for k in range(count)]
    batches = stream(sources, budget=1, pool=4)
    assert all(len(drawn(batches[i])) >= 1 for i in range(40))


def test_noise_differs_from_batch_to_batch() -> None:
    source = [named_source("x", 1, 1.0)]
    rows = {tuple(stream(source)[i].input_ids[0].tolist()) for i in range(20)}
    assert len(rows) > 5


def broken_source(count: int, usable: set[int]) -> Examples:
    def item(i: int) -> Item:
        made: SpanSequence | None = (Text("xaa" + chr(97 + i), True),) if i in usable else None
        return Item(1.0, lambda rng: made)

    return Examples(count, 1.0, item)


def test_examples_that_cannot_be_used_leave_no_batch_empty() -> None:
    batches = stream([broken_source(8, {2})], budget=1, pool=8)
    assert [drawn(batches[i]) for i in range(16)] == [[("x", 2)]] * 16


def test_nothing_that_can_be_used_is_an_error() -> None:
    batches = stream([broken_source(8, set())], budget=1, pool=4)
    with pytest.raises(DomainError, match="none of 5 examples can be used"):
        batches[3]


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=60), st.integers(1, 12))
def test_split_leaves_no_part_empty(costs: list[float], parts: int) -> None:
    parts = min(parts, len(costs))
    items = [Item(cost, lambda rng: None) for cost in costs]
    reached = np.cumsum(costs)
    cuts = np.searchsorted(reached, reached[-1] * np.arange(1, parts) / parts)
    split = list(_split(items, cuts))
    assert len(split) == parts
    assert all(split)
    assert list(itertools.chain(*split)) == items


def test_a_real_tokenizer(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    collate = Collator(tokenizer, "<|audio|>", tokenizer.pad_token_id, 1280)
    head = "<|im_start|>user\n"
    row = collate([(Text(head), Speech(speech("a", 1280), 0, 1), Text("Hm<|im_end|>", True))])
    ids = row.input_ids[0].tolist()
    assert ids.count(tokenizer.convert_tokens_to_ids("<|audio|>")) == 1
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids) == head + "<|audio|>Hm<|im_end|>"
