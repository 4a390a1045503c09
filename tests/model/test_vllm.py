"""What `export --vllm` writes, read by NeMo's own plugin; vLLM itself is not there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest
import torch
from safetensors.torch import load_file

from asr_llm.errors import AsrLlmError, CheckpointError
from asr_llm.jobs.export import export
from asr_llm.model import checkpoints, lora
from asr_llm.model.creation import create
from asr_llm.recipe import LoraRecipe

DESCRIPTION = """\
vocabulary: 300
tokenizer_text: [{text}]
encoder:
  n_layers: 1
  d_model: 16
  n_heads: 2
  subsampling: dw_striding
  subsampling_factor: 8
  subsampling_conv_channels: 16
  ff_expansion_factor: 2
  self_attention_model: rel_pos
  conv_kernel_size: 5
llm:
  hidden_size: 16
  num_hidden_layers: 1
  num_attention_heads: 2
  num_key_value_heads: 1
  head_dim: 8
  intermediate_size: 32
"""
TAG = "<|placeholder|>"
SECONDS = (0.3, 1.0, 3.21, 12.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FastConformer and Qwen3 whose audio locator tag is not the plugin's."""
    place = tmp_path_factory.mktemp("striding")
    (place / "text.txt").write_text("Transcribe the following: good morning.\n", "utf-8")
    text = DESCRIPTION.format(text=place / "text.txt")
    (place / "model.yaml").write_text(text, "utf-8")
    create(place / "model.yaml", place / "model", seed=0)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        path = place / "model" / name
        path.write_text(path.read_text("utf-8").replace("<|audio|>", TAG), "utf-8")
    return place / "model"


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = checkpoints.load(base)
    torch.manual_seed(0)
    lora.install(model, LoraRecipe(r=8, lora_alpha=16))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 1.0)
    folder = tmp_path_factory.mktemp("runs") / "adapter"
    lora.save(model, folder, base)
    return folder


