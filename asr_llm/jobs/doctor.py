"""What is installed, what is missing, and what each missing part costs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.version import __version__

if TYPE_CHECKING:
    from asr_llm.model.store import Stored


@dataclass(frozen=True)
class Part:
    """A library: ``version`` is None if it is missing; ``use`` says what it is for."""

    name: str
    version: str | None
    use: str
    optional: bool
    install: str

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name} {self.version}"
        return f"{self.name}: missing; {self.use}. To install: {self.install}"


@dataclass(frozen=True)
class Diagnosis:
    """What ``asr-llm doctor`` prints; sizes are in bytes.

    ``mini`` is None without its weights; ``models`` are those composed on this machine.
    """

    asr_llm: str
    python: str
    system: str
    device: str
    cores: int
    memory: int | None
    parts: tuple[Part, ...]
    mini: Path | None
    models: tuple[Stored, ...]
    cache: Path
    cache_size: int

    @property
    def missing(self) -> list[Part]:
        """Parts that are not installed."""
        return [part for part in self.parts if part.version is None]


_REQUIRED = {
    "torch": "nothing can be recognised or trained without it",
    "nemo-toolkit": "nothing can be recognised or trained without it",
    "transformers": "nothing can be recognised or trained without it",
    "peft": "no adapter can be trained or loaded without it",
    "lightning": "nothing can be trained without it",
    "lhotse": "no recordings can be read in bulk without it",
    "numba": "no word error rates without it",
    "spacy": "no entity error rates without it",
    "wordfreq": "no terms can be proposed without it",
    "soundfile": "no audio file can be read without it",
    "av": "m4a, mp4, webm, aac, amr and wma cannot be read without it",
    "soxr": "without it, audio must be at 16 kHz",
    "espeakng-loader": "text cannot be spoken without it, so no test sets from text",
}
_OPTIONAL = {
    "hibari-tts": (
        "without it, only espeak-ng speaks, which sounds robotic",
        "pip install 'asr-llm[voices]'",
    ),
    "meeteval": (
        "no cpWER without it (score --speakers)",
        "pip install 'asr-llm[speakers]'",
    ),
    "piper-tts": (
        "no Piper voices without it (it is GPL-3.0)",
        "pip install 'asr-llm[piper]'",
    ),
    "k2": (
        "no lattices without it; alignment uses NeMo's Viterbi instead",
        "see k2-fsa.github.io for the wheel of your torch",
    ),
    "ray": (
        "no decoding on a cluster without it (--ray)",
        "pip install 'asr-llm[ray]'",
    ),
    "fastapi": ("no 'asr-llm serve' without it", "pip install 'asr-llm[serve]'"),
}


def diagnose() -> Diagnosis:
    """Inspect this machine, without network access."""
    from asr_llm.corpus.speech import cache
    from asr_llm.errors import CheckpointError
    from asr_llm.model import store
    from asr_llm.model.checkpoints import locate

    required = [
        Part(name, _version(name), use, False, f"pip install {name}")
        for name, use in _REQUIRED.items()
    ]
    optional = [
        Part(name, _version(name), use, True, install) for name, (use, install) in _OPTIONAL.items()
    ]
    try:
        mini: Path | None = locate("mini")
    except CheckpointError:
        mini = None
    return Diagnosis(
        asr_llm=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        device=_device(),
        cores=_cores(),
        memory=_memory(),
        parts=(*required, *optional),
        mini=mini,
        models=tuple(model for model in store.entries() if model.name != "mini"),
        cache=cache.location(),
        cache_size=sum(entry.bytes for entry in cache.entries()),
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> str:
    if importlib.util.find_spec("torch") is None:
        return "none, torch is missing"
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "cpu"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
