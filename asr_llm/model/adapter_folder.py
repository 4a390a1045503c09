"""An adapter on disk: its kind, base and biasing list, read once without the weights."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from asr_llm.corpus.terms.biasing_list import BiasingList, read_phrases
from asr_llm.errors import BiasingError, CheckpointError
from asr_llm.model import adapter_kind, checkpoints
from asr_llm.model.adapter_kind import CONFIG as CONFIG
from asr_llm.model.adapter_kind import WEIGHTS as WEIGHTS

BASE, PROJECTOR, BIASING = "base.json", "projector.safetensors", "biasing_list.txt"


@dataclass(frozen=True)
class Base:
    """The base model of an adapter: its name, and the SHA-256 of its weights."""

    name: str
    sha256: str


@dataclass(frozen=True)
class AdapterFolder:
    """An adapter folder, written by ``lora.save`` or by PEFT alone.

    Args:
        path: as given.
        base: None if PEFT alone wrote it.
        fusion: weight of an adapter trained on text; None for one trained on speech.
        biasing: phrases to boost whenever the adapter is active.
    """

    path: Path
    base: Base | None = None
    fusion: float | None = None
    biasing: BiasingList | None = None

    @property
    def kind(self) -> Literal["speech", "text"]:
        """``speech``: it changes the recogniser. ``text``: a language model for fusion."""
        return "speech" if self.fusion is None else "text"

    @property
    def sha256(self) -> str:
        """Hash of its weights, and of its projector and biasing list if present."""
        files = [self.path / name for name in (WEIGHTS, PROJECTOR, BIASING)]
        hashes = [checkpoints.sha256(file) for file in files if file.is_file()]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def check_base(self, model: str | Path) -> None:
        """Check that it was trained on a model, as far as it says.

        Raises:
            CheckpointError: it was trained on another, or there is no such model.
        """
        folder = checkpoints.locate(model)
        if self.base is not None and not checkpoints.accepts(folder, self.base.sha256):
            raise CheckpointError(
                f"{self.path} was trained on {self.base.name} (weights {self.base.sha256[:12]}…), "
                f"not on {model} (weights {checkpoints.identity(folder)[:12]}…); "
                "load that base with --model, or adapt this one anew"
            )

    @classmethod
    def read(cls, path: AdapterFolder | str | Path) -> AdapterFolder:
        """Read a folder; an ``AdapterFolder`` is returned unchanged.

        Raises:
            CheckpointError: it has no adapter, or one that is not a LoRA; or its weights, its
                ``base.json`` or its list cannot be read.
        """
        if isinstance(path, AdapterFolder):
            return path
        folder = Path(path)
        _check(folder)
        record = _record(folder)
        if record is None:
            return cls(folder)
        base = Base(record["name"], record["sha256"])
        return cls(folder, base, record["fusion"], _biasing(folder, record["biasing"]))

    @classmethod
    def read_all(
        cls, paths: Iterable[AdapterFolder | str | Path] | AdapterFolder | str | Path | None
    ) -> tuple[AdapterFolder, ...]:
        """Read one adapter, several, or none.

        Raises:
            CheckpointError: see ``read``; or a folder is given twice.
        """
        if isinstance(paths, AdapterFolder | str | Path):
            paths = [paths]
        seen: dict[Path, AdapterFolder] = {}
        for found in map(cls.read, paths or ()):
            place = found.path.resolve()
            if place in seen:
                before = seen[place].path
                again = "given twice" if before == found.path else f"{before} again"
                raise CheckpointError(f"{found.path} is {again}; expected each adapter only once")
            seen[place] = found
        return tuple(seen.values())


def _check(folder: Path) -> None:
    if not folder.is_dir():
        found = "a file is there" if folder.exists() else "nothing is there"
        raise CheckpointError(
            f"no adapter at {folder}: {found}; expected a folder such as runs/NAME/adapter "
            "written by 'asr-llm adapt'"
        )
    if (folder / "adapter" / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} is a run folder; expected its adapter: did you mean {folder / 'adapter'}?"
        )
    for needed in (CONFIG, WEIGHTS):
        if (folder / needed).is_file():
            continue
        if (folder / "domain.yaml").is_file():
            raise CheckpointError(
                f"{folder} is a domain folder; expected an adapter made from it: "
                f"asr-llm adapt {folder}"
            )
        raise CheckpointError(
            f"{folder} is not an adapter: it has no {needed}; expected a folder such as "
            "runs/NAME/adapter written by 'asr-llm adapt'"
        )
    adapter_kind.check(folder)


def _record(folder: Path) -> dict[str, Any] | None:
    """The content of ``base.json`` and of the weights' metadata; None if PEFT alone wrote both.

    ``base.json`` takes precedence, so that it can be edited; the metadata cannot be lost.
    """
    path = folder / BASE
    labelled = adapter_kind.recorded(folder)
    if not path.is_file() and not labelled:
        if (folder / BIASING).is_file():
            raise CheckpointError(
                f"{folder} has a {BIASING} and no {BASE}, which says how the adapter is used; "
                "expected both: copy the whole folder again"
            )
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if not isinstance(record, dict):
            raise ValueError("found no JSON object")
        record = labelled | record
        numbers = {key: _number(record, key) for key in ("fusion", "biasing")}
        return numbers | {"name": str(record["name"]), "sha256": str(record["sha256"])}
    except KeyError as error:
        raise CheckpointError(
            f"{path} has no {error}; expected name and sha256 of the base model"
        ) from None
    except ValueError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); expected name and sha256 of the base model, and "
            "where there are any the numbers 'fusion' and 'biasing', from 0 up"
        ) from error


def _number(record: dict[str, Any], key: str) -> float | None:
    number = record.get(key)
    if number is None:
        return None
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    if not plain or not 0 <= number < math.inf:
        raise ValueError(f"{key!r} is {json.dumps(number)}")
    return float(number)


def _biasing(folder: Path, strength: float | None) -> BiasingList | None:
    if strength is None:
        return None
    try:
        return BiasingList(tuple(read_phrases(folder / BIASING)), strength)
    except BiasingError as error:
        raise CheckpointError(
            f"the adapter's own list: {error}; copy it again, or do without: set 'biasing' to null "
            f"in {folder / BASE}"
        ) from error
