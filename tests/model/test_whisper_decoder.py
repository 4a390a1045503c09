"""A beam search over chains of three tokens, whose texts are counted out by hand."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from asr_llm.model.whisper_decoder import BeamSearch, EncoderMemory

A, B, END, START = range(4)
# Of each token the probability of the next: a, b, the end.
TALK = {START: (0.6, 0.4, 0.0), A: (0.1, 0.5, 0.4), B: (0.1, 0.0, 0.9)}
HUSH = {START: (0.1, 0.0, 0.9), A: (0.0, 0.0, 1.0), B: (0.0, 0.0, 1.0)}


class Chain:
    """In place of Whisper's decoder: what comes next depends on the last token alone."""

    def __call__(self, ids: Tensor, heard: EncoderMemory, cache: Any) -> Tensor:
        tables = heard.layers[0][0]
        own = tables.repeat_interleave(len(ids) // len(tables), 0)
        return own[torch.arange(len(ids)), ids[:, -1]][:, None]

    def head(self, hidden: Tensor) -> Tensor:
        return hidden.log()


def heard(*chains: dict[int, tuple[float, ...]]) -> EncoderMemory:
    tables = torch.zeros(len(chains), 4, 4)
    for table, chain in zip(tables, chains):
        for token, following in chain.items():
            table[token, :3] = torch.tensor(following)
    return EncoderMemory([(tables, tables)], torch.tensor([4] * len(chains)))


def search(beams: int, **more: Any) -> BeamSearch:
    chain: Any = Chain()
    return BeamSearch(chain, [START], END, lambda written, logits: None, beams, **more)


def texts(beams: int, *chains: Any, limit: int = 9, **more: Any) -> list[list[tuple[int, ...]]]:
    found = search(beams, **more)(heard(*chains), [limit] * len(chains))
    return [[one.ids for one in own] for own in found]


def test_one_beam_is_greedy() -> None:
    assert texts(1, TALK, HUSH) == [[(A, B)], [()]]


def test_two_beams() -> None:
    # "b" has 0.4 * 0.9, "a b" 0.6 * 0.5 * 0.9: the better by the token. "a" was third after two.
    ((best, second),) = search(2)(heard(TALK), [9])
    assert (best.ids, second.ids) == ((A, B), (B,))
    assert best.score == pytest.approx(log(0.27)) and second.score == pytest.approx(log(0.36))
    assert best.mean == pytest.approx(log(0.27) / 3)
    assert best.complete and second.complete


def test_an_audio_that_is_done_leaves_and_changes_nothing() -> None:
    assert texts(2, HUSH, TALK) == texts(2, HUSH) + texts(2, TALK) == [[(), (A,)], [(A, B), (B,)]]


def test_at_the_limit_a_text_is_incomplete() -> None:
    ((one, other),) = search(2)(heard(TALK), [1])
    assert (one.ids, other.ids) == ((A,), (B,))
    assert not one.complete and not other.complete


def test_processors_see_what_is_written() -> None:
    seen: list[list[list[int]]] = []

    def prefer(written: Tensor, scores: Tensor) -> Tensor:
        seen.append(written.tolist())
        return scores + torch.tensor([0.0, log(4), 0.0, 0.0])

    assert texts(1, TALK, processors=[prefer]) == [[(B,)]]
    assert seen == [[[]], [[B]]]


def test_what_is_forbidden_is_not_written() -> None:
    def forbid(written: int, logits: Tensor) -> None:
        if not written:
            logits[:, A] = -torch.inf

    chain: Any = Chain()
    (found,) = BeamSearch(chain, [START], END, forbid)(heard(TALK), [9])
    assert found[0].ids == (B,)
    assert found[0].score == pytest.approx(log(0.9))  # of what is allowed, "b" is all there is
