"""LoRA adapters by PEFT: install, save, load, merge. Several at once: ``adapters``.

``adapter_folder`` reads an adapter's metadata. An adapter folder is PEFT's own
(``adapter_config.json``, ``adapter_model.safetensors``) plus

- ``base.json``, with the base model's hash and, for an adapter trained on text, its fusion weight;
  the same is in the weights' metadata, so that it cannot be lost;
- ``projector.safetensors`` if the projector was trained too;
- ``biasing_list.txt`` if phrases are to be boosted, with the strength in ``base.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import CheckpointError
from asr_llm.model import adapter_kind, checkpoints
from asr_llm.model.adapter_folder import BASE, BIASING, CONFIG, PROJECTOR, WEIGHTS, AdapterFolder
from asr_llm.model.checkpoint_folder import in_a_line, quiet, replacing
from asr_llm.model.checkpoints import locate
from asr_llm.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM
    from asr_llm.recipe import LoraRecipe

_CARD = """\
---
library_name: peft
---

# Adapter

LoRA on the LLM of `{base}`, written by `asr-llm adapt`; `base.json` names the weights it fits.
{used}{listed}

    asr-llm transcribe AUDIO --model {base} --adapter THIS_FOLDER
"""
_MERGED = "It changes the recogniser."
_FUSED = (
    "It is a domain language model fused in during decoding, with weight {}; "
    "`--fusion` overrides it."
)
_LISTED = (
    " The {} terms in `biasing_list.txt` get a score bonus of {:g} nats; `--biasing-strength` "
    "overrides it."
)

_KEY = "default"
"""PEFT's name of a single adapter."""


def install(model: SpanSALM, recipe: LoraRecipe) -> None:
    """Add a new LoRA adapter to the LLM; a LoRA of the checkpoint itself is merged first.

    Raises:
        CheckpointError: a target module is not in this LLM.
    """
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from peft import LoraConfig, get_peft_model

    merge(model)
    check_targets(model, recipe)
    config = LoraConfig(task_type="CAUSAL_LM", **recipe.model_dump())
    config.target_modules = set(recipe.target_modules)
    with move_embedding(model), quiet():
        model.llm = get_peft_model(model.llm, config)


def check_targets(model: SpanSALM, recipe: LoraRecipe) -> None:
    """Check that the LLM has the modules that LoRA targets.

    Raises:
        CheckpointError: a target module is not in this LLM.
    """
    names = {name.split(".")[-1] for name, _ in model.llm.named_modules()}
    for target in recipe.target_modules:
        if target not in names:
            leaves = sorted(name for name in names if name.endswith("_proj"))
            raise CheckpointError(
                f"lora.target_modules names {target!r}, which this LLM does not have; "
                f"expected some of {', '.join(leaves)}"
            )