@pytest.fixture(scope="module")
def folder(base: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served") / "model"
    return export(place, model=str(base), adapters=[adapter], merge=True, vllm=True)


@pytest.fixture(scope="module")
def plugin() -> Iterator[Any]:
    """NeMo's plugin, as far as it runs without vLLM, of which the names alone are there."""
    names = {
        "vllm.config": ["VllmConfig"],
        "vllm.config.multimodal": ["BaseDummyOptions"],
        "vllm.inputs": ["MultiModalDataDict"],
        "vllm.logger": ["init_logger"],
        "vllm.multimodal.inputs": ["MultiModalFieldConfig", "MultiModalKwargsItems"],
        "vllm.multimodal.parse": [
            "AudioProcessorItems", "MultiModalDataItems", "MultiModalDataParser",
        ],
        "vllm.multimodal.processing": [
            "BaseMultiModalProcessor", "BaseProcessingInfo", "PromptReplacement", "PromptUpdate",
            "PromptUpdateDetails",
        ],
        "vllm.multimodal.processing.dummy_inputs": ["BaseDummyInputsBuilder"],
        "vllm.utils.tensor_schema": ["TensorSchema", "TensorShape"],
    }  # fmt: skip

    class Name:
        def __init__(self, *args: Any) -> None: ...
        def __class_getitem__(cls, item: Any) -> type:
            return cls

        def info(self, *args: Any) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        parents = {".".join(name.split(".")[:i]) for name in names for i in range(1, 4)}
        for name in sorted(parents | names.keys()):
            module = ModuleType(name)
            module.__path__ = []
            for member in names.get(name, []):
                setattr(module, member, Name)
            patch.setitem(sys.modules, name, module)
        from nemo.collections.speechlm2.vllm.salm import audio, backends, config

        yield type("Plugin", (), {"audio": audio, "backends": backends, "config": config})
        for module in (audio, backends):
            del sys.modules[module.__name__]


def read_config(plugin: Any, folder: Path) -> Any:
    return plugin.config.NeMoSpeechLMConfig(**json.loads((folder / "config.json").read_text()))


def test_the_plugin_takes_the_config(folder: Path, plugin: Any) -> None:
    config = read_config(plugin, folder)
    assert config.model_type == "nemo_speechlm"
    assert config.architectures == ["NeMoSpeechLMForConditionalGeneration"]
    assert config.llm_architectures == ["Qwen3ForCausalLM"]
    assert config.audio_locator_tag == plugin.config._AUDIO_PLACEHOLDER
    assert config.text_config.vocab_size == 310  # and ten rows more, as the plugin will have it
    assert not config.is_hybrid
    assert config.lora is None


def test_the_llms_weights_key_by_key(
    base: Path, adapter: Path, folder: Path, plugin: Any, tmp_path: Path
) -> None:
    """The plugin's names and those of the merged LLM that transformers reads are the same."""
    stored = load_file(folder / "model.safetensors")
    raw = [(name, t) for name, t in stored.items() if not name.startswith("perception.")]
    backend = plugin.backends.make_backend(read_config(plugin, folder))
    named = dict(backend.nemo_to_hf_llm_weights(backend.preprocess_llm_weights(raw)))
    embedding = named.pop("model.embed_tokens.weight")
    assert embedding.shape == (310, 16)
    assert embedding[300:].count_nonzero() == 0
    named.pop("lm_head.weight", None)  # tied
    export(tmp_path / "llm", model=str(base), adapters=[adapter], merge=True, llm_only=True)
    expected = load_file(tmp_path / "llm" / "model.safetensors")
    table = expected.pop("model.embed_tokens.weight", None)
    head = expected.pop("lm_head.weight", table)
    assert embedding[:300].equal(head.bfloat16())
    assert named.keys() == expected.keys()
    assert all(tensor.equal(expected[name].bfloat16()) for name, tensor in named.items())


def test_the_encoders_weights_key_by_key(folder: Path, plugin: Any) -> None:
    """The plugin loads them leniently: a key too few would go unnoticed there."""
    perception = plugin.audio._load_nemo_perception(read_config(plugin, folder).perception)
    stored = load_file(folder / "model.safetensors")
    own = {f"perception.{name}": tuple(t.shape) for name, t in perception.state_dict().items()}
    found = {n: tuple(t.shape) for n, t in stored.items() if n.startswith("perception.")}
    assert found == own


@pytest.mark.parametrize("seconds", SECONDS)
def test_the_plugin_counts_the_frames_that_there_are(
    folder: Path, plugin: Any, seconds: float
) -> None:
    samples = round(seconds * 16000)
    model = checkpoints.load(folder)
    with torch.inference_mode():
        heard = model.encode(torch.randn(1, samples), torch.tensor([samples]))
    counted = plugin.audio.NeMoSpeechLMProcessingInfo._estimate_audio_tokens(samples)
    assert counted == int(heard.lens[0])


def test_the_tag_has_the_plugins_name_and_its_own_id(base: Path, folder: Path) -> None:
    before, after = checkpoints.load(base), checkpoints.load(folder)
    assert after.audio_locator_tag == "<|audio|>"
    assert after.audio_locator_tag_id == before.audio_locator_tag_id
    tokenizer = after.tokenizer.tokenizer
    assert TAG not in tokenizer.get_vocab()
    assert len(tokenizer) == len(before.tokenizer.tokenizer)
    assert tokenizer("a <|audio|>")["input_ids"][-1] == after.audio_locator_tag_id


def test_the_chat_template_is_what_it_was_trained_with(folder: Path) -> None:
    model = checkpoints.load(folder)
    chat = model.chat
    template = jinja2.Environment().from_string(model.tokenizer.tokenizer.chat_template)
    asked = {"role": "user", "content": "Transcribe the following: <|audio|>"}
    head, tail = chat.around_audio()
    rendered = template.render(messages=[asked], add_generation_prompt=True)
    assert rendered == f"{head}<|audio|>{tail}"
    answered = [asked, {"role": "assistant", "content": "Good morning."}]
    assert template.render(messages=answered) == f"{head}<|audio|>{tail}Good morning.<|im_end|>\n"


def test_weights_are_in_bfloat16_and_features_exact(folder: Path) -> None:
    for name, tensor in load_file(folder / "model.safetensors").items():
        if tensor.is_floating_point():
            assert (tensor.dtype == torch.float32) == (".featurizer." in name), name


def test_an_adapter_is_as_vllm_reads_it(base: Path, adapter: Path, tmp_path: Path) -> None:
    """On the LLM alone: each name is that of a linear layer, between PEFT's prefix and suffix."""
    from transformers import AutoModelForCausalLM

    export(tmp_path / "llm", model=str(base), llm_only=True)
    layers = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "llm").named_modules())
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    assert (config["peft_type"], config["bias"], config["r"]) == ("LORA", "none", 8)
    assert not config["use_dora"] and not config["modules_to_save"]
    weights = load_file(adapter / "adapter_model.safetensors")
    for name, tensor in weights.items():
        assert name.startswith("base_model.model.")
        layer = layers[name.removeprefix("base_model.model.").rpartition(".lora_")[0]]
        if name.endswith(".lora_A.weight"):
            assert tensor.shape == (8, layer.in_features)
        else:
            assert name.endswith(".lora_B.weight")
            assert tensor.shape == (layer.out_features, 8)
    assert len(weights) == 14


def test_other_encoders_are_refused_before_anything_is_read(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"found ConformerEncoder stacking 8\. Export the LLM"
    ):
        export(tmp_path / "x", model=str(tiny), vllm=True)
    with pytest.raises(AsrLlmError, match="found both --llm-only and --vllm"):
        export(tmp_path / "x", model=str(tiny), vllm=True, llm_only=True)
    assert not (tmp_path / "x").exists()


def test_a_token_in_the_way_is_refused(base: Path, tmp_path: Path) -> None:
    model = checkpoints.load(base)
    model.tokenizer.tokenizer.add_tokens(["<|audio|>"])
    from asr_llm.model import vllm

    with pytest.raises(CheckpointError, match="that is not its audio locator tag"):
        vllm.save(model, tmp_path / "x", card="")
