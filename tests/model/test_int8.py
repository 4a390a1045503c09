"""8-bit weights: what is replaced, how near the result is, and adapters on top."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from asr_llm.corpus.recordings.audio import load_audio
from asr_llm.decoding.options import DecodeOptions
from asr_llm.errors import CheckpointError
from asr_llm.model import int8, store
from asr_llm.transcription.options import Recogniser, TranscribeOptions
from asr_llm.transcription.speech_llm import SpeechLLM


def test_wide_linear_layers_are_replaced_and_no_others() -> None:
    torch.manual_seed(0)
    block = nn.ModuleDict(
        {
            "up_proj": nn.Linear(64, 128),
            "down_proj": nn.Linear(128, 64),
            "lora_A": nn.Linear(64, 16),
            "norm": nn.LayerNorm(64),
        }
    )
    x = torch.randn(3, 64)
    before, down = block["up_proj"](x), block["down_proj"]
    int8.quantise(block)
    kinds = {name: isinstance(layer, nn.Linear) for name, layer in block.items() if name != "norm"}
    assert kinds == {"up_proj": False, "down_proj": True, "lora_A": True}
    wide = 1000 * torch.randn(3, 128)  # within bfloat16's rounding, where a CPU multiplies it
    after = block["down_proj"](wide)
    assert after.dtype == torch.float32
    assert torch.allclose(after, down(wide), rtol=0.02, atol=0.02 * float(after.abs().max()))
    # Weights and inputs are rounded to one part in 127 of the greatest of their row.
    assert float((block["up_proj"](x) - before).abs().max()) < 0.05
    assert not torch.equal(block["up_proj"](x), before)


def test_a_layer_that_is_left_out_is_so_inside_of_an_adapter_too() -> None:
    wrapped = nn.ModuleDict({"base_layer": nn.Linear(128, 64), "lora_A": nn.Linear(128, 16)})
    block = nn.ModuleDict({"down_proj": wrapped, "up_proj": nn.Linear(64, 128)})
    int8.quantise(block)
    assert isinstance(wrapped["base_layer"], int8.SteadyLinear)
    assert isinstance(wrapped["lora_A"], int8.SteadyLinear)
    assert isinstance(block["up_proj"], int8.RowwiseLinear)


def test_a_position_does_not_depend_on_what_else_is_in_the_batch() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(64, 64)
    block = nn.Sequential(plain)
    quiet, loud = 0.01 * torch.randn(1, 5, 64), 100 * torch.randn(1, 5, 64)
    before = plain(quiet)
    int8.quantise(block)
    alone, beside = block(quiet), block(torch.cat([quiet, loud]))[:1]
    assert torch.equal(alone, beside)
    assert float((beside - before).abs().max()) < 0.05 * float((before - plain.bias).abs().max())
    assert torch.equal(block(torch.zeros(1, 64)), plain.bias[None])


@pytest.mark.parametrize(
    ("compute_type", "config", "device", "wanted"),
    [
        ("auto", {}, "cpu", False),
        ("auto", {"cpu_int8": True}, "cpu", True),
        ("auto", {"cpu_int8": True}, "cuda", False),
        ("float32", {"cpu_int8": True}, "cpu", False),
        ("int8", {}, "cpu", True),
    ],
)
def test_when_int8_is_used(
    compute_type: str, config: dict[str, Any], device: str, wanted: bool
) -> None:
    model: Any = SimpleNamespace(device=torch.device(device), cfg=config)
    assert int8.wanted(model, compute_type) is wanted


def test_a_gpu_has_none() -> None:
    model: Any = SimpleNamespace(device=torch.device("cuda"), cfg={})
    with pytest.raises(CheckpointError, match="int8 is for a CPU, but the model is on cuda"):
        int8.wanted(model, "int8")


def test_a_recogniser_in_8_bits_hears_about_the_same() -> None:
    audio = Path(__file__).parents[2] / "examples" / "visit.flac"
    texts = [
        SpeechLLM.of(Recogniser("mini", compute_type=compute_type), TranscribeOptions(num_beams=1))
        .transcript(audio)
        .text.lower()
        .split()
        for compute_type in ("float32", "int8")
    ]
    same = set(texts[0]) & set(texts[1])
    assert len(same) >= 0.7 * len(set(texts[0]))


@given(st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_layers_left_in_float_give_a_position_the_same_in_any_batch(
    rows: int, more: int, bias: bool
) -> None:
    torch.manual_seed(rows)
    linear = nn.Linear(512, 96, bias)
    x = torch.randn(rows + more, 512)
    for dtype, off in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        steady = int8.SteadyLinear(linear, dtype)
        assert torch.equal(steady(x[:rows]), steady(x)[:rows])
        assert torch.allclose(steady(x[None]), linear(x)[None], atol=off)


@pytest.mark.parametrize("beams", [1, 4])
def test_a_text_in_8_bits_does_not_depend_on_its_batch(beams: int) -> None:
    visit = load_audio(Path(__file__).parents[2] / "examples" / "visit.flac")
    audios = [visit[:48000], 0.05 * visit, visit[16000:]]
    decoder = SpeechLLM.of(Recogniser("mini", compute_type="int8")).pipeline.decoder
    options = DecodeOptions(num_beams=beams, confidence=True)
    together = decoder.decode(audios, options)
    assert together == [decoder.decode([audio], options)[0] for audio in audios]


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 4])
def test_on_small_a_text_does_not_depend_on_its_batch(beams: int) -> None:
    if store.find("small") is None:
        pytest.skip("small is not composed here: asr-llm model get small")
    examples = Path(__file__).parents[2] / "examples"
    audios = [load_audio(examples / name) for name in ("visit.flac", "kennedy.ogg")]
    audios.append(audios[0][20000:])
    decoder = SpeechLLM.of(Recogniser("small")).pipeline.decoder
    options = DecodeOptions(num_beams=beams, confidence=True)
    together = decoder.decode(audios, options)
    assert together == [decoder.decode([audio], options)[0] for audio in audios]
