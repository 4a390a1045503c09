"""The cache of a search holds what transformers' own cache would hold."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

from asr_llm.decoding.generate import BeamLayer, for_beams


def states(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(*shape), torch.randn(*shape)


def read(texts: int, length: int, layers: int = 2) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(layers):
        cache.update(*states(texts, 3, length, 4), layer)
    return cache


@given(
    texts=st.integers(1, 3),
    beams=st.integers(1, 4),
    steps=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    data=st.data(),
)
def test_it_grows_and_is_reordered_as_transformers_own(
    texts: int, beams: int, steps: list[int], data: st.DataObject
) -> None:
    prompts = read(texts, length=5)
    ours = for_beams(prompts, beams, room=sum(steps))
    assert all(isinstance(layer, BeamLayer) for layer in ours.layers)
    theirs = read(texts, length=5)
    for layer, source in zip(theirs.layers, prompts.layers):
        layer.keys, layer.values = source.keys, source.values
    theirs.batch_repeat_interleave(beams)
    for new in steps:
        for layer in range(2):
            more = states(texts * beams, 3, new, 4)
            for got, wanted in zip(ours.update(*more, layer), theirs.update(*more, layer)):
                assert torch.equal(got, wanted)
        chosen = st.lists(st.integers(0, beams - 1), min_size=beams, max_size=beams)
        order = torch.tensor([i * beams + k for i in range(texts) for k in data.draw(chosen)])
        ours.reorder_cache(order)
        theirs.reorder_cache(order)
        assert ours.get_seq_length() == theirs.get_seq_length()
        for own, other in zip(ours.layers, theirs.layers):
            assert torch.equal(own.keys, other.keys)
            assert torch.equal(own.values, other.values)


def test_the_prompts_stay_as_they_were_read() -> None:
    prompts = read(texts=2, length=3)
    before = [layer.keys.clone() for layer in prompts.layers]
    search = for_beams(prompts, beams=2, room=4)
    search.update(*states(4, 3, 1, 4), 0)
    search.reorder_cache(torch.tensor([1, 1, 3, 3]))
    assert prompts.get_seq_length() == 3
    assert all(torch.equal(a, layer.keys) for a, layer in zip(before, prompts.layers))
