"""Stores an adapter's kind in the metadata of its weights, so that it is never misused.

Tools that copy only ``adapter_config.json`` and ``adapter_model.safetensors``, such as uploads to a
hub, keep it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asr_llm.errors import CheckpointError
from asr_llm.files import is_lfs_pointer
from asr_llm.model.checkpoint_folder import in_a_line

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_KEY = "asr_llm"
_EXPECTED = "expected LoRA, as 'asr-llm adapt' writes it"
# Options of PEFT's LoRA that change more than LoRA's own matrices, or how they are applied.
_VARIANTS = {
    "use_dora": "DoRA",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QA-LoRA",
    "alora_invocation_tokens": "activated LoRA",
    "megatron_config": "LoRA of Megatron",
    "layer_replication": "LoRA that replicates layers",
}


def label(folder: Path, record: dict[str, Any]) -> None:
    """Write a record to the metadata of an adapter's weights."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    metadata = {"format": "pt", _KEY: json.dumps(record)}
    save_file(tensors, folder / WEIGHTS, metadata=metadata)


def recorded(folder: Path) -> dict[str, Any]:
    """Read what ``label`` wrote; empty for an adapter from elsewhere.

    Raises:
        CheckpointError: it cannot be read.
    """
    from safetensors import safe_open

    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="np") as file:
            said = (file.metadata() or {}).get(_KEY)
        record = {} if said is None else json.loads(said)
        if not isinstance(record, dict):
            raise ValueError(f"its metadata holds {said}")
    except Exception as error:  # safetensors raises many kinds of errors
        raise CheckpointError(
            f"{path} cannot be read ({in_a_line(error)}); expected the weights of an adapter: copy "
            "it again"
        ) from None
    return record


def check(folder: Path) -> None:
    """Reject anything but a LoRA, before it takes memory or changes a model.

    Raises:
        CheckpointError: a file is a Git LFS pointer or damaged; or it is another kind of adapter.
    """
    for name in (CONFIG, WEIGHTS, "projector.safetensors"):
        _refuse_pointer(folder / name)
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
        if not isinstance(config, dict):
            raise ValueError("found no JSON object")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); expected a LoRA adapter's configuration as PEFT "
            "writes it: copy it again"
        ) from None
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{folder} is an adapter of the kind {kind}; {_EXPECTED}")
    for key, name in _VARIANTS.items():
        if config.get(key):
            raise CheckpointError(f"{folder} is {name} ({key} in {CONFIG}); {_EXPECTED}")
    _check_rank(folder, config)


def _refuse_pointer(path: Path) -> None:
    if path.is_file() and is_lfs_pointer(path):
        raise CheckpointError(f"{path} is a Git LFS pointer, not the file; fetch it: git lfs pull")


def _check_rank(folder: Path, config: dict[str, Any]) -> None:
    """PEFT allocates matrices of the stated rank, however large, before it reads any."""
    from safetensors import safe_open

    recorded(folder)  # check that it can be read
    with safe_open(folder / WEIGHTS, framework="np") as file:
        names = [name for name in file.keys() if ".lora_A." in name]  # noqa: SIM118
        held = max((file.get_slice(name).get_shape()[0] for name in names), default=0)
    patterns = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else ["no rank"])]
    for rank in ranks:
        if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= max(held, 1024):
            raise CheckpointError(
                f"{folder / CONFIG} tells of a rank of {str(rank)[:40]}, its weights of {held}; "
                "expected the same: copy the folder again"
            )
