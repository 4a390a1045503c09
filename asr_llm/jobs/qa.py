"""The job behind ``asr-llm qa``: a suite of questions, asked in writing and in speech."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from asr_llm import defaults
from asr_llm.jobs import asking
from asr_llm.jobs.asking import Answers
from asr_llm.progress import Progress, labelled

if TYPE_CHECKING:
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.evaluation.spoken_qa import Question, Scoring, Suite, SuiteConfig
    from asr_llm.jobs.measurement import System
    from asr_llm.model.salm import SpanSALM
    from asr_llm.sequences.spans import SpanSequence

SpokenParts: TypeAlias = "list[dict[str, Utterance]]"
"""For each question of a suite, its parts that are spoken."""

_LISTED = "Answer with the letter."


@dataclass(frozen=True)
class QaOptions:
    """How a suite of questions is asked.

    Args:
        scoring: overrides the suite's own.
        cascade: show the LLM what a first pass wrote, in place of the speech.
    """

    scoring: Scoring | None = None
    cascade: bool = False


def qa(
    suite: str | Path,
    *,
    model: str = defaults.MODEL,
    adapter: str | Path | None = None,
    output: str | Path | None = None,
    options: QaOptions = QaOptions(),
    progress: Progress | None = None,
) -> Answers:
    """Ask a model, and its adapter, the questions of a suite as text and as speech.

    Args:
        suite: YAML, or a bare file of questions; see ``evaluation.spoken_qa.read_suite``.
        adapter: measured beside the model alone.
        output: new or empty folder for ``scores.json`` and ``answers.jsonl``.

    Raises:
        AsrLlmError: the suite, a voice, the model, the adapter or ``output`` is at fault.
    """
    from asr_llm.evaluation import caveats
    from asr_llm.evaluation.spoken_qa import read_suite

    read = read_suite(suite, options.scoring)
    place = asking.place_for(output)
    measured = asking.systems(model, adapter)
    heard = speak(read, progress)
    figures, rows = asking.each(
        measured, lambda system: run_suite(read, heard, system, options.cascade, progress)
    )
    scores = {
        "suite": read.config.name,
        "scoring": read.config.scoring,
        "cascade": options.cascade,
        "systems": figures,
        "warnings": caveats.of_few(len(read.questions), "question"),
    }
    return asking.save(place, scores, rows)


def speak(suite: Suite, progress: Progress | None = None) -> SpokenParts:
    """The spoken parts of each question, in order; the voices take turns.

    Raises:
        SynthesisError: a voice is not there.
        AudioError: a recording of the suite cannot be read.
    """
    from asr_llm.corpus.recordings.audio import load_audio
    from asr_llm.corpus.speech.synthesis import Utterance, select_voices, synthesize

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
    suite: Suite,
    heard: SpokenParts,
    system: System,
    cascade: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask one system the questions of a suite, with the speech from ``speak``.

    Returns:
        Its figures (``spoken_qa.summarize``), and every answer.

    Raises:
        CheckpointError: the model or the adapter does not load.
    """
    from asr_llm.evaluation.spoken_qa import is_right, summarize

    recogniser = asking.load(system)
    loaded = recogniser.model
    parts = [part for spoken in heard for part in spoken.values()]
    shown = iter(asking.hear(recogniser, parts, cascade))
    put: list[dict[str, str | Utterance]] = [
        {part: next(shown) for part in spoken} for spoken in heard
    ]
    right: dict[str, list[bool]] = {}
    rows: list[dict[str, Any]] = []
    for kind in ("text", "speech"):
        prompts = [
            _prompt(question, spoken if kind == "speech" else {}, suite.config, loaded)
            for question, spoken in zip(suite.questions, put)
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


def _prompt(
    question: Question, spoken: Mapping[str, str | Utterance], config: SuiteConfig, model: SpanSALM
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


def _answers(model: SpanSALM, suite: Suite, prompts: list[SpanSequence], tell: Any) -> list[str]:
    """The answer to each prompt; with choices, the most probable one."""
    from asr_llm.decoding.answers import answer, likelihoods, option_log_probs
    from asr_llm.evaluation.spoken_qa import LETTERS

    scoring, most = suite.config.scoring, suite.config.max_new_tokens

    def said(asked: Iterable[tuple[Question, SpanSequence]]) -> list[str]:
        questions, some = map(list, zip(*asked))
        if scoring == "choice":
            letters = list(LETTERS[: max(len(question.choices) for question in questions)])
            return _likeliest(questions, option_log_probs(model, some, letters))
        if scoring == "likelihood":
            choices = [question.choices for question in questions]
            return _likeliest(questions, likelihoods(model, some, choices))
        return answer(model, some, most)

    return asking.in_batches(said, list(zip(suite.questions, prompts)), tell)


def _likeliest(questions: list[Question], found: list[list[float]]) -> list[str]:
    """The choice of each question with the highest log-probability."""
    best = []
    for question, own in zip(questions, found):
        own = own[: len(question.choices)]
        best.append(question.choices[own.index(max(own))])
    return best
