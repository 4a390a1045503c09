"""`nvidia/canary-qwen-2.5b` as it is published, with random weights: config, keys, shapes, dtypes.

    python tests/canary.py FOLDER [--small]

writes a hub cache with two models, as `HF_HOME=FOLDER HF_HUB_OFFLINE=1` finds them:
`nvidia/canary-qwen-2.5b` (config.json, model.safetensors, README.md, and nothing else) and
`Qwen/Qwen3-1.7B`, of which that needs the config and the tokenizer. The published file holds 1,686
tensors in bfloat16 and 32 in int64, 5.12 GB; `--small` has the same layout at a twentieth of the
parameters. Qwen's own tokenizer is not at hand: the one here has its class, the ids of its special
tokens and as many tokens, 151,669, but few merges.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CANARY, QWEN = "nvidia/canary-qwen-2.5b", "Qwen/Qwen3-1.7B"
LOCATOR, LOCATOR_ID = "<|audioplaceholder|>", 151669
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>",
    "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
]  # fmt: skip
_REVISION = "0" * 40
_POOL = 2**24 - 3
"""Random values that all tensors share, each from a place of its own."""


@dataclass(frozen=True)
class Size:
    """What differs between the published dimensions and a twentieth of them."""

    encoder_layers: int = 32
    encoder_width: int = 1024
    layers: int = 28
    hidden: int = 2048
    ffn: int = 6144
    heads: int = 16
    kv_heads: int = 8


FULL = Size()
SMALL = Size(16, 256, 6, 512, 1536, 4, 2)


def write(home: Path, size: Size) -> Path:
    """Write both models into a hub cache and return Canary-Qwen's folder in it."""
    qwen = _snapshot(home, QWEN)
    _write_json(qwen / "config.json", llm_config(size))
    write_tokenizer(qwen)
    canary = _snapshot(home, CANARY)
    _write_json(canary / "config.json", config(size))
    (canary / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n\n# Random weights\n", "utf-8")
    write_weights(canary / "model.safetensors", layout(size, qwen))
    return canary


def config(size: Size) -> dict[str, Any]:
    """``config.json`` of Canary-Qwen: what SALM was trained with, and nothing for transformers."""
    width = size.encoder_width
    return {
        "pretrained_llm": QWEN,
        "pretrained_asr": "nvidia/canary-1b-flash",
        "pretrained_weights": True,
        "freeze_params": ["^llm\\..+$", "^embed_tokens\\..+$"],
        "prevent_freeze_params": ["^.+\\.lora_.+$"],
        "prompt_format": "qwen",
        "audio_locator_tag": LOCATOR,
        "lora": {
            "task_type": "CAUSAL_LM", "r": 128, "lora_alpha": 256, "lora_dropout": 0.01,
            "target_modules": ["q_proj", "v_proj"],
        },
        "perception": {
            "target": "nemo.collections.speechlm2.modules.perception.AudioPerceptionModule",
            "output_dim": size.hidden,
            "modality_adapter": {
                "_target_": "nemo.collections.speechlm2.modules.perception.IdentityConnector",
                "d_model": width,
            },
            "preprocessor": {
                "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
                "sample_rate": 16000, "normalize": "per_feature", "window_size": 0.025,
                "window_stride": 0.01, "window": "hann", "features": 128, "n_fft": 512,
                "frame_splicing": 1, "dither": 1e-05, "pad_to": 0, "pad_value": 0.0, "log": True,
            },
            "encoder": {
                "_target_": "nemo.collections.asr.modules.ConformerEncoder",
                "feat_in": 128, "feat_out": -1, "n_layers": size.encoder_layers, "d_model": width,
                "n_heads": 8, "subsampling": "dw_striding", "subsampling_factor": 8,
                "subsampling_conv_channels": 256, "causal_downsampling": False,
                "ff_expansion_factor": 4, "self_attention_model": "rel_pos",
                "att_context_size": [-1, -1], "xscaling": False, "untie_biases": True,
                "pos_emb_max_len": 5000, "conv_kernel_size": 9, "conv_norm_type": "batch_norm",
                "conv_context_size": None, "dropout": 0.1, "dropout_pre_encoder": 0.1,
                "dropout_emb": 0.0, "dropout_att": 0.1,
            },
        },
        "optimizer": {
            "_target_": "torch.optim.AdamW", "lr": 5e-4, "betas": [0.9, 0.98],
            "weight_decay": 1e-3, "foreach": True,
        },
        "torch_dtype": "bfloat16",
    }  # fmt: skip


def llm_config(size: Size) -> dict[str, Any]:
    """``config.json`` of Qwen3-1.7B."""
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False,
        "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": size.hidden, "initializer_range": 0.02,
        "intermediate_size": size.ffn, "max_position_embeddings": 40960,
        "max_window_layers": size.layers, "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers, "num_key_value_heads": size.kv_heads,
        "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000,
        "sliding_window": None, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "use_cache": True, "use_sliding_window": False, "vocab_size": 151936,
    }  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of Qwen's class, with its special tokens; most others are never written."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokens = letters + [a + b for a, b in merges]
    tokens += [f"Ġw{i}" for i in range(len(tokens), LOCATOR_ID - len(SPECIAL))]
    made = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    split = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    marked = [t.startswith("<|") and "fim" not in t and "_name" not in t for t in SPECIAL]
    added = [AddedToken(t, normalized=False, special=s) for t, s in zip(SPECIAL, marked)]
    made.add_tokens(added)
    made.save(str(folder / "tokenizer.json"), pretty=False)
    described = {
        str(made.token_to_id(t)): {
            "content": t, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": s,
        }
        for t, s in zip(SPECIAL, marked)
    }  # fmt: skip
    _write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": described,
            "bos_token": None, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>",
            "errors": "replace", "model_max_length": 131072, "pad_token": "<|endoftext|>",
            "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
        },
    )  # fmt: skip


