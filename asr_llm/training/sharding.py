"""How the processes of a run share a model: each holds it (DDP), or a part of the LLM (FSDP2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from asr_llm.model.splice import Spliced
from asr_llm.recipe import Recipe

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


def sharing(recipe: Recipe) -> Strategy:
    """Lightning's strategy for several processes."""
    if recipe.strategy == "fsdp":
        return _Sharded(
            data_parallel_size=recipe.processes,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,  # a file like any other: resumes anywhere
        )
    # A batch of text does not use the projector.
    return DDPStrategy(find_unused_parameters=True)


class _Sharded(ModelParallelStrategy):
    """Lightning's strategy, but resuming from the checkpoints of any other."""

    def load_checkpoint(self, checkpoint_path: str | Path) -> dict[str, Any]:
        """Load the weights and the optimizer's state; each process takes its part of the file."""
        saved: dict[str, Any] = torch.load(
            checkpoint_path, mmap=True, map_location="cpu", weights_only=False
        )
        assert self.model is not None
        _reshard(self.model)
        own = dict(self.model.named_parameters(remove_duplicate=False))
        own |= dict(self.model.named_buffers(remove_duplicate=False))
        with torch.no_grad():
            for name, value in saved["state_dict"].items():
                own[name].copy_(_part(value, own[name]))
        for optimizer, state in zip(self.optimizers, saved["optimizer_states"]):
            optimizer.load_state_dict(_parts(state, optimizer))
        return saved


def _parts(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state, moments sharded like their parameters, which have the same order."""
    ids = [i for group in state["param_groups"] for i in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = {
        i: {name: _part(value, like) for name, value in state["state"][i].items()}
        for i, like in zip(ids, parameters, strict=True)
        if i in state["state"]
    }
    return state | {"state": moments}


def _part(whole: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor, as of ``like``; a number of steps has no parts."""
    if not isinstance(like, DTensor) or not whole.dim():
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def shard(model: SpanSALM, mesh: Any) -> None:
    """Shard a model, but for its encoder, which must be frozen.

    Each layer of the LLM is gathered when its turn comes; the rest is gathered for the whole step.
    """
    for layer in model.causal_lm.model.layers:
        fully_shard(layer, mesh=mesh)
    encoder = set(model.perception.encoder.parameters())
    fully_shard(model, mesh=mesh, ignored_params=encoder)
    splice = model.splice

    def with_projector(*args: Any, **keys: Any) -> Spliced:
        """Gradients are exchanged by all processes in one order: a batch of text has them too."""
        spliced = splice(*args, **keys)
        projector = (p for p in model.perception.parameters() if p.requires_grad)
        nothing = sum((0.0 * p.sum() for p in projector), torch.zeros(()))
        return replace(
            spliced, input_embeds=spliced.input_embeds + nothing.to(spliced.input_embeds)
        )

    model.splice = with_projector  # type: ignore[method-assign]
    register_fsdp_forward_method(model, "losses")


def whole(model: torch.nn.Module, kept: bool) -> None:
    """Gather what was sharded, to save it; to be called in all processes.

    Args:
        kept: whether this process needs it.
    """
    _reshard(model)
    gathered: dict[int, torch.nn.Parameter] = {}  # a tied weight is two modules'
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, DTensor) and id(parameter) not in gathered:
                with torch.no_grad():
                    full = parameter.full_tensor()
                full = full.cpu() if kept else full.new_empty(0)
                gathered[id(parameter)] = torch.nn.Parameter(full, parameter.requires_grad)
            if id(parameter) in gathered:
                setattr(module, name, gathered[id(parameter)])


def _reshard(model: torch.nn.Module) -> None:
    """Leave only the parts of parameters in a model that has just computed."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
