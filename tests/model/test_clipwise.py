"""Attention clip by clip: as by a mask, and to the last bit the same in any batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, Gemma2Config, LlamaConfig, LlamaForCausalLM, Qwen3Config

from asr_llm.model.clipwise import causal, clipwise, full_attention
from asr_llm.model.int8 import SteadyLinear


def llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="sdpa",
    )
    lm = LlamaForCausalLM(config).eval()
    for layer in lm.model.layers:  # as in a recogniser in 8 bits; plain ones differ between batches
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, SteadyLinear(child))
    return SimpleNamespace(causal_lm=lm, device=torch.device("cpu"))


def read(model: Any, prompts: Tensor, mask: Tensor, texts: Tensor, counts: list[int]) -> Tensor:
    """Hidden states of texts (R, L) after prompts (B, P), which are padded on the left."""
    cache = DynamicCache(config=model.causal_lm.config)
    several, ones = torch.tensor(counts), torch.ones_like(texts)
    whole = torch.cat([mask.repeat_interleave(several, 0), ones], 1)
    with torch.inference_mode():
        with clipwise(model, [1] * len(prompts)):
            model.causal_lm.model(
                input_ids=prompts,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
            )
        for layer in cache.layers:
            layer.keys = layer.keys.repeat_interleave(several, 0)
            layer.values = layer.values.repeat_interleave(several, 0)
        with clipwise(model, counts):
            found: Tensor = model.causal_lm.model(
                input_ids=texts,
                attention_mask=whole,
                position_ids=(whole.cumsum(-1) - 1)[:, -texts.shape[1] :],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
    return found


@pytest.mark.parametrize("length", [1, 5])
def test_clips_of_several_texts_are_read_as_by_a_mask(length: int) -> None:
    model, lens, counts = llama(), [9, 4, 6], [4, 5, 0]
    rows = [torch.randint(50, (count,)) for count in lens]
    prompts = pad_sequence(rows, batch_first=True, padding_side="left")
    ones = [torch.ones(count, dtype=torch.long) for count in lens]
    mask = pad_sequence(ones, batch_first=True, padding_side="left")
    texts = torch.randint(50, (sum(counts), length))
    found = read(model, prompts, mask, texts, counts)
    masked = SimpleNamespace(causal_lm=model.causal_lm, device=torch.device("meta"))
    assert torch.allclose(found, read(masked, prompts, mask, texts, counts), atol=1e-5)
    # To the last bit as without the others.
    alone = read(model, rows[1][None], ones[1][None], texts[4:], [5])
    assert torch.equal(found[4:], alone)
    assert model.causal_lm.config._attn_implementation == "sdpa"


@given(st.integers(1, 4), st.integers(0, 3))
def test_the_last_positions_attend_to_those_before(new: int, cached: int) -> None:
    torch.manual_seed(new)
    q, k, v = torch.randn(1, 2, new, 4), *torch.randn(2, 1, 1, new + cached, 4)
    found = causal(q, k, v, 0.5)
    for head in range(2):
        for i in range(new):
            seen = cached + i + 1
            weights = (k[0, 0, :seen] @ q[0, head, i] * 0.5).softmax(0)
            assert torch.allclose(found[0, head, i], weights @ v[0, 0, :seen], atol=1e-5)


def test_windows_and_caps_are_left_to_transformers() -> None:
    assert full_attention(LlamaConfig())
    assert full_attention(Qwen3Config())
    assert not full_attention(Gemma2Config())
    assert not full_attention(Qwen3Config(use_sliding_window=True, sliding_window=8))
