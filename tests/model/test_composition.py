"""An untrained SALM of two foundations: their weights, and room for speech in the vocabulary."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, composition
from asr_llm.model.composition import FreshProjector
from asr_llm.model.foundations import Encoder, Llm, encoder_from_ct2, llm_from_gguf


@pytest.fixture(scope="module")
def encoder(fake: Any) -> Encoder:
    return encoder_from_ct2(fake.files)


@pytest.fixture
def llm(fake: Any) -> Llm:
    return llm_from_gguf(fake.gguf)


def test_the_foundations_are_in_it_and_the_seed_makes_the_rest(
    encoder: Encoder, llm: Llm, fake: Any, tmp_path: Path
) -> None:
    composition.compose(encoder, llm, tmp_path / "a", FreshProjector(width=24))
    for name, seed in (("b", 0), ("c", 1)):
        composition.compose(
            encoder, llm_from_gguf(fake.gguf), tmp_path / name, FreshProjector(seed, 24)
        )
    assert checkpoints.identity(tmp_path / "a") == checkpoints.identity(tmp_path / "b")
    assert checkpoints.identity(tmp_path / "a") != checkpoints.identity(tmp_path / "c")

    model = checkpoints.load(tmp_path / "a")
    state = composition.state_of(model)
    base = composition.base_state(encoder, llm)
    assert all(state[name].equal(tensor) for name, tensor in base.items())
    assert {name for name in state if name not in base} == {
        "perception.proj.weight", "perception.proj.bias",
        *(f"perception.modality_adapter.{part}.{kind}"
          for part in ("norm", "linear") for kind in ("weight", "bias")),
    }  # fmt: skip
    assert model.token_equivalent_duration == pytest.approx(0.08)


def test_it_hears_and_talks_as_chatml(encoder: Encoder, llm: Llm, tmp_path: Path) -> None:
    composition.compose(encoder, llm, tmp_path / "model", FreshProjector(width=24))
    model = checkpoints.load(tmp_path / "model")
    assert model.chat.before == "<|im_start|>user\n"
    assert model.chat.after == "<|im_end|>\n<|im_start|>assistant\n"
    assert model.chat.end == "<|im_end|>"
    with torch.inference_mode():
        frames, lens, _ = model.encode(torch.randn(2, 16000), torch.tensor([16000, 8000]))
    assert frames.shape == (2, 13, 64) and lens.tolist() == [13, 7]


def test_smollm_spares_tokens_for_code(llm: Llm) -> None:
    before = len(llm.tokenizer)
    assert composition.reserve(llm.tokenizer, before) == ("<file_sep>", "<jupyter_start>")
    assert llm.tokenizer.pad_token == "<empty_output>"
    assert llm.tokenizer.eos_token == "<|im_end|>"
    assert len(llm.tokenizer) == before
    # Again, as when a checkpoint is composed of what was composed: the same.
    assert composition.reserve(llm.tokenizer, before) == ("<file_sep>", "<jupyter_start>")


def test_rows_that_no_token_has_are_used_first(llm: Llm) -> None:
    before = len(llm.tokenizer)
    assert composition.reserve(llm.tokenizer, before + 3) == ("<|audio|>", "<|segment|>")
    assert llm.tokenizer.pad_token == "<|pad|>"
    assert len(llm.tokenizer) == before + 3


def test_an_llm_without_room_or_turns_is_refused(encoder: Encoder, llm: Llm) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE(vocab={"<|im_end|>": 0, "a": 1}, merges=[]))
    bare = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>")
    with pytest.raises(CheckpointError, match="2 tokens in 2 rows and no special tokens to spare"):
        composition.reserve(bare, 2)
    words = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    other = dataclasses.replace(llm, tokenizer=PreTrainedTokenizerFast(tokenizer_object=words))
    with pytest.raises(CheckpointError, match="to end a turn; expected an LLM tuned"):
        composition.compose(encoder, other, Path("never"))


def test_a_tokenizer_that_gives_speech_other_tokens_is_refused(llm: Llm) -> None:
    config = {"prompt_format": "qwen", "audio_locator_tag": "<|audio|>"}
    with pytest.raises(CheckpointError, match=r"expected \('qwen', '<\|audio\|>'\)"):
        composition.prepared(config, llm)


def test_weights_of_another_size_are_refused(encoder: Encoder, llm: Llm) -> None:
    config = {"encoder": encoder.config | {"encoder_layers": 1}}
    smaller = dataclasses.replace(encoder, config=config["encoder"])
    with pytest.raises(CheckpointError, match=r"unexpected: perception\.encoder\.whisper\.layers"):
        composition.compose(smaller, llm, Path("never"), FreshProjector(width=24))
