"""Checks adapters before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.errors import AsrLlmError
from asr_llm.model.adapter_folder import AdapterFolder

if TYPE_CHECKING:
    from asr_llm.corpus.terms.biasing_list import BiasingList


def check_adapters(
    adapters: Sequence[AdapterFolder],
    model: str | Path,
    fusion: float | None = None,
    biasing: BiasingList | None = None,
    baselines: Sequence[AdapterFolder] = (),
) -> None:
    """Reject early what loading would reject, or what would have no effect.

    Args:
        model: the base of the adapters and of the baseline's.

    Raises:
        AsrLlmError: an option needs adapters, does not fit theirs, or they do not fit the model.
    """
    from asr_llm.corpus.terms.biasing_list import check_strength
    from asr_llm.model.adapters import fusion_weights

    if fusion is not None and not adapters:
        raise AsrLlmError(
            "--fusion is the weight of an adapter trained on text, and there is none: give it with "
            "--adapter, or leave out --fusion"
        )
    for adapter in (*adapters, *baselines):
        adapter.check_base(model)
    fusion_weights(adapters, fusion)
    check_strength(biasing, [a.biasing for a in (*adapters, *baselines) if a.biasing is not None])
