"""Adapters on one base, by name: any of them in use, swapped without reading the base anew.

What several in use do together:

- adapters of speech, which change the recogniser: their changes to the weights add up;
- adapters of text, which are fused: their preferences add up, each by its weight. They are switched
  off but while ``decoding.fusion`` reads by them (``switched_on``);
- both kinds: those of speech are on throughout, and those of text have their say beside them;
- the lists of phrases that some bring are preferred together (``corpus.biasing_list.joined``).

Adapters of speech are merged, which is the same and as fast as the base alone. The base's own
tensors are put aside meanwhile and never written, so that it comes back bit by bit; the weights
that such an adapter changes are in memory twice while it is in use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.biasing_list import BiasingList
from asr_llm.errors import CheckpointError
from asr_llm.model import lora
from asr_llm.model.adapter_folder import AdapterFolder

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class Adapter:
    """An adapter on a model: ``key`` is what PEFT calls it, ``projector`` what it has in place of
    the base's.
    """

    folder: AdapterFolder
    key: str
    projector: dict[str, Tensor] | None


class Adapters:
    """Reads adapters onto a model and puts all of them in use.

    Args:
        model: on its device already; a LoRA that the checkpoint came with is merged for good.
        base: the name or folder it was loaded from.
        folders: of the adapters, one at least; each is named as ``names_of`` has it.

    Raises:
        CheckpointError: a folder is given twice, or ``lora.load`` refuses one.
    """

    def __init__(
        self, model: SpanSALM, base: str | Path, folders: Sequence[AdapterFolder | str | Path]
    ) -> None:
        read = AdapterFolder.read_all(folders)
        self.model = model
        self.loaded: dict[str, Adapter] = {}
        for name, folder in zip(names_of([one.path for one in read]), read):
            key = f"adapter{len(self.loaded)}"  # a name may hold a dot, which PEFT's may not
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
        self._in_use: tuple[str, ...] | None = None  # not known while it is changed
        self.use(*self.loaded)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters, in the order in which they were given."""
        return tuple(self.loaded)

    @property
    def in_use(self) -> tuple[str, ...]:
        """Names of those in use, in the order in which they were given."""
        return self._in_use or ()

    def label(self, names: Sequence[str] | None) -> str | None:
        """The folders of these, or of all, as a transcript names them; None if there are none."""
        wanted = self.names if names is None else names
        found = [str(a.folder.path) for name, a in self.loaded.items() if name in wanted]
        return " + ".join(found) or None

    def check(self, names: Sequence[str]) -> None:
        """See whether these can be in use.

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
        """The lists that those in use bring."""
        found = (self.loaded[name].folder.biasing for name in self.in_use)
        return [biasing for biasing in found if biasing is not None]

    def fusion(self, weight: float | None = None) -> dict[str, float]:
        """The weights of those of text that are in use, by ``key``; or ``weight`` for each."""
        used = {self.loaded[name].key: self.loaded[name].folder.fusion for name in self.in_use}
        own = {key: fusion for key, fusion in used.items() if fusion is not None}
        return own if weight is None else dict.fromkeys(own, weight)

    def use(self, *names: str) -> None:
        """Put these adapters in use, in place of those that were; none is the base alone.

        The order of the names does not matter. Nothing is done where they are in use already.

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
            return  # nothing is ever merged, and weights in 8 bits stay what they are
        for (*_, layer), weight in zip(self._layers, self._weights):
            changed = any(key in layer.lora_A for key in keys)
            layer.get_base_layer().weight.data = weight.clone() if changed else weight
            if changed:
                layer.merge(adapter_names=keys)
                # PEFT would subtract what it merged, and round: it is put back from here.
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
    """Switch off the adapters on a model, which are of text: what is left is the recogniser."""
    model.llm.base_model.disable_adapter_layers()


@contextmanager
def switched_on(model: SpanSALM, *keys: str) -> Iterator[None]:
    """Adapters that were put aside, on for once: the LLM as a language model of the domain."""
    layers = model.llm.base_model
    if layers.active_adapters != list(keys):
        layers.set_adapter(list(keys), inference_mode=True)
    layers.enable_adapter_layers()
    try:
        yield
    finally:
        put_aside(model)


def names_of(folders: Iterable[str | Path]) -> list[str]:
    """A name for each adapter: its folder's, or its run folder's where it is called ``adapter``.

    The second of a name is called ``name-2``, and so on.
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
