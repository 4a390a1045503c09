"""Locates and loads checkpoints by name. Their folders: ``checkpoint_folder``."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.errors import CheckpointError
from asr_llm.model import store
from asr_llm.model.checkpoint_folder import (
    CONFIG,
    CTC_HEAD,
    WEIGHTS,
    accepts,
    identity,
    in_a_line,
    quiet,
    read_config,
    replacing,
    save,
    sha256,
)
from asr_llm.model.hub import hub_reason, is_hub_name
from asr_llm.model.weights import fill, without_weights

if TYPE_CHECKING:
    import torch

    from asr_llm.model.salm import SpanSALM

__all__ = [
    "CONFIG",
    "accepts",
    "build",
    "identity",
    "load",
    "load_weights",
    "locate",
    "quiet",
    "read_config",
    "replacing",
    "save",
    "sha256",
]


def locate(name: str | Path) -> Path:
    """The folder of a checkpoint: ``small``, ``mini``, a folder, or a name on the hub.

    The network is used only once to compose ``small`` (``store.get``), and for a name such as
    ``nvidia/canary-qwen-2.5b`` that is neither a folder nor in the hub's cache.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    if str(name) == "small":
        return store.get("small")
    if str(name) == "mini":
        folder = Path(__file__).parent.parent / "assets" / "mini"
        if not (folder / WEIGHTS).is_file():
            raise CheckpointError(
                f"the embedded model has no weights at {folder}; expected {WEIGHTS}: "
                "reinstall the package, or train it with adapt/mini"
            )
        return folder
    folder = Path(name)
    if folder.is_dir():
        for needed in (CONFIG, WEIGHTS):
            if not (folder / needed).is_file():
                inside = [*folder.glob(f"model/{WEIGHTS}"), *folder.glob(f"*/model/{WEIGHTS}")]
                meant = f": did you mean {max(inside).parent}?" if inside else ""
                raise CheckpointError(
                    f"{folder} has no {needed}; expected a SALM checkpoint folder "
                    f"(config.json, model.safetensors){meant}"
                )
        return folder
    # One slash after an existing folder: a mistyped path, not a name on the hub.
    if not is_hub_name(name) or folder.parent.is_dir():
        near = difflib.get_close_matches(str(name).lower(), ("small", "mini"), n=1)
        raise CheckpointError(
            f"no model at {name}; expected 'small', 'mini', a checkpoint folder, or a hub name "
            "such as nvidia/canary-qwen-2.5b" + (f": did you mean {near[0]!r}?" if near else "")
        )
    from huggingface_hub import snapshot_download

    try:
        snapshot = Path(snapshot_download(str(name)))
    except Exception as error:
        raise CheckpointError(f"no folder {name}, and {hub_reason(error)}") from error
    return locate(snapshot)


def load(name: str | Path, dtype: torch.dtype | None = None) -> SpanSALM:
    """Load a checkpoint, strictly; memory is taken for its weights, and for them only once.

    Args:
        name: see ``locate``.
        dtype: precision of the weights in memory; default: float32.

    Raises:
        CheckpointError: it is missing or malformed, or tensors are missing, unexpected or of
            another shape; each is named.
    """
    folder = locate(name)
    return load_weights(build(folder), folder, dtype)


def build(folder: Path) -> SpanSALM:
    """The model that a checkpoint's config describes, without its weights, which take no memory.

    Raises:
        CheckpointError: there is no config, or it describes no model.
    """
    with quiet():
        from asr_llm.model.salm import SpanSALM

    config = read_config(folder)
    try:
        with quiet(), without_weights():
            return SpanSALM(config)
    except Exception as error:
        raise CheckpointError(
            f"{folder / CONFIG} does not describe a SALM model that can be built: "
            f"{in_a_line(error)}"
        ) from error


def load_weights(model: SpanSALM, folder: Path, dtype: torch.dtype | None = None) -> SpanSALM:
    """Put the weights of ``folder`` into a model that was built from it; see ``load``."""
    import torch

    kind = dtype or torch.float32
    fill(model, folder / WEIGHTS, kind)
    if (folder / CTC_HEAD).is_file():
        fill(model.add_ctc_head(), folder / CTC_HEAD, kind)
    return model.eval()
