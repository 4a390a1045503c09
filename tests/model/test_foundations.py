"""Foundations: what is read is what was published, and files that are none are refused."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_llm.errors import CheckpointError
from asr_llm.model import ct2
from asr_llm.model.foundations import (
    encoder_from_ct2,
    encoder_from_folder,
    find_encoder,
    llm_from_folder,
    llm_from_gguf,
)

TEXT = "Take  50 mg at   7 or 2024\n  ½"


def nothing(line: str) -> None:
    raise AssertionError(line)


def test_the_encoder_out_of_a_package_is_whispers(fake: Any) -> None:
    read = encoder_from_ct2(fake.files)
    for taken, half in ((read.weights, fake.whisper.encoder), (read.decoder, fake.whisper.decoder)):
        own = half.state_dict()
        assert taken.keys() == own.keys()
        assert all(tensor.equal(own[name]) for name, tensor in taken.items())
    assert read.config == {
        "d_model": 16, "num_mel_bins": 80, "encoder_layers": 2, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32, "max_source_positions": 1500, "decoder_layers": 1,
        "decoder_attention_heads": 4, "decoder_ffn_dim": 24, "max_target_positions": 448,
        "vocab_size": 51865,
    }  # fmt: skip
    assert read.tokenizer == fake.tokenizer.read_text("utf-8")


def test_the_hub_gives_the_same_encoder(fake: Any) -> None:
    ours, theirs = encoder_from_ct2(fake.files), encoder_from_folder(fake.hub / "whisper")
    assert ours.config == theirs.config
    assert ours.tokenizer == theirs.tokenizer
    for own, other in ((ours.weights, theirs.weights), (ours.decoder, theirs.decoder)):
        assert own.keys() == other.keys()
        assert all(tensor.equal(other[name]) for name, tensor in own.items())


def test_the_llm_out_of_a_package_is_the_llm_but_for_four_bits(fake: Any) -> None:
    read, own = llm_from_gguf(fake.gguf), fake.llm.state_dict()
    assert read.weights.keys() == own.keys() - {"lm_head.weight"}
    for name, tensor in read.weights.items():
        spread = own[name].max() - own[name].min()
        assert (tensor - own[name]).abs().max() <= spread / 25, name
    assert read.config.num_key_value_heads == 2


def test_package_and_hub_give_the_same_tokens(fake: Any) -> None:
    """Digits one by one, spaces before them together: as published, not as GPT-2 has it."""
    package, hub = llm_from_gguf(fake.gguf), llm_from_folder(fake.hub / "llm")
    ids = package.tokenizer(TEXT)["input_ids"]
    assert ids == hub.tokenizer(TEXT)["input_ids"]
    assert package.tokenizer.convert_ids_to_tokens(ids)[4:8] == ["ĠĠ", "5", "0", "Ġ"]
    assert package.tokenizer.decode(ids) == TEXT
    assert hub.weights.keys() == package.weights.keys()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a whole CTranslate2 file"),
        (struct.pack("<I", 5), "its version is 5"),
        (b"\6\0\0\0\4\0abc", "not a whole CTranslate2 file"),
    ],
)
def test_no_ct2_file(data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ct2.read(data)


def test_a_ct2_file_that_is_cut_short(fake: Any) -> None:
    data = b"".join(part.read_bytes() for part in fake.parts)
    for end in (len(data) - 1, len(data) // 2, 30, 5):
        with pytest.raises(CheckpointError, match="not a whole CTranslate2 file"):
            ct2.read(data[:end])


def test_aliases_and_scalars(fake: Any) -> None:
    tensors = ct2.read(b"".join(part.read_bytes() for part in fake.parts))
    assert tensors["decoder/embeddings/again"] is tensors["encoder/x"]
    assert tensors["encoder/num_heads"].shape == ()


def test_a_ct2_model_of_another_kind() -> None:
    with pytest.raises(CheckpointError, match="has no encoder/conv1/weight"):
        ct2.whisper_encoder({})
    weights = {"encoder/conv1/weight": np.zeros((2, 2, 3), np.int8)}
    with pytest.raises(CheckpointError, match="--quantization float16"):
        ct2.whisper_encoder(weights)


def test_folders_that_hold_something_else(fake: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        encoder_from_folder(tmp_path)
    with pytest.raises(CheckpointError, match="type 'llama'; expected a Hugging Face Whisper"):
        encoder_from_folder(fake.hub / "llm")
    with pytest.raises(CheckpointError, match="type 'whisper' cannot be built in"):
        llm_from_folder(fake.hub / "whisper")
    (tmp_path / "no.gguf").write_bytes(b"GGUFnot")
    with pytest.raises(CheckpointError, match="cannot be read as an LLM in GGUF format"):
        llm_from_gguf(tmp_path / "no.gguf")


def test_tensors_that_are_missing_are_not_made_up(fake: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for kind, key, read in (
        ("whisper", "encoder.conv1.weight", encoder_from_folder),
        ("llm", "model.norm.weight", llm_from_folder),
    ):
        shutil.copytree(fake.hub / kind, tmp_path / kind)
        path = tmp_path / kind / "model.safetensors"
        kept = {name: t for name, t in load_file(path).items() if name != key}
        assert len(kept) == len(load_file(path)) - 1
        save_file(kept, path, metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="lacks 1 tensors of its model"):
            read(tmp_path / kind)


def test_pickle_is_not_opened(fake: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((fake.hub / "whisper" / "config.json").read_bytes())
    torch.save(fake.whisper.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read as a Whisper model"):
        encoder_from_folder(tmp_path)


def test_code_beside_the_weights_is_not_run(fake: Any, tmp_path: Path) -> None:
    config = json.loads((fake.hub / "llm" / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('this code was run')\n")
    with pytest.raises(CheckpointError, match="cannot be read as a causal LM"):
        llm_from_folder(tmp_path)


def test_a_source_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"no model at ./x; expected 'small', a Hugging Face folder"
    ):
        find_encoder("./x", tmp_path, nothing)
