"""The job behind ``asr-llm export``: a checkpoint that other tools can load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr_llm import defaults
from asr_llm.errors import AsrLlmError
from asr_llm.files import new_folder
from asr_llm.model.adapter_folder import AdapterFolder


def export(
    output: str | Path,
    *,
    model: str = defaults.MODEL,
    adapters: Sequence[str | Path] = (),
    merge: bool = False,
    llm_only: bool = False,
    vllm: bool = False,
) -> Path:
    """Write a checkpoint for other tools, with adapters merged.

    Args:
        output: new or empty folder.
        adapters: trained on speech; several add up, as when used together.
        merge: merge them, and a LoRA of the checkpoint itself, into the weights.
        llm_only: write only the LLM and its tokenizer, for Hugging Face.
        vllm: write for NeMo's vLLM plugin, in bfloat16; everything else is float32.

    Returns:
        ``output``, now with a complete checkpoint.

    Raises:
        AsrLlmError: the model, an adapter or ``output`` is invalid.
    """
    from asr_llm.model import checkpoints
    from asr_llm.model.merged import export as write

    place = new_folder(output)
    if adapters and not merge:
        raise AsrLlmError(
            "adapters can only be exported merged: add --merge. (An "
            "adapter alone needs no export: its folder is in PEFT's own layout)"
        )
    if llm_only and vllm:
        raise AsrLlmError(
            "found both --llm-only and --vllm; expected one: vLLM serves the output of --llm-only "
            "directly, and the output of --vllm with NeMo's plugin"
        )
    read = AdapterFolder.read_all(adapters)
    checkpoints.locate(model)
    write(place, model, read, merge=merge, llm_only=llm_only, vllm=vllm)
    return place
