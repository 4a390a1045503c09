"""Exports checkpoints with adapters merged, and a model card that names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, lora
from asr_llm.model import vllm as for_vllm
from asr_llm.model.adapter_folder import WEIGHTS, AdapterFolder
from asr_llm.model.adapters import Adapters, names_of
from asr_llm.version import __version__

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

_BASE = (
    "It comes under the licence of the base, whose card follows; the figures there are the base's."
)


def export(
    folder: Path,
    base: str,
    adapters: Sequence[AdapterFolder | str | Path] = (),
    merge: bool = False,
    llm_only: bool = False,
    vllm: bool = False,
) -> None:
    """Write a base with adapters merged, atomically.

    Args:
        base: see ``checkpoints.locate``.
        adapters: trained on speech; all are merged.
        merge: also merge a LoRA of the base itself.
        llm_only: write the LLM with its tokenizer, in ``transformers``' format.
        vllm: write for NeMo's vLLM plugin (``model.vllm``).

    Raises:
        CheckpointError: the base or an adapter does not load or fit; an adapter was trained on
            text; or the base has a LoRA that ``llm_only`` cannot include.
    """
    read = AdapterFolder.read_all(adapters)
    for adapter in read:
        _refuse_fused(adapter)
    origin = checkpoints.locate(base)
    has_lora = "lora" in checkpoints.read_config(origin)
    if merge and not adapters and not has_lora:
        raise CheckpointError(
            f"{base} has no LoRA, so there is nothing to merge; give an adapter with "
            "--adapter, or leave out --merge"
        )
    if llm_only and has_lora and not (merge or read):
        raise CheckpointError(
            f"{base} keeps a LoRA beside its LLM, for which a plain LLM has no place; expected "
            "it to be part of the weights: add --merge"
        )
    model = checkpoints.build(origin)
    if vllm:
        for_vllm.refuse_others(model)
    checkpoints.load_weights(model, origin)
    if read:
        Adapters(model, base, read)
    elif merge:
        lora.merge(model)
    card = _card(base, origin, read, llm_only)
    if llm_only:
        _save_llm(model, folder, card)
    elif vllm:
        for_vllm.save(model, folder, card)
    else:
        checkpoints.save(model, folder, card, base=origin)


def _refuse_fused(adapter: AdapterFolder) -> None:
    if adapter.kind == "text":
        raise CheckpointError(
            f"{adapter.path} was trained on text: it is a language model fused in during "
            "decoding and cannot be merged. Keep using it with --adapter, or adapt with "
            "a recipe without 'fusion', such as adapt/synthetic.yaml, and merge that"
        )


def _save_llm(model: SpanSALM, folder: Path, card: str) -> None:
    from nemo.collections.speechlm2.parts.pretrained import move_embedding

    with checkpoints.replacing(folder) as part, checkpoints.quiet():
        with move_embedding(model):
            model.causal_lm.save_pretrained(part)
        model.tokenizer.tokenizer.save_pretrained(part)
        for path in part.glob("*.safetensors"):
            path.chmod(0o644)  # safetensors writes for the owner's eyes only
        (part / "README.md").write_text(card, "utf-8")


def _card(base: str, origin: Path, adapters: Sequence[AdapterFolder], llm_only: bool) -> str:
    """The base's card, after a heading that says what was merged."""
    header, text = _split(origin / "README.md")
    name = Path(base).name if Path(base).is_dir() else base  # paths are private
    parts = [f"- `{name}`, weights {checkpoints.identity(origin)}"]
    names = names_of([adapter.path for adapter in adapters])
    parts += [
        f"- adapter `{called}`, weights {checkpoints.sha256(adapter.path / WEIGHTS)}"
        for called, adapter in zip(names, adapters)
    ]
    title = " + ".join([name, *names])
    whole = "The LLM of one checkpoint" if llm_only else "One checkpoint"
    written = f"{whole}, written by `asr-llm export` {__version__}; the hashes are SHA-256:"
    own = f"# {title}\n\n{written}\n\n" + "\n".join(parts) + "\n"
    return f"{header}{own}\n{_BASE}\n\n{text}" if text else header + own


def _split(card: Path) -> tuple[str, str]:
    """The YAML header of a card and the rest; the header is empty if there is none."""
    text = card.read_text("utf-8") if card.is_file() else ""
    start, fence, rest = text.partition("---\n")
    if start or not fence or "\n---\n" not in rest:
        return "", text
    header, _, body = rest.partition("\n---\n")
    return f"---\n{header}\n---\n\n", body.lstrip("\n")