def save(
    model: SpanSALM,
    folder: Path,
    base: str | Path,
    projector: bool = False,
    fusion: float | None = None,
    biasing: BiasingList | None = None,
) -> None:
    """Write the adapter, and the projector if it was trained, with the identity of the base.

    Args:
        fusion: the fusion weight of an adapter trained on text.
        biasing: phrases to boost whenever the adapter is active.

    Raises:
        CheckpointError: the adapter is all zeros, that is, it was never trained.
    """
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from safetensors.torch import save_file

    _refuse_zeros(model, str(folder))
    origin = locate(base)
    with replacing(Path(folder)) as part:
        with move_embedding(model), quiet():
            model.llm.save_pretrained(part, save_embedding_layers=False)
        if projector:
            weights = {k: v.detach().cpu() for k, v in projector_parameters(model).items()}
            save_file(weights, part / PROJECTOR, metadata={"format": "pt"})
            (part / PROJECTOR).chmod(0o644)
        config = json.loads((part / CONFIG).read_text("utf-8"))
        config["base_model_name_or_path"] = str(base)
        (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        used = _MERGED if fusion is None else _FUSED.format(fusion)
        listed = _LISTED.format(len(biasing.phrases), biasing.nats) if biasing is not None else ""
        (part / "README.md").write_text(_CARD.format(base=base, used=used, listed=listed), "utf-8")
        record: dict[str, Any] = {
            "name": str(base),
            "sha256": checkpoints.identity(origin),
            "asr_llm": __version__,
        }
        if fusion is not None:
            record["fusion"] = fusion
        if biasing is not None:
            record["biasing"] = biasing.nats
            text = "".join(f"{phrase}\n" for phrase in biasing.phrases)
            (part / BIASING).write_text(text, "utf-8")
        (part / BASE).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        adapter_kind.label(part, record)
        (part / WEIGHTS).chmod(0o644)  # safetensors writes for the owner's eyes only


def load(
    model: SpanSALM, adapter: AdapterFolder | str | Path, base: str | Path, key: str = _KEY
) -> dict[str, Tensor] | None:
    """Load a saved adapter onto the LLM of its base, in addition to existing ones.

    A LoRA of the checkpoint itself is merged first.

    Args:
        base: the name or folder ``model`` was loaded from.
        key: its name in PEFT; without dots.

    Returns:
        The adapter's projector, if any; it is not installed.

    Raises:
        CheckpointError: it is not an adapter, belongs to another base, does not fit, is all zeros,
            or changes other weights than LoRA's.
    """
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    adapter = AdapterFolder.read(adapter)
    folder = adapter.path
    adapter.check_base(base)
    if "lora" in model.cfg:
        merge(model)
    try:
        saved = set(load_file(folder / WEIGHTS))
        with move_embedding(model), quiet():
            if isinstance(model.llm, PeftModel):
                model.llm.load_adapter(str(folder), adapter_name=key)
            else:
                model.llm = PeftModel.from_pretrained(model.llm, str(folder), adapter_name=key)
        own = set(
            get_peft_model_state_dict(model.llm, adapter_name=key, save_embedding_layers=False)
        )
        projector = _read_projector(model, folder)
    except Exception as error:
        raise CheckpointError(f"{folder} does not fit {base}: {in_a_line(error)}") from error
    if saved != own:
        raise CheckpointError(
            f"{folder / WEIGHTS} does not fit its adapter_config.json: {len(own - saved)} tensors "
            f"missing, {len(saved - own)} unexpected, such as {min(saved ^ own)}; copy it again"
        )
    if others := sorted(name for name in own if ".lora_" not in name or name.endswith(".bias")):
        raise CheckpointError(
            f"{folder} changes {others[0]} too; expected LoRA's own matrices and nothing else, as "
            "'asr-llm adapt' writes them"
        )
    _refuse_zeros(model, str(folder), key)
    model.eval()
    return projector


def projector_parameters(model: SpanSALM) -> dict[str, Tensor]:
    """SALM's linear projector by its own names, and the modality adapter's parameters before it."""
    perception = model.perception
    before = perception.modality_adapter.named_parameters(prefix="modality_adapter")
    return dict(perception.proj.named_parameters()) | dict(before)


def _read_projector(model: SpanSALM, folder: Path) -> dict[str, Tensor] | None:
    """On the model's device and in its precision.

    Raises:
        ValueError: it is of another shape.
    """
    from safetensors.torch import load_file

    if not (folder / PROJECTOR).is_file():
        return None
    own, found = projector_parameters(model), load_file(folder / PROJECTOR)
    shapes = [{name: tuple(t.shape) for name, t in each.items()} for each in (found, own)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{PROJECTOR} holds {shapes[0]}, expected {shapes[1]}")
    return {name: tensor.to(own[name]) for name, tensor in found.items()}


def merge(model: SpanSALM) -> None:
    """Merge the adapter into the LLM's weights; does nothing without an adapter.

    Raises:
        CheckpointError: the adapter was trained on text, so it does not change the recogniser.
    """
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from peft import PeftModel

    if _put_aside(model):
        raise CheckpointError(
            "this model's adapter is a language model fused in during decoding, which "
            "cannot be merged; expected an adapter of a recipe without 'fusion'"
        )
    if isinstance(model.llm, PeftModel):
        with move_embedding(model):
            merged = model.llm.merge_and_unload()
        model.llm = merged
        if hasattr(model.llm.model, "embed_tokens"):
            del model.llm.model.embed_tokens
        if "lora" in model.cfg:
            del model.cfg["lora"]


def _put_aside(model: SpanSALM) -> bool:
    """Whether the model has disabled adapters (``adapters.put_aside``)."""
    # Hugging Face models have a method of that name.
    return any(getattr(m, "disable_adapters", None) is True for m in model.llm.modules())


def _refuse_zeros(model: SpanSALM, where: str, key: str = _KEY) -> None:
    ups = [p for name, p in model.llm.named_parameters() if f".lora_B.{key}." in name]
    if not all(p.isfinite().all() for p in ups):
        raise CheckpointError(
            f"the adapter for {where} contains NaN or Inf; expected trained weights: copy "
            "it again, or run 'asr-llm adapt' again"
        )
    if not any(p.abs().max() > 0 for p in ups):
        raise CheckpointError(
            f"the adapter for {where} is all zeros and would change nothing; "
            "expected a trained one: run 'asr-llm adapt' again"
        )
