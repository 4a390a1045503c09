"""Spoken question answering: does the model still know what it knew, when asked by voice?

The same questions are asked as text (T2T) and as speech (S2T). The gap between them is the
zero-shot check of JSTIP (arXiv 2607.01733): a model trained only to transcribe answers text but not
speech.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from asr_llm.corpus.text.normalizers import normalize
from asr_llm.errors import SuiteError
from asr_llm.evaluation.significance import paired_bootstrap, rate_interval
from asr_llm.evaluation.suites import read_config, read_rows
from asr_llm.yaml_lines import Strict

LETTERS = "ABCDEFGHIJ"
Scoring = Literal["contains", "exact", "choice", "likelihood"]
LISTED: tuple[Scoring, ...] = ("choice", "likelihood")
"""Those that need choices: the first shows them with letters, the second does not."""
Part = Literal["passage", "question"]


@dataclass(frozen=True)
class Question:
    """One question: any of ``answers`` is right; with ``choices``, those among them."""

    id: str
    question: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()
    passage: str = ""
    audio: Path | None = None
    """A recording of the last spoken part (usually the question), instead of synthetic speech."""


class SuiteConfig(Strict):
    """A suite's YAML."""

    name: str = Field(min_length=1)
    questions: str = Field(description="JSON lines, or a JSON list; relative to this file")
    scoring: Scoring = "contains"
    spoken: list[Part] = Field(["passage", "question"], min_length=1)
    voices: list[str] = Field(["en-us"], min_length=1)
    max_new_tokens: int = Field(32, gt=0)


@dataclass(frozen=True)
class Suite:
    """Questions, and how they are asked and scored."""

    config: SuiteConfig
    questions: tuple[Question, ...]


def read_suite(path: str | Path, scoring: Scoring | None = None) -> Suite:
    """Read a suite from its YAML, or from a bare file of questions with the defaults.

    Args:
        scoring: overrides the suite's own.

    Questions are JSON lines or a JSON list, with ``question`` and ``answer`` or ``answers`` (a
    text, a list, or TriviaQA's ``{"value", "aliases"}``), and optionally ``id``, ``passage`` (or
    ``context``), ``choices``, and ``audio``: a recording of the question (of the last part in
    ``spoken``). With choices, an answer may be the text of a choice, its letter or its number from
    0, as in MMLU; in a bare file all questions have choices or none.

    Raises:
        SuiteError: it is missing or malformed; the message names file and line.
    """
    path = Path(path)
    config, source = read_config(path, SuiteConfig, "questions")
    if scoring is not None:
        config = config.model_copy(update={"scoring": scoring})
    questions = tuple(
        _question(row, number, source, config.scoring) for number, row in list(read_rows(source))
    )
    if not questions:
        raise SuiteError(f"{source}: no questions; expected a JSON object in each line")
    ids = [question.id for question in questions]
    if twice := next((i for i in ids if ids.count(i) > 1), None):
        raise SuiteError(f"{source}: id {twice!r} is given twice; expected one question for an id")
    listed = [question.id for question in questions if question.choices]
    if scoring is None and path.suffix not in (".yaml", ".yml") and listed:
        if len(listed) < len(questions):
            raise SuiteError(
                f"{path}: {len(listed)} of {len(questions)} questions have choices (the first: "
                f"{listed[0]}); expected all or none: part them in two files, or write a suite "
                "(.yaml) whose 'scoring' says how all are asked"
            )
        config = config.model_copy(update={"scoring": "choice"})
    return Suite(config, questions)


def _question(row: Any, number: int, path: Path, scoring: Scoring) -> Question:
    if not isinstance(row, dict) or not str(row.get("question") or "").strip():
        raise SuiteError(f"{path}:{number}: no 'question'; expected question and answer")
    choices = tuple(str(choice) for choice in row.get("choices") or row.get("options") or ())
    found = row.get("answers", row.get("answer"))
    if isinstance(found, Mapping):  # TriviaQA
        found = [found.get("value"), *found.get("aliases", [])]
    given = [x for x in (found if isinstance(found, list) else [found]) if x not in (None, "")]
    answers = tuple(dict.fromkeys(_chosen(x, choices) for x in given))
    if not answers:
        raise SuiteError(f"{path}:{number}: no 'answer' and no 'answers'; expected one of them")
    if len(choices) == 1 or (scoring in LISTED and not choices):
        raise SuiteError(f"{path}:{number}: found {len(choices)} choices; expected two or more")
    if choices and not set(answers) & set(choices):
        raise SuiteError(
            f"{path}:{number}: the answer is none of the {len(choices)} choices; expected the text "
            "of one, its letter, or its number from 0"
        )
    if len(choices) > len(LETTERS):
        raise SuiteError(f"{path}:{number}: {len(choices)} choices; at most {len(LETTERS)} work")
    audio = row.get("audio") or row.get("audio_filepath")
    if audio and not (path.parent / str(audio)).is_file():
        raise SuiteError(
            f"{path}:{number}: audio: {path.parent / str(audio)} is not there; expected a "
            "recording of the question, its path relative to this file"
        )
    return Question(
        id=str(row.get("id", row.get("question_id", number))),
        question=str(row["question"]).strip(),
        answers=answers,
        choices=choices,
        passage=str(row.get("passage") or row.get("context") or "").strip(),
        audio=path.parent / str(audio) if audio else None,
    )


def _chosen(answer: Any, choices: tuple[str, ...]) -> str:
    """The text of an answer; for the number or letter of a choice, that choice's text."""
    if choices and str(answer) not in choices:
        if isinstance(answer, int) and 0 <= answer < len(choices):
            return choices[answer]
        if str(answer) in LETTERS[: len(choices)]:
            return choices[LETTERS.index(str(answer))]
    return str(answer)


def is_right(said: str, question: Question, scoring: Scoring) -> bool:
    """Whether an answer is right, ignoring case and punctuation.

    ``exact``: it equals one of the answers; ``contains``: it contains the words of one in sequence;
    ``choice``, ``likelihood``: ``said`` is the text of a right choice.
    """
    heard = normalize(said, "basic").split()
    for answer in question.answers:
        words = normalize(answer, "basic").split()
        if scoring != "contains":
            if heard == words:
                return True
        elif words and any(
            heard[i : i + len(words)] == words for i in range(len(heard) - len(words) + 1)
        ):
            return True
    return False


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers with its 95% interval, resampled over questions."""

    accuracy: float
    right: int
    questions: int
    low: float | None
    high: float | None


def summarize(right: Mapping[str, list[bool]], seed: int = 0) -> dict[str, Any]:
    """Figures of a system: ``text`` and ``speech`` as Accuracy, and the ``gap`` between them.

    Args:
        right: for "text" and "speech", whether each question was answered correctly, in the same
            order.
    """
    out: dict[str, Any] = {kind: asdict(_accuracy(flags, seed)) for kind, flags in right.items()}
    text, speech = (np.asarray(right[kind], dtype=int).tolist() for kind in ("text", "speech"))
    out["gap"] = asdict(
        paired_bootstrap(base=text, adapted=speech, sizes=[1] * len(text), seed=seed)
    )
    return out


def _accuracy(flags: list[bool], seed: int) -> Accuracy:
    counts = [int(flag) for flag in flags]
    low, high = rate_interval(errors=counts, sizes=[1] * len(counts), seed=seed)
    return Accuracy(sum(counts) / len(counts), sum(counts), len(counts), low, high)
