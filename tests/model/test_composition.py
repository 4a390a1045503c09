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


# Of other sizes, and of other families -------------------------------------------------------

WHISPERS = {  # width, layers, heads, feed-forward width, mel bands
    "tiny": (384, 4, 6, 1536, 80),
    "base": (512, 6, 8, 2048, 80),
    "small": (768, 12, 12, 3072, 80),
    "medium": (1024, 24, 16, 4096, 80),
    "large-v3": (1280, 32, 20, 5120, 128),
}
LLMS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (
        kind,
        {
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head_dim,
            "tie_word_embeddings": tied,
            "vocab_size": vocabulary,
        },
    )
    for name, kind, hidden, ffn, layers, heads, kv_heads, head_dim, tied, vocabulary in (
        ("Qwen3-1.7B", "qwen3", 2048, 6144, 28, 16, 8, 128, True, 151936),
        ("Qwen3-8B", "qwen3", 4096, 12288, 36, 32, 8, 128, False, 151936),
        ("SmolLM2-1.7B", "llama", 2048, 8192, 24, 32, 32, 64, True, 49152),
        ("Llama-3.2-1B", "llama", 2048, 8192, 16, 32, 8, 64, True, 128256),
    )
}


def whisper(size: str, layers: int | None = None) -> Encoder:
    """Whisper's dimensions; tensors without values if ``layers`` is None, which means all."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    width, deep, heads, ffn, mel = WHISPERS[size]
    config = {"d_model": width, "num_mel_bins": mel, "encoder_layers": layers or deep,
                  "encoder_attention_heads": heads, "encoder_ffn_dim": ffn,
                  "max_source_positions": 1500}  # fmt: skip
    with torch.device("meta" if layers is None else "cpu"):
        weights = WhisperEncoder(WhisperConfig(**config)).state_dict()
    return Encoder(config, weights, {}, "")


def llm_of(name: str, turn_end: str, layers: int | None = None, **changes: Any) -> Llm:
    """An LLM's dimensions, and a tokenizer of bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    kind, dims = LLMS[name]
    some = {} if layers is None else {"num_hidden_layers": layers}
    config = AutoConfig.for_model(kind, **dims | some | changes)
    with torch.device("meta" if layers is None else "cpu"):
        model = AutoModelForCausalLM.from_config(config)
    special = ["<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", turn_end]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    weights = dict(model.state_dict())
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]
    return Llm(model.config, tokenizer, weights)


def parameters(model: Any) -> int:
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


@pytest.mark.parametrize("size", WHISPERS)
def test_whisper_of_any_size(size: str) -> None:
    """Every tensor finds its place, in its shape; 32 layers take no memory."""
    encoder, llm = whisper(size), llm_of("Qwen3-1.7B", "<|im_end|>")
    config, _ = composition._config(encoder, llm, 1024)
    model = composition.build(config, llm, composition.base_state(encoder, llm))
    assert parameters(model.perception.encoder) == sum(t.numel() for t in encoder.weights.values())
    assert model.perception.proj.weight.shape == (2048, 1024)
    assert model.perception.modality_adapter.linear.weight.shape == (1024, 4 * WHISPERS[size][0])


@pytest.mark.parametrize("name", LLMS)
def test_llms_of_other_families(name: str) -> None:
    turn_end = "<|eot_id|>" if name.startswith("Llama") else "<|im_end|>"
    encoder, llm = whisper("tiny"), llm_of(name, turn_end)
    config, _ = composition._config(encoder, llm, 1024)
    model = composition.build(config, llm, composition.base_state(encoder, llm))
    own = sum(t.numel() for t in llm.weights.values())
    assert parameters(model.llm) + parameters(model.embed_tokens) == own + (
        model.embed_tokens.weight.numel() if llm.config.tie_word_embeddings else 0
    )
    tied = model.causal_lm.lm_head.weight is model.embed_tokens.weight
    assert tied == llm.config.tie_word_embeddings
    assert model.chat.end == turn_end


@pytest.mark.parametrize(
    ("size", "name", "turn_end"),
    [
        ("large-v3", "Qwen3-1.7B", "<|im_end|>"),
        ("tiny", "Llama-3.2-1B", "<|eot_id|>"),
        ("small", "SmolLM2-1.7B", "<|im_end|>"),
    ],
)
def test_one_layer_of_each_listens_and_learns(size: str, name: str, turn_end: str) -> None:
    """Real widths, random weights: a loss, and a gradient that reaches the projector."""
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.decoding.prompts import collator
    from asr_llm.sequences.tasks import asr

    encoder, llm = whisper(size, layers=1), llm_of(name, turn_end, layers=1, vocab_size=300)
    config, _ = composition._config(encoder, llm, 64)
    model = composition.build(config, llm, composition.base_state(encoder, llm))
    samples = torch.randn(16000).numpy()
    batch = collator(model)([asr(Utterance("Good morning.", "", samples), model.chat)])
    loss = model.losses(batch)["lm"]
    loss.backward()
    assert 0 < loss.item() < 20
    assert model.perception.modality_adapter.linear.weight.grad.abs().max() > 0


def test_gemma_is_refused_by_its_turns() -> None:
    llm = llm_of("Llama-3.2-1B", "<end_of_turn>")
    with pytest.raises(CheckpointError, match=r"no <\|im_end\|> or <\|eot_id\|> to end a turn"):
        composition._config(whisper("tiny"), llm, 64)
