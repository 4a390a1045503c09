"""The job behind ``asr-llm qa``: a suite of questions put to a model, in writing and aloud."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from asr_llm import defaults
from asr_llm.files import new_folder, write_text
from asr_llm.jobs.measurement import System
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.progress import Progress, labelled
from asr_llm.transcription.options import Recogniser

if TYPE_CHECKING:
    from asr_llm.corpus.synthesis import Utterance
    from asr_llm.evaluation.spoken_qa import Question, Suite, SuiteConfig
    from asr_llm.model.salm import SpanSALM
    from asr_llm.sequences.spans import SpanSequence

SpokenParts: TypeAlias = "list[dict[str, Utterance]]"
"""For each question of a suite, its parts that are spoken."""

_BATCH = 16
_LISTED = "Answer with the letter."


@dataclass(frozen=True)
class Answers:
    """What came of a suite: ``scores`` by system, and the folder with every answer, if any."""

    scores: dict[str, Any]
    folder: Path | None


def qa(
    suite: str | Path,
    *,
    model: str = defaults.MODEL,
    adapter: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Put the questions of a suite as text and as speech, to a model and to its adapter.

    Args:
        suite: YAML, or a bare file of questions; see ``evaluation.spoken_qa.read_suite``.
        adapter: measured beside the model alone.
        output: new or empty folder for ``scores.json`` and ``answers.jsonl``.

    Raises:
        AsrLlmError: the suite, a voice, the model, the adapter or ``output`` is at fault.
    """
    from asr_llm.evaluation.spoken_qa import read_suite
    from asr_llm.model import checkpoints

    read = read_suite(suite)
    place = new_folder(output) if output is not None else None
    checkpoints.locate(model)
    systems = [System("base", model)]
    if adapter is not None:
        systems.append(System("adapted", model, AdapterFolder.read_all(adapter)))
    heard = speak(read, progress)
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for system in systems:
        figures[system.name], answers = run_suite(read, heard, system, progress)
        rows += answers
    scores = {"suite": read.config.name, "scoring": read.config.scoring, "systems": figures}
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(place / "answers.jsonl", lines)
        write_text(place / "scores.json", json.dumps(scores, indent=2) + "\n")
    return Answers(scores, place)


def speak(suite: Suite, progress: Progress | None = None) -> SpokenParts:
    """The spoken parts of each question, in order; the voices take turns.

    Raises:
        SynthesisError: a voice is not there.
        AudioError: a recording of the suite cannot be read.
    """
    from asr_llm.corpus.audio import load_audio
    from asr_llm.corpus.synthesis import Utterance, select_voices, synthesize

    voices = select_voices(suite.config.voices)
    tell = labelled(progress, "speaking")
    heard: SpokenParts = []
    for i, question in enumerate(suite.questions):
        spoken: dict[str, Utterance] = {}
        for part in suite.config.spoken:
            text = getattr(question, part)
            if question.audio is not None and part == suite.config.spoken[-1]:
                spoken[part] = Utterance(text, question.id, load_audio(question.audio))
            elif text:
                spoken[part] = synthesize(text, voices[i % len(voices)])
        heard.append(spoken)
        if tell:
            tell(i + 1, len(suite.questions))
    return heard


def run_suite(
    suite: Suite, heard: SpokenParts, system: System, progress: Progress | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Put a suite, and what ``speak`` made of it, to one system.

    Returns:
        Its figures (``spoken_qa.summarize``), and every answer.

    Raises:
        CheckpointError: the model or the adapter does not load.
    """
    from asr_llm.evaluation.spoken_qa import is_right, summarize

    loaded = _load(system)
    right: dict[str, list[bool]] = {}
    rows: list[dict[str, Any]] = []
    for kind in ("text", "speech"):
        prompts = [
            _prompt(question, spoken if kind == "speech" else {}, suite.config, loaded)
            for question, spoken in zip(suite.questions, heard)
        ]
        said = _answers(
            loaded, suite, prompts, labelled(progress, f"asking: {system.name}, {kind}")
        )
        right[kind] = [
            is_right(text, question, suite.config.scoring)
            for text, question in zip(said, suite.questions)
        ]
        rows += [
            {"system": system.name, "asked": kind, "id": q.id, "said": text, "right": flag}
            for q, text, flag in zip(suite.questions, said, right[kind])
        ]
    return summarize(right), rows


def _load(system: System) -> SpanSALM:
    from asr_llm.transcription.speech_llm import SpeechLLM

    return SpeechLLM.of(Recogniser(system.model, system.adapters)).model


def _prompt(
    question: Question, spoken: dict[str, Utterance], config: SuiteConfig, model: SpanSALM
) -> SpanSequence:
    """The passage, the question, the choices: each as speech where it is spoken, else written."""
    from asr_llm.evaluation.spoken_qa import LETTERS
    from asr_llm.sequences.tasks import message

    parts: list[str | Utterance] = []
    for part in ("passage", "question"):
        if text := getattr(question, part):
            parts.append(spoken.get(part, text))
    if config.scoring == "choice":
        parts.append("".join(f"\n{x}. {c}" for x, c in zip(LETTERS, question.choices)))
        parts.append("\n" + _LISTED)
    return message(parts, model.chat)


def _answers(
    model: SpanSALM, suite: Suite, prompts: list[SpanSequence], progress: Any
) -> list[str]:
    """What is said to each prompt, or for choices the most probable one."""
    from asr_llm.decoding.answers import answer, option_log_probs
    from asr_llm.evaluation.spoken_qa import LETTERS

    said: list[str] = []
    for first in range(0, len(prompts), _BATCH):
        some = prompts[first : first + _BATCH]
        if suite.config.scoring == "choice":
            asked = suite.questions[first : first + _BATCH]
            letters = list(LETTERS[: max(len(question.choices) for question in asked)])
            for question, found in zip(asked, option_log_probs(model, some, letters)):
                shares = found[: len(question.choices)]
                said.append(question.choices[shares.index(max(shares))])
        else:
            said += answer(model, some, suite.config.max_new_tokens)
        if progress:
            progress(len(said), len(prompts))
    return said
