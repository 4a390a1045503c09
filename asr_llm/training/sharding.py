"""How the processes of a run share a model: each holds it (DDP), or a part of the LLM (FSDP2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from asr_llm.recipe import Recipe

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


def sharing(recipe: Recipe) -> Strategy:
    """Lightning's strategy for several processes."""
    if recipe.strategy == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=recipe.processes,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,  # a file like any other: resumes anywhere
        )
    # A batch of text does not use the projector.
    return DDPStrategy(find_unused_parameters=True)


def shard(model: SpanSALM, mesh: Any) -> None:
    """Shard a model, but for its encoder, which must be frozen.

    Each layer of the LLM is gathered when its turn comes; the rest is gathered for the whole step.
    """
    for layer in model.causal_lm.model.layers:
        fully_shard(layer, mesh=mesh)
    encoder = set(model.perception.encoder.parameters())
    fully_shard(model, mesh=mesh, ignored_params=encoder)
    losses = model.losses

    def with_projector(*args: Any, **keys: Any) -> dict[str, Tensor]:
        """Gradients are exchanged by all processes or by none: a batch of text has them too."""
        found = losses(*args, **keys)
        projector = (p for p in model.perception.parameters() if p.requires_grad)
        return found | {"lm": found["lm"] + sum(0.0 * p.sum() for p in projector)}

    model.losses = with_projector  # type: ignore[method-assign]
    register_fsdp_forward_method(model, "losses")


def whole(model: torch.nn.Module) -> None:
    """Give each process all of a model that was sharded, to be saved."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.unshard()
