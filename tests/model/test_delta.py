"""What training changed: nothing that matters is lost, and nothing else is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from asr_llm.errors import CheckpointError
from asr_llm.model.delta import decode, encode, pack, unpack

LINEAR = "llm.model.layers.0.self_attn.q_proj.weight"
ENCODER = "perception.encoder.whisper.layers.5.fc1.weight"
FRESH = "perception.proj.weight"
NORM = "llm.model.norm.weight"


@pytest.fixture
def base() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    names = {
        LINEAR: (1152, 1056),
        ENCODER: (128, 64),
        NORM: (64,),
        "embed_tokens.weight": (200, 64),
    }
    return {name: torch.randn(shape).bfloat16().float() for name, shape in names.items()}


@pytest.fixture
def trained(base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """LoRA of rank 4 in the LLM, other changes in the encoder and a norm, a projector."""
    changed = {name: tensor.clone() for name, tensor in base.items()}
    changed[LINEAR] += 0.01 * torch.randn(1152, 4) @ torch.randn(4, 1056)
    changed[ENCODER] += 0.01 * torch.randn(128, 64)
    changed[NORM] += 0.1
    return changed | {FRESH: torch.randn(64, 256), "perception.proj.bias": torch.randn(64)}


@given(st.integers(1, 6), st.integers(4096, 5000), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_eight_bits_lose_at_most_half_a_scale(
    rows: int, columns: int, size: float, seed: int
) -> None:
    torch.manual_seed(seed)
    tensor = torch.randn(rows, columns) * size
    coded = encode({"w": tensor})
    assert coded["w.int8"].dtype == torch.int8
    bound = tensor.abs().amax(1, keepdim=True) / 254 * 1.003
    assert ((decode(coded)["w"] - tensor).abs() <= bound).all()


def test_a_row_of_integers_up_to_127_is_kept_as_it_is() -> None:
    tensor = torch.arange(-127, 128).float().repeat(2, 20)
    tensor[1] = 0.0
    assert decode(encode({"w": tensor}))["w"].equal(tensor)


def test_vectors_and_small_tensors_are_not_coded() -> None:
    state = {"bias": torch.randn(5000), "small": torch.randn(8, 8), "ids": torch.arange(9)}
    assert encode(state).keys() == state.keys()
    assert all(tensor.equal(state[name]) for name, tensor in decode(state).items())


def test_convolutions_keep_their_shape() -> None:
    tensor = torch.randn(32, 80, 3)
    assert decode(encode({"w": tensor}))["w"].shape == (32, 80, 3)


def test_only_what_changed_is_written(
    base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    packed = pack(base, trained, tmp_path / "delta", rank=4)
    stored = load_file(tmp_path / "delta")
    assert {name.removesuffix(".int8").removesuffix(".scale") for name in stored} == {
        f"{LINEAR}.lora_A", f"{LINEAR}.lora_B", f"{ENCODER}.delta", NORM, FRESH,
        "perception.proj.bias",
    }  # fmt: skip
    assert packed.bytes == (tmp_path / "delta").stat().st_size


def test_unpacking_restores_the_trained_weights(
    base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    packed = pack(base, trained, tmp_path / "delta", rank=4)
    again = unpack(tmp_path / "delta", base)
    assert again.keys() == trained.keys()
    assert max(packed.errors.values()) < 0.02
    assert again["embed_tokens.weight"].equal(base["embed_tokens.weight"])
    assert again[NORM].equal(trained[NORM])
    change = (again[ENCODER] - trained[ENCODER]).abs().amax(1)
    assert (change <= (trained[ENCODER] - base[ENCODER]).abs().amax(1) / 252).all()


def test_bfloat16_keeps_more(
    base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    coarse = pack(base, trained, tmp_path / "a", rank=4)
    fine = pack(base, trained, tmp_path / "b", rank=4, eight_bit=False)
    assert fine.bytes > 1.5 * coarse.bytes
    assert fine.errors[LINEAR] < coarse.errors[LINEAR]


def test_a_lower_rank_says_what_it_loses(
    base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert pack(base, trained, tmp_path / "delta", rank=2).errors[LINEAR] > 0.3


@pytest.mark.parametrize("form", [".delta", ".lora_A"])
def test_another_foundation_is_refused(
    base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], tmp_path: Path, form: str
) -> None:
    pack(base, trained, tmp_path / "delta", rank=4)
    key = ENCODER if form == ".delta" else LINEAR
    for other in (base | {key: torch.zeros(3, 3)}, {k: v for k, v in base.items() if k != key}):
        with pytest.raises(CheckpointError, match="expected the foundation that it was trained on"):
            unpack(tmp_path / "delta", other)
    with pytest.raises(CheckpointError, match="made from another foundation"):
        pack(base, {LINEAR: trained[LINEAR]}, tmp_path / "no", rank=4)


def test_a_file_that_is_cut_or_lacks_a_part_is_refused(
    base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "delta"
    pack(base, trained, path, rank=4)
    stored = load_file(path)
    for lost in (f"{LINEAR}.lora_A.int8", f"{LINEAR}.lora_B.int8", f"{ENCODER}.delta.scale"):
        save_file({k: v for k, v in stored.items() if k != lost}, tmp_path / "part")
        with pytest.raises(CheckpointError):
            unpack(tmp_path / "part", base)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="copy it again"):
        unpack(path, base)
