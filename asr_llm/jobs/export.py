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
    """Write a checkpoint that others can load, with adapters in its weights.

    Args:
        output: new or empty folder.
        adapters: of speech; several add up, as where they are in use together.
        merge: add them to the weights, and so a LoRA that the checkpoint came with.
        llm_only: the LLM and its tokenizer for Hugging Face, in place of the whole.
        vllm: the whole for NeMo's plugin for vLLM, in bfloat16; all else is in float32.

    Returns:
        ``output``, where a complete checkpoint now lies.

    Raises:
        AsrLlmError: the model, an adapter or ``output`` is at fault.
    """
    from asr_llm.model import checkpoints
    from asr_llm.model.merged import export as write

    place = new_folder(output)
    if adapters and not merge:
        raise AsrLlmError(
            "an exported checkpoint holds adapters only as part of its weights: add --merge. (An "
            "adapter alone needs no export: its folder is in PEFT's own layout)"
        )
    if llm_only and vllm:
        raise AsrLlmError(
            "found both --llm-only and --vllm; expected one: vLLM serves what --llm-only writes as "
            "it is, and the whole model with NeMo's plugin by what --vllm writes"
        )
    read = AdapterFolder.read_all(adapters)
    checkpoints.locate(model)
    write(place, model, read, merge=merge, llm_only=llm_only, vllm=vllm)
    return place
