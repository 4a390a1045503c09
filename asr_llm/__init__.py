"""asr_llm adapts a speech-LLM recogniser to a domain's vocabulary, and measures the gain."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from asr_llm.version import __version__ as __version__

if TYPE_CHECKING:
    from asr_llm.corpus.domain.folder import Domain
    from asr_llm.errors import AsrLlmError
    from asr_llm.jobs.adapt import adapt
    from asr_llm.jobs.evaluate import evaluate
    from asr_llm.jobs.pretrain import pretrain
    from asr_llm.recipe import Recipe
    from asr_llm.transcription.speech_llm import SpeechLLM
    from asr_llm.transcription.transcript import Transcript

__all__ = [
    "AsrLlmError",
    "Domain",
    "Recipe",
    "SpeechLLM",
    "Transcript",
    "adapt",
    "evaluate",
    "pretrain",
]

# Nothing leaves the machine: set before importing libraries that would use the network.
for _name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "WANDB_DISABLED"):
    os.environ.setdefault(_name, "1")
# Read when torch is loaded: idle threads yield their cores. Otherwise, on a busy machine, each step
# waits for spinning threads, fifty times longer than it computes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "AsrLlmError": "asr_llm.errors",
    "Domain": "asr_llm.corpus.domain.folder",
    "Recipe": "asr_llm.recipe",
    "SpeechLLM": "asr_llm.transcription.speech_llm",
    "Transcript": "asr_llm.transcription.transcript",
    "adapt": "asr_llm.jobs.adapt",
    "evaluate": "asr_llm.jobs.evaluate",
    "pretrain": "asr_llm.jobs.pretrain",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import asr_llm`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
