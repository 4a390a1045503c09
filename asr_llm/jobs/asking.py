"""What ``qa``, ``ask`` and ``instruct`` share: systems, spoken parts, answers on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from asr_llm.errors import AudioError, CheckpointError
from asr_llm.files import new_folder, write_text
from asr_llm.jobs.measurement import System
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.transcription.options import Recogniser

if TYPE_CHECKING:
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.transcription.speech_llm import SpeechLLM

Rows: TypeAlias = list[dict[str, Any]]
"""Answers, each with its question, as for ``answers.jsonl``."""

_BATCH = 32
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Answers:
    """Results of a suite: ``scores`` by system, and the folder with every answer, if any."""

    scores: dict[str, Any]
    folder: Path | None


def systems(model: str, adapter: str | Path | None) -> list[System]:
    """The model, ``base``, and with an adapter ``adapted``.

    Raises:
        CheckpointError: the model or the adapter is not there.
    """
    from asr_llm.model import checkpoints

    checkpoints.locate(model)
    found = [System("base", model)]
    if adapter is not None:
        found.append(System("adapted", model, AdapterFolder.read_all(adapter)))
    return found


def each(
    measured: Iterable[System], ask: Callable[[System], tuple[dict[str, Any], Rows]]
) -> tuple[dict[str, Any], Rows]:
    """Ask one system after the other; return figures by system, and all answers."""
    figures: dict[str, Any] = {}
    rows: Rows = []
    for system in measured:
        figures[system.name], answers = ask(system)
        rows += answers
    return figures, rows


def load(system: System) -> SpeechLLM:
    """Load a system.

    Raises:
        CheckpointError: it does not load.
    """
    from asr_llm.transcription.speech_llm import SpeechLLM

    return SpeechLLM.of(Recogniser(system.model, system.adapters))


def hear(loaded: SpeechLLM, spoken: list[Utterance], cascade: bool) -> list[str | Utterance]:
    """The spoken parts of messages; in a cascade, the first pass's transcripts of them.

    Raises:
        CheckpointError: the model has no first pass for a cascade.
        AudioError: what the LLM would hear as speech is longer than the encoder takes.
    """
    shown = _cascaded(loaded, spoken) if cascade else spoken
    longest = loaded.model.max_seconds
    for part in shown:
        if not isinstance(part, str) and part.duration > longest:
            raise AudioError(
                f"{part.duration:.0f} s of speech for the LLM to hear; {loaded.name} takes at "
                f"most {longest:g} s without a cascade: extract the part that the question is about"
            )
    return [*shown]


def _cascaded(loaded: SpeechLLM, spoken: list[Utterance]) -> list[str | Utterance]:
    from asr_llm.decoding.answers import cascaded

    first_pass = loaded.pipeline.decoder.first_pass
    if first_pass is None:
        raise CheckpointError(
            f"{loaded.name} has no first pass for a cascade; expected a checkpoint composed with "
            "--first-pass, such as 'small': leave out --cascade"
        )
    return cascaded(spoken, first_pass, loaded.model.chunk_seconds)


def in_batches(
    work: Callable[[Sequence[_In]], list[_Out]], rows: Sequence[_In], tell: Any = None
) -> list[_Out]:
    """Process rows in batches.

    Args:
        tell: called with the number of rows done (``progress.labelled``).
    """
    done: list[_Out] = []
    for first in range(0, len(rows), _BATCH):
        done += work(rows[first : first + _BATCH])
        if tell:
            tell(len(done), len(rows))
    return done


def place_for(output: str | Path | None) -> Path | None:
    """The new or empty folder for the answers.

    Raises:
        RunError: it has files in it.
    """
    return new_folder(output) if output is not None else None


def save(place: Path | None, scores: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Answers:
    """Write ``scores.json`` and ``answers.jsonl``, if there is a place for them."""
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(place / "answers.jsonl", lines)
        write_text(place / "scores.json", json.dumps(scores, indent=2) + "\n")
    return Answers(scores, place)
