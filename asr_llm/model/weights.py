"""Weights from disk into a model, a few tensors at a time, so that they are in memory only once.

A model is built with its parameters on the meta device (``without_weights``), where they take
no memory, and ``fill`` then puts those of a file in their places. So loading takes what the
weights take, and no more than ``_AT_ONCE`` bytes of the file beside them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import CheckpointError
from asr_llm.model.checkpoint_folder import in_a_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_AT_ONCE = 2**26
_INT8, _SCALE = ".int8", ".scale"
_READABLE = {"F64", "F32", "F16", "BF16"}


@contextmanager
def without_weights() -> Iterator[None]:
    """Models built within have parameters without values; their buffers are real.

    Tied parameters come apart: ``fill`` ties them again.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield


def fill(module: nn.Module, path: Path, dtype: torch.dtype) -> None:
    """Read a safetensors file, plain or in 8 bits (``model.delta``), into a module.

    Args:
        module: its parameters may be on the meta device.
        dtype: of floating-point tensors in memory.

    Raises:
        CheckpointError: the file is no such file; or tensors are missing, unexpected, of another
            shape, or in a format that cannot be read; each is named.
    """
    own = module.state_dict()
    try:
        names, shapes = _header(path)
        tied = _tied(module)
        refuse_misfits(own, shapes, path, tied if tied & shapes.keys() else set())
        for state in _pieces(path, names):
            for name, tensor in state.items():
                kind = dtype if own[name].is_floating_point() else own[name].dtype
                state[name] = tensor.to(kind, copy=True)
            module.load_state_dict(state, strict=False, assign=True)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path.parent}: the weights cannot be read ({in_a_line(error)}); the file may be cut "
            "short: copy or download it again"
        ) from error
    _complete(module, shapes)
    module.to(dtype)  # buffers that are in no file


def assign(module: nn.Module, weights: dict[str, Tensor], source: Path | str) -> None:
    """Make these tensors the parameters of a module, which may be on the meta device.

    Raises:
        CheckpointError: they are not the module's own.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    tied = _tied(module)
    refuse_misfits(module.state_dict(), shapes, source, tied if tied & shapes.keys() else set())
    module.load_state_dict(weights, strict=False, assign=True)
    _complete(module, shapes)


def load_strictly(module: nn.Module, weights: dict[str, Tensor], source: Path | str) -> None:
    """Copy tensors into a module.

    Raises:
        CheckpointError: they are not the module's own.
    """
    own = module.state_dict()
    shared = {t.data_ptr() for name, t in own.items() if name in weights}
    tied = {n for n, t in own.items() if n not in weights and t.data_ptr() in shared}
    refuse_misfits(own, {n: tuple(t.shape) for n, t in weights.items()}, source, tied)
    module.load_state_dict(weights, strict=False)


def refuse_misfits(
    own: dict[str, Tensor],
    shapes: dict[str, tuple[int, ...]],
    source: Path | str,
    tied: set[str],
) -> None:
    """Refuse weights that are not a module's own.

    Args:
        own: the module's state dict.
        shapes: those of the weights.
        tied: names of ``own`` that may be absent, since another tensor stands for them.

    Raises:
        CheckpointError: tensors are missing, unexpected or of another shape; each is named.
    """
    missing = [name for name in own if name not in shapes and name not in tied]
    unexpected = [name for name in shapes if name not in own]
    reshaped = [
        f"{name} {shape} for {tuple(own[name].shape)}"
        for name, shape in shapes.items()
        if name in own and shape != tuple(own[name].shape)
    ]
    wrong = [
        f"{len(names)} {kind}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", reshaped),
        )
        if names
    ]
    if wrong:
        raise CheckpointError(
            f"{source} does not fit its config; tensors {'; '.join(wrong)}. "
            "Expected weights saved from this very architecture"
        )


def _header(path: Path) -> tuple[dict[str, list[str]], dict[str, tuple[int, ...]]]:
    """For each tensor the names under which the file has it, and its shape."""
    from safetensors import safe_open

    names: dict[str, list[str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    with safe_open(path, "pt") as file:
        stored = set(file.keys())
        for name in file.keys():  # noqa: SIM118
            if name.endswith(_SCALE) and name.removesuffix(_SCALE) + _INT8 in stored:
                continue
            key = name.removesuffix(_INT8)
            names[key] = [name] if key == name else [name, key + _SCALE]
            part = file.get_slice(name)
            shapes[key] = tuple(part.get_shape())
            kind = part.get_dtype()
            if key == name and kind.startswith("F") and kind not in _READABLE:
                raise CheckpointError(
                    f"{path} has {name} in {kind}; expected weights in float32, bfloat16 or "
                    "float16: take the checkpoint that it was made from"
                )
    return names, shapes


def _pieces(path: Path, names: dict[str, list[str]]) -> Iterator[dict[str, Tensor]]:
    """The tensors in turn, about ``_AT_ONCE`` bytes of the file mapped at a time."""
    from safetensors import safe_open

    from asr_llm.model.delta import decode

    left = list(names.values())
    while left:
        with safe_open(path, "pt") as file:
            coded: dict[str, Tensor] = {}
            size = 0
            while left and size < _AT_ONCE:
                for name in left.pop(0):
                    coded[name] = file.get_tensor(name)
                    size += coded[name].nbytes
            yield decode(coded)


def _complete(module: nn.Module, given: Container[str]) -> None:
    """Tie again what was tied, and make the buffers that belong to parameters."""
    tied = _tied(module)
    for name in tied:
        (other,) = tied - {name}
        if name not in given:
            parent, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(parent), leaf, module.get_parameter(other))
    for part in module.modules():
        encodings: Any = getattr(part, "pos_enc", None)
        # NeMo makes positional encodings where an encoder's parameters are: until now, nowhere.
        if encodings is not None and encodings.pe.is_meta:
            del encodings.pe
            encoder: Any = part
            encoder.set_max_audio_length(encoder.max_audio_length)


def _tied(module: nn.Module) -> set[str]:
    """The two names of a SALM's embedding where that is its output layer too."""
    llm: Any = getattr(module, "causal_lm", None)
    if llm is None or not llm.config.tie_word_embeddings:
        return set()
    head = next(n for n, _ in module.named_parameters() if n.endswith("lm_head.weight"))
    return {head, "embed_tokens.weight"}
