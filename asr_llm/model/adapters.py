"""Adapters on one base, by name; any of them active, switched without reloading the base.

How several active adapters combine:

- adapters trained on speech, which change the recogniser: their weight changes add up;
- adapters trained on text, which are fused: their weighted scores add up. They are disabled except
  while ``decoding.fusion`` runs them (``switched_on``);
- both kinds: those trained on speech are always on, and those trained on text are fused;
- their biasing lists are joined (``corpus.terms.biasing_list.joined``).

Adapters trained on speech are merged, which is equivalent and as fast as the base alone. The base's
tensors are kept aside unchanged, so that it can be restored bit by bit; weights that an active
adapter changes are in memory twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import CheckpointError
from asr_llm.model import lora
from asr_llm.model.adapter_folder import AdapterFolder

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class Adapter:
    """An adapter on a model: ``key`` is its PEFT name, ``projector`` replaces the base's."""

    folder: AdapterFolder
    key: str
    projector: dict[str, Tensor] | None


class Adapters:
    """Loads adapters onto a model and activates all of them.

    Args:
        model: already on its device; a LoRA of the checkpoint itself is merged permanently.
        base: the name or folder it was loaded from.
        folders: of the adapters, at least one; named by ``names_of``.

    Raises:
        CheckpointError: a folder is given twice, or ``lora.load`` rejects one.
    """

    def __init__(
        self, model: SpanSALM, base: str | Path, folders: Sequence[AdapterFolder | str | Path]
    ) -> None:
        read = AdapterFolder.read_all(folders)
        self.model = model
        self.loaded: dict[str, Adapter] = {}
        for name, folder in zip(names_of([one.path for one in read]), read):
            key = f"adapter{len(self.loaded)}"  # names may contain dots, PEFT's may not
            self.loaded[name] = Adapter(folder, key, lora.load(model, folder, base, key))
        self._peft: Any = model.llm
        self._layers = [
            (parent, child, layer)
            for parent in model.llm.modules()
            for child, layer in parent.named_children()
            if hasattr(layer, "merged_adapters")
        ]
        self._weights = [layer.get_base_layer().weight.data for *_, layer in self._layers]
        self._projector = {n: p.data for n, p in lora.projector_parameters(model).items()}
        self._in_use: tuple[str, ...] | None = None  # unknown during a change
        self.use(*self.loaded)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters, in the given order."""
        return tuple(self.loaded)

    @property
    def in_use(self) -> tuple[str, ...]:
        """Names of the active adapters, in the given order."""
        return self._in_use or ()

    def label(self, names: Sequence[str] | None) -> str | None:
        """Folders of these adapters, or all, as named in transcripts; None if there are none."""
        wanted = self.names if names is None else names
        found = [str(a.folder.path) for name, a in self.loaded.items() if name in wanted]
        return " + ".join(found) or None

    def check(self, names: Sequence[str]) -> None:
        """Check that these can be activated.

        Raises:
            CheckpointError: there is no adapter of that name, or one is named twice.
        """
        for name in names:
            if name not in self.loaded:
                raise CheckpointError(
                    f"no adapter {name!r} was loaded; expected some of {', '.join(self.loaded)}"
                )
            if names.count(name) > 1:
                raise CheckpointError(f"the adapter {name!r} is named twice; expected it only once")

    @property
    def biasing(self) -> list[BiasingList]:
        """The biasing lists of the active adapters."""
        found = (self.loaded[name].folder.biasing for name in self.in_use)
        return [biasing for biasing in found if biasing is not None]

    def fusion(self, weight: float | None = None) -> dict[str, float]:
        """The weights of the active text adapters, by ``key``; or ``weight`` for each."""
        used = {self.loaded[name].key: self.loaded[name].folder.fusion for name in self.in_use}
        own = {key: fusion for key, fusion in used.items() if fusion is not None}
        return own if weight is None else dict.fromkeys(own, weight)

    def use(self, *names: str) -> None:
        """Activate exactly these adapters; none is the base alone.

        The order of the names does not matter. Does nothing if they are already active.

        Raises:
            CheckpointError: see ``check``.
        """
        self.check(names)
        in_use = tuple(name for name in self.loaded if name in names)
        if in_use == self._in_use:
            return
        self._in_use = None
        chosen = [self.loaded[name] for name in in_use]
        self._merge([adapter.key for adapter in chosen if adapter.folder.kind == "speech"])
        self._project([a.projector for a in chosen if a.projector is not None])
        self._put_aside([adapter.key for adapter in chosen if adapter.folder.kind == "text"])
        self._in_use = in_use

    def _merge(self, keys: list[str]) -> None:
        if all(adapter.folder.kind == "text" for adapter in self.loaded.values()):
            return  # nothing is merged, and 8-bit weights stay unchanged
        for (*_, layer), weight in zip(self._layers, self._weights):
            changed = any(key in layer.lora_A for key in keys)
            layer.get_base_layer().weight.data = weight.clone() if changed else weight
            if changed:
                layer.merge(adapter_names=keys)
                # PEFT would subtract what it merged, with rounding: restore from here instead.
                layer.merged_adapters.clear()

    def _project(self, trained: list[dict[str, Tensor]]) -> None:
        for name, parameter in lora.projector_parameters(self.model).items():
            own = self._projector[name]
            parameter.data = own
            if len(trained) == 1:
                parameter.data = trained[0][name]
            elif trained:
                parameter.data = own + sum(projector[name] - own for projector in trained)

    def _put_aside(self, keys: list[str]) -> None:
        """PEFT's layers are in the LLM only while there is something to fuse: they take time."""
        for parent, child, layer in self._layers:
            setattr(parent, child, layer if keys else layer.get_base_layer())
        self.model.llm = self._peft if keys else self._peft.get_base_model()
        if keys:
            put_aside(self.model)


def put_aside(model: SpanSALM) -> None:
    """Disable the adapters on a model, all trained on text; the recogniser remains."""
    model.llm.base_model.disable_adapter_layers()


@contextmanager
def switched_on(model: SpanSALM, *keys: str) -> Iterator[None]:
    """Temporarily enable disabled adapters: the LLM as a domain language model."""
    layers = model.llm.base_model
    if layers.active_adapters != list(keys):
        layers.set_adapter(list(keys), inference_mode=True)
    layers.enable_adapter_layers()
    try:
        yield
    finally:
        put_aside(model)


def names_of(folders: Iterable[str | Path]) -> list[str]:
    """A name for each adapter: its folder's, or its run folder's if that is called ``adapter``.

    The second of a name becomes ``name-2``, and so on.
    """
    found: list[str] = []
    for folder in folders:
        path = Path(os.path.abspath(folder))
        plain = path.parent.name if path.name == "adapter" else path.name
        name, number = plain, 1
        while name in found:
            number += 1
            name = f"{plain}-{number}"
        found.append(name)
    return found


def fusion_weights(
    adapters: Sequence[AdapterFolder | str | Path], fusion: float | None = None
) -> list[float | None]:
    """The weight of each adapter that is fused, or ``fusion`` in its place; None for others.

    Raises:
        CheckpointError: see ``AdapterFolder.read_all``; or there is a weight for adapters of which
            none has any.
    """
    read = AdapterFolder.read_all(adapters)
    if read and fusion is not None and all(adapter.kind == "speech" for adapter in read):
        raise CheckpointError(
            f"--fusion applies only to adapters trained on text; {read[0].path} was "
            "trained on speech: leave --fusion out"
        )
    return [a.fusion if a.fusion is None or fusion is None else fusion for a in read]
