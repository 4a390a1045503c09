"""The memory that a training run takes, from the model's dimensions, before its weights are read.

Legend: N decoder positions in a batch, V vocabulary, H hidden size, F feed-forward width, A width
of all attention heads together.

The constants count what autograd keeps (``torch.autograd.graph.saved_tensors_hooks``), in bfloat16
autocast; docs/scale.md compares the sum with measured peaks.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.model import bfloat16

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM
    from asr_llm.recipe import Recipe

_FLOAT, _HALF = 4, 2
_UNLIMITED = 2**62
_ROW = 100
"""Positions in a row, about."""

_OF_LOGIT = 10
"""Bytes of a logit: in bfloat16, and in float32 itself and normalised, or its gradient."""


@dataclass(frozen=True)
class TrainingMemory:
    """Memory in bytes, by purpose.

    Args:
        weights: of the model, or this process's part of it, float32, LoRA included.
        optimizer: gradients and both moments of what is trained.
        copies: the LLM's matrices in bfloat16, which a step keeps for the backward pass.
        activations: of the LLM's layers.
        logits: of all positions of a batch, as in a batch of text.
    """

    weights: int
    optimizer: int
    copies: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum(astuple(self))

    def __str__(self) -> str:
        parts = (f"{name} {gib(size)}" for name, size in self.__dict__.items())
        return f"{gib(self.total)} ({', '.join(parts)})"


def training(model: SpanSALM, recipe: Recipe) -> TrainingMemory:
    """The memory that training takes; parameters may be on the meta device, without LoRA yet."""
    config = model.causal_lm.config
    llm = {n: p for n, p in model.llm.named_parameters() if ".lora_" not in n and p.dim() == 2}
    matrices = sum(p.numel() for n, p in llm.items() if not n.endswith("lm_head.weight"))
    own = sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
    if config.tie_word_embeddings:
        own -= model.embed_tokens.weight.numel() * (not _is_tied(model))
    vocabulary = model.embed_tokens.weight.numel()
    added = _lora(model, recipe) if "lora" in recipe.train else 0
    trained = added + sum(_size_of(model, part) for part in recipe.train if part != "lora")
    half = halved(recipe)
    positions = recipe.batch_positions
    kept = positions * config.num_hidden_layers * _layer(model)
    parts = recipe.processes if recipe.strategy == "fsdp" else 1
    encoder = sum(p.numel() for p in model.perception.encoder.parameters())
    return TrainingMemory(
        weights=_FLOAT * (encoder + (own - encoder + added) // parts),
        optimizer=3 * _FLOAT * trained // parts,
        copies=_HALF * (matrices + vocabulary) if half else 0,
        activations=kept if half else 2 * kept,
        logits=_OF_LOGIT * positions * model.embed_tokens.num_embeddings,
    )


def halved(recipe: Recipe) -> bool:
    """Whether a recipe trains in bfloat16 on this machine."""
    if recipe.precision == "auto":
        return bfloat16.faster()
    return recipe.precision == "bf16"


def available(devices: int = 1) -> int:
    """Bytes that each of a machine's processes can still allocate, on its GPU if it has one."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return min(int(psutil.virtual_memory().available), _left_to_the_group()) // devices


def gib(size: int) -> str:
    """Bytes in GiB, for messages."""
    return f"{size / 2**30:.1f} GiB"


def _layer(model: SpanSALM) -> int:
    """Bytes that a layer of the LLM keeps per position, with LoRA on all its linear layers."""
    import torch

    config = model.causal_lm.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    # Plain attention, as on a CPU, keeps what each position gives to each of its row.
    given = 0 if torch.cuda.is_available() else 6 * heads * _ROW
    return 8 * config.intermediate_size + 18 * config.hidden_size + 14 * width + given


def _is_tied(model: SpanSALM) -> bool:
    return model.causal_lm.lm_head.weight is model.embed_tokens.weight


def _lora(model: SpanSALM, recipe: Recipe) -> int:
    """Parameters of the LoRA that the recipe adds."""
    targets = set(recipe.lora.target_modules)
    found = 0
    for name, module in model.llm.named_modules():
        if name.rpartition(".")[2] in targets and hasattr(module, "in_features"):
            found += recipe.lora.r * (module.in_features + module.out_features)
    return found


def _size_of(model: SpanSALM, part: str) -> int:
    """Number of parameters in a part of the model, by its name in ``train``."""
    inside = {
        "projector": (model.perception.proj, model.perception.modality_adapter),
        "encoder": (model.perception.encoder,),
        "llm": (model.llm, model.embed_tokens),
        "ctc_head": (),
    }[part]
    return sum(p.numel() for module in inside for p in module.parameters())


def _left_to_the_group() -> int:
    """Bytes left below the limit of a container or batch system, if there is one."""
    try:
        most = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return _UNLIMITED
    return _UNLIMITED if most == "max" else int(most) - used
