"""CTranslate2's ``model.bin`` read with numpy: Whisper's encoder in transformers' names.

A file holds, little-endian: a binary version, the name of the architecture, its revision, and the
tensors, each a name, its shape, a type, and its bytes. No code of CTranslate2 is needed. See
https://github.com/OpenNMT/CTranslate2/blob/master/python/ctranslate2/specs/model_spec.py
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from asr_llm.errors import CheckpointError

_VERSION = 6
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def read(data: bytes | memoryview) -> dict[str, np.ndarray]:
    """The tensors of a ``model.bin`` by name; views of ``data``, which is not copied.

    Raises:
        CheckpointError: it is of another format or version, or cut short.
    """
    try:
        return _tensors(_Reader(memoryview(data)))
    except (struct.error, ValueError, IndexError) as error:
        raise CheckpointError(
            f"this is not a whole CTranslate2 file of version {_VERSION} ({error})"
        ) from error


def whisper_encoder(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of transformers' ``WhisperEncoder``, float32, from CTranslate2's tensors.

    CTranslate2 stores queries, keys and values in one matrix (3 H, H). Whisper's keys have no bias.

    Raises:
        CheckpointError: a tensor is missing, or stored in 8 or 16 bit integers.
    """
    taken = {
        ours: _float32(tensors, f"encoder/{theirs}")
        for ours, theirs in (
            ("conv1.weight", "conv1/weight"),
            ("conv1.bias", "conv1/bias"),
            ("conv2.weight", "conv2/weight"),
            ("conv2.bias", "conv2/bias"),
            ("embed_positions.weight", "position_encodings/encodings"),
            ("layer_norm.weight", "layer_norm/gamma"),
            ("layer_norm.bias", "layer_norm/beta"),
        )
    }
    return taken | _layers(tensors, "encoder")


def whisper_decoder(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict of transformers' ``WhisperDecoder``; see ``whisper_encoder``."""
    taken = {
        ours: _float32(tensors, f"decoder/{theirs}")
        for ours, theirs in (
            ("embed_tokens.weight", "embeddings/weight"),
            ("embed_positions.weight", "position_encodings/encodings"),
            ("layer_norm.weight", "layer_norm/gamma"),
            ("layer_norm.bias", "layer_norm/beta"),
        )
    }
    return taken | _layers(tensors, "decoder")


def _layers(tensors: Mapping[str, np.ndarray], side: str) -> dict[str, np.ndarray]:
    taken: dict[str, np.ndarray] = {}
    layer = 0
    while f"{side}/layer_{layer}/self_attention/linear_0/weight" in tensors:
        at = f"{side}/layer_{layer}"
        own = _layer(tensors, at) | (_cross_attention(tensors, at) if side == "decoder" else {})
        taken |= {f"layers.{layer}.{name}": tensor for name, tensor in own.items()}
        layer += 1
    return taken


def _layer(tensors: Mapping[str, np.ndarray], at: str) -> dict[str, np.ndarray]:
    return _stacked(tensors, f"{at}/self_attention/linear_0", "self_attn", "qkv") | _linears(
        tensors,
        at,
        ("self_attn.out_proj", "self_attention/linear_1"),
        ("self_attn_layer_norm", "self_attention/layer_norm"),
        ("fc1", "ffn/linear_0"),
        ("fc2", "ffn/linear_1"),
        ("final_layer_norm", "ffn/layer_norm"),
    )


def _cross_attention(tensors: Mapping[str, np.ndarray], at: str) -> dict[str, np.ndarray]:
    return _stacked(tensors, f"{at}/attention/linear_1", "encoder_attn", "kv") | _linears(
        tensors,
        at,
        ("encoder_attn.q_proj", "attention/linear_0"),
        ("encoder_attn.out_proj", "attention/linear_2"),
        ("encoder_attn_layer_norm", "attention/layer_norm"),
    )


def _stacked(
    tensors: Mapping[str, np.ndarray], at: str, ours: str, parts: str
) -> dict[str, np.ndarray]:
    """Split projections that CTranslate2 stores in one matrix, such as queries, keys and values."""
    weights = np.split(_float32(tensors, f"{at}/weight"), len(parts))
    biases = np.split(_float32(tensors, f"{at}/bias"), len(parts))
    taken = {f"{ours}.{part}_proj.weight": w for part, w in zip(parts, weights)}
    return taken | {f"{ours}.{p}_proj.bias": b for p, b in zip(parts, biases) if p != "k"}


def _linears(
    tensors: Mapping[str, np.ndarray], at: str, *names: tuple[str, str]
) -> dict[str, np.ndarray]:
    taken = {}
    for ours, theirs in names:
        weight, bias = ("gamma", "beta") if ours.endswith("norm") else ("weight", "bias")
        taken[f"{ours}.weight"] = _float32(tensors, f"{at}/{theirs}/{weight}")
        taken[f"{ours}.bias"] = _float32(tensors, f"{at}/{theirs}/{bias}")
    return taken


def _float32(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in tensors:
        raise CheckpointError(f"the CTranslate2 file has no {name}; expected a Whisper model")
    if tensors[name].dtype.kind != "f":
        raise CheckpointError(
            f"{name} of the CTranslate2 file is {tensors[name].dtype}; expected a model converted "
            "with --quantization float16 or none"
        )
    return tensors[name].astype(np.float32)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return int(value)

    def bytes(self, count: int) -> memoryview:
        if self.at + count > len(self.data):
            raise ValueError(f"it ends {self.at + count - len(self.data)} bytes too soon")
        self.at += count
        return self.data[self.at - count : self.at]

    def string(self) -> str:
        return str(self.bytes(self.number("H"))[:-1], "utf-8")  # without the closing NUL


def _tensors(reader: _Reader) -> dict[str, np.ndarray]:
    if (version := reader.number("I")) != _VERSION:
        raise ValueError(f"its version is {version}")
    reader.string()  # the architecture
    reader.number("I")  # its revision
    found = {}
    for _ in range(reader.number("I")):
        name = reader.string()
        shape = [reader.number("I") for _ in range(reader.number("B"))]
        kind = _TYPES[reader.number("B")]
        found[name] = np.frombuffer(reader.bytes(reader.number("I")), kind).reshape(shape)
    for _ in range(reader.number("I")):
        alias, name = reader.string(), reader.string()
        found[alias] = found[name]
    return found
