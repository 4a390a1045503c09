"""Whether the voices that a domain names can speak, and whether its text can be spoken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from asr_llm.corpus.domain.files import DomainConfig, Line, Problem
from asr_llm.corpus.speech.synthesis import select_voices, speakable, synthesiser
from asr_llm.errors import SynthesisError
from asr_llm.yaml_lines import YamlFile

Voices = Mapping[Literal["train", "dev", "test"], list[str]]


def voices_alone(data: Any) -> Voices:
    """The voices of a ``domain.yaml`` in which something is wrong; {} if they are."""
    named = data.get("voices") if isinstance(data, dict) else None
    try:
        return DomainConfig.model_validate({"name": "unnamed", "voices": named or {}}).voices
    except ValidationError:
        return {}


def voice_problems(path: Path, voices: Voices, file: YamlFile) -> list[Problem]:
    """Patterns that match no voice, voices that cannot speak, splits without any.

    Args:
        path: of ``domain.yaml``, whose lines are in ``file``.
    """
    problems: list[Problem] = []

    def error(where: tuple[str | int, ...], message: str, fix: str = "") -> None:
        problems.append(Problem(str(path), file.line_of(where), "error", message, fix))

    for split, patterns in voices.items():
        refused = len(problems)
        for i, pattern in enumerate(patterns):
            try:
                for voice in select_voices([pattern]):
                    synthesiser(voice)
            except SynthesisError as wrong:
                error(("voices", split, i), str(wrong))
        if patterns and len(problems) == refused and not select_voices(patterns):
            message = f"voices: {split}: the '!' patterns exclude every voice"
            error(("voices", split), message, "name one to speak")
    return problems


def text_problems(
    text: Mapping[str, list[Line]], recorded: Mapping[str, list[Line]], language: str
) -> Iterator[Problem]:
    """Sentences that no voice can say, by split; only a warning where no voice has to.

    Args:
        recorded: the transcripts of a split's recordings, which are used in place of voices.
    """
    fix = "write it out, or remove it"
    for split, lines in text.items():
        for line in lines:
            place = str(line.file), line.number
            if not any(map(str.isalnum, line.text)):
                message = "a sentence without a letter or digit, which nobody can say"
                yield Problem(*place, "error", message, fix)
            elif not speakable(line.text, language):
                message = "a sentence without a Latin letter or digit, which no voice can say"
                needless = split == "train" or recorded[split]
                yield Problem(*place, "warning" if needless else "error", message, fix)