def layout(size: Size, qwen: Path) -> dict[str, Tensor]:
    """The published file's tensors in its order: NeMo's own keys without the tied output layer.

    Parameters are on the meta device, buffers have NeMo's values.
    """
    from accelerate import init_empty_weights
    from nemo.collections.speechlm2.models import SALM

    changes = {"pretrained_llm": str(qwen), "pretrained_weights": False}
    with init_empty_weights(include_buffers=False):
        state = SALM(config(size) | changes).state_dict()
    del state["llm.base_model.model.lm_head.weight"]
    return dict(sorted(state.items(), key=lambda item: (item[1].is_floating_point(), item[0])))


def values(state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Pieces of the tensors, in their order, with which a network of this size stays stable."""
    import torch

    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0)).mul(0.02).bfloat16()
    place = 0
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            yield torch.tensor([1000])
        elif ".featurizer." in name:
            yield tensor.bfloat16()
        elif tensor.dim() < 2:
            ones = name.endswith("running_var") or ("norm" in name and name.endswith("weight"))
            yield torch.full(tensor.shape, float(ones), dtype=torch.bfloat16)
        else:
            left = tensor.numel()
            while left:
                place %= _POOL
                piece = pool[place : place + left]
                yield piece
                place, left = place + len(piece), left - len(piece)


def write_weights(path: Path, state: dict[str, Tensor]) -> None:
    """A safetensors file, written piece by piece."""
    import torch

    header: dict[str, Any] = {
        "__metadata__": {
            "format": "pt",
            "llm.base_model.model.lm_head.weight": "embed_tokens.weight",
        }
    }
    end = 0
    for name, tensor in state.items():
        kind, width = ("BF16", 2) if tensor.is_floating_point() else ("I64", 8)
        start, end = end, end + tensor.numel() * width
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for piece in values(state):
            file.write(piece.contiguous().flatten().view(torch.uint8).numpy().data)


def _snapshot(home: Path, name: str) -> Path:
    """A model's folder in a hub cache."""
    model = home / "hub" / f"models--{name.replace('/', '--')}"
    folder = model / "snapshots" / _REVISION
    folder.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(_REVISION)
    return folder


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true", help="a twentieth of the parameters")
    arguments = parser.parse_args()
    print(write(arguments.folder, SMALL if arguments.small else FULL))
