"""The difference from published weights after training, as a small safetensors file.

A file holds tensors under a checkpoint's own keys, each in one of three forms:

    KEY                     the whole tensor, for what the base lacks and for vectors
    KEY.lora_A, KEY.lora_B  (R, in) and (out, R): their product is added to the base's matrix
    KEY.delta               added to the base's tensor

and each of these as it is, or in 8 bits: ``NAME.int8``, and ``NAME.scale`` with a bfloat16 for
each row (for each index of the first dimension). A value is then at most half a scale, that is
about 1/254 of the largest value in its row, from what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from asr_llm.errors import CheckpointError

_A, _B, _DELTA = ".lora_A", ".lora_B", ".delta"
_INT8, _SCALE = ".int8", ".scale"
_SMALL = 4096
"""Tensors of fewer values are kept as they are."""

_LEAST = 1e-30
"""A scale, of rows that are zero."""

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Packed:
    """Result of ``pack``.

    ``errors``: per changed tensor, the norm of the loss relative to the norm of the change; for
    tensors that the base lacks, relative to the tensor's.
    """

    bytes: int
    errors: dict[str, float]


def pack(base: State, trained: State, path: Path, rank: int, eight_bit: bool = True) -> Packed:
    """Store the difference of ``trained`` from ``base``.

    Args:
        base: the foundations' tensors before training (``composition.base_state``).
        trained: those of the trained model, with LoRA merged and without the CTC head.
        rank: of the least-squares LoRA factors that represent changes of the LLM's matrices;
            lossless if they were trained with LoRA of that rank.
        eight_bit: store matrices in 8 bits, not in bfloat16.

    Raises:
        CheckpointError: ``trained`` lacks a tensor of ``base``, or has it in another shape.
    """
    _refuse_others(base, trained)
    changed = {k: t.float() for k, t in trained.items() if not _same(base.get(k), t)}
    stored: dict[str, Tensor] = {}
    for key, tensor in changed.items():
        stored |= _forms(key, base.get(key), tensor, rank)
    coded = encode(stored) if eight_bit else {k: _halved(t) for k, t in stored.items()}
    save_file(coded, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors writes for the owner's eyes only
    again = unpack(path, base)
    errors = {k: _lost(base.get(k), tensor, again[k]) for k, tensor in changed.items()}
    return Packed(path.stat().st_size, errors)


def unpack(path: Path, base: State) -> dict[str, Tensor]:
    """The trained model's tensors, float32: those of the file, and otherwise those of ``base``.

    Products are computed in double precision, so that every machine rounds them alike.

    Raises:
        CheckpointError: the file cannot be read, or changes a tensor that ``base`` lacks or has in
            another shape.
    """
    try:
        stored = decode(load_file(path))
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({error}); copy it again") from error
    whole = {key: tensor.float() for key, tensor in base.items()}
    try:
        for name, tensor in stored.items():
            key, form = _form(name)
            if form == _A:
                whole[key] = _added(whole[key], stored[key + _B].double() @ tensor.double())
            elif form == _DELTA:
                whole[key] = _added(whole[key], tensor.double())
            elif form == _B:
                stored[key + _A]
            else:
                whole[key] = tensor.float()
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} changes {name}, for which the foundation has no tensor of that shape "
            f"({error}); expected the foundation that it was trained on"
        ) from error
    return whole


def encode(state: State) -> dict[str, Tensor]:
    """Quantise matrices to 8 bits, row by row; vectors, small tensors and audio features stay."""
    coded: dict[str, Tensor] = {}
    for name, tensor in state.items():
        # Feature filters are not weights, and must be exact.
        if tensor.dim() < 2 or tensor.numel() < _SMALL or ".featurizer." in name:
            coded[name] = tensor.contiguous()
            continue
        rows = tensor.float().flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp(min=_LEAST).to(torch.bfloat16)
        coded[name + _INT8] = (rows / scale[:, None].float()).round().to(torch.int8).view_as(tensor)
        coded[name + _SCALE] = scale
    return coded


def decode(coded: State) -> dict[str, Tensor]:
    """Undo ``encode``, to float32; other tensors are unchanged.

    Raises:
        KeyError: 8-bit values have no scale.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in coded.items():
        if name.endswith(_INT8):
            key = name.removesuffix(_INT8)
            scale = coded[key + _SCALE]
            state[key] = (tensor.flatten(1).float() * scale[:, None].float()).reshape(tensor.shape)
        elif not (name.endswith(_SCALE) and name.removesuffix(_SCALE) + _INT8 in coded):
            state[name] = tensor
    return state


def _refuse_others(base: State, trained: State) -> None:
    for key, tensor in base.items():
        if key not in trained or trained[key].shape != tensor.shape:
            found = tuple(trained[key].shape) if key in trained else "nothing"
            raise CheckpointError(
                f"the trained model has {found} for {key}, expected {tuple(tensor.shape)}: "
                "it was made from another foundation"
            )


def _same(base: Tensor | None, tensor: Tensor) -> bool:
    """Whether only the precision changed."""
    return base is not None and base.to(torch.bfloat16).equal(tensor.to(torch.bfloat16))


def _forms(key: str, base: Tensor | None, tensor: Tensor, rank: int) -> dict[str, Tensor]:
    if base is None or tensor.dim() < 2:
        return {key: tensor}
    change = tensor - base.float()
    if not key.startswith("llm.") or rank >= min(change.shape):
        return {key + _DELTA: change}
    left, values, right = torch.linalg.svd(change.double(), full_matrices=False)
    # The singular values go where a row has one: its scale in 8 bits then takes them up.
    factors = {key + _A: values[:rank, None] * right[:rank], key + _B: left[:, :rank]}
    return {name: factor.float().contiguous() for name, factor in factors.items()}


def _form(name: str) -> tuple[str, str]:
    """The key that a stored name is about, and its ending."""
    for form in (_A, _B, _DELTA):
        if name.endswith(form):
            return name.removesuffix(form), form
    return name, ""


def _added(base: Tensor, change: Tensor) -> Tensor:
    if base.shape != change.shape:
        raise RuntimeError(f"found {tuple(base.shape)} for {tuple(change.shape)}")
    return (base.double() + change).float()


def _halved(tensor: Tensor) -> Tensor:
    wide = tensor.dim() >= 2 and tensor.numel() >= _SMALL
    return (tensor.to(torch.bfloat16) if wide else tensor).contiguous()


def _lost(base: Tensor | None, tensor: Tensor, again: Tensor) -> float:
    change = tensor if base is None else tensor - base.float()
    return float((tensor - again).norm() / change.norm().clamp(min=1e-12))
