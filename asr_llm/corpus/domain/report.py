"""The result of checking a domain folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr_llm.corpus.domain.files import Problem


@dataclass(frozen=True)
class CheckReport:
    """The contents of a domain folder, and its problems."""

    path: Path
    sentences: Mapping[str, int]
    """By split, text files and expanded templates together, duplicates dropped."""
    words: Mapping[str, int]
    """By split, white-space separated, of those sentences."""
    terms: Mapping[str, int]
    """By label."""
    recordings: Mapping[str, int]
    """By split, as listed; also those that are missing."""
    seconds: Mapping[str, float]
    """By split, of the recordings that are there."""
    comments: Mapping[str, int]
    """By file, lines that are left out because they begin with ``# ``."""
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """Problems that make the domain unusable."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """Problems that may make results worse or misleading."""
        return [problem for problem in self.problems if problem.severity == "warning"]
