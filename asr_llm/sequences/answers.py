"""A teacher's answers, and whether they are fit to learn from.

Behaviour imitation (arXiv 2505.18644) is as good as its teacher, and a small LLM often refuses,
repeats itself, or gives the text back.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from asr_llm.corpus.text.normalizers import normalize
from asr_llm.yaml_lines import Strict

Unfit = Literal["empty", "refusal", "repetition", "copy"]

_REFUSAL = re.compile(
    r"\W*(i('m| am)? (sorry|unable|afraid)|i apologi[sz]e|i (can ?not|can'?t|could not|couldn'?t)\b"
    r"|i (don'?t|do not) (have|know|understand)|as an ai\b|as a (large )?language model"
    r"|(sorry|unfortunately)\b|(could|can) you (please )?(provide|share|clarify)"
    r"|please (provide|share|upload|clarify)|how can i (help|assist))",
    re.IGNORECASE,
)
_RUN = 3  # words
_REPEATED = 0.3  # share of the runs of so many words that stand there more than once
_COPIED = 0.75  # of the words, in their order, shared with the transcript


class AnswerOptions(Strict):
    """How a teacher answers."""

    max_tokens: int = Field(48, gt=0, description="longer answers are learned up to there")
    temperature: float = Field(0.0, ge=0, description="0: the likeliest token each time")
    seed: int = Field(1, ge=0, description="of the draw, at a temperature above 0")


Teach = Callable[[Sequence[str], AnswerOptions, "str | None"], list[str]]
"""Answers messages, each a whole prompt in the chat's template. An answer holds the token that
ends it, unless it was cut at the limit. The last argument is the checkpoint that answers; None for
the model in training, as it was before."""


@dataclass(frozen=True)
class Judged:
    """Answers about ``data`` by prompt: how many were ``asked`` for and ``kept``; why not all."""

    data: str
    asked: Counter[str]
    kept: Counter[str]
    unfit: Counter[str]

    @property
    def share(self) -> float:
        """Of all answers, the share that was kept."""
        return self.kept.total() / max(self.asked.total(), 1)

    def record(self) -> dict[str, Any]:
        """Plain data for the run's ``answers.json``."""
        return {
            "data": self.data,
            "share": round(self.share, 4),
            "asked": dict(self.asked),
            "kept": dict(self.kept),
            "unfit": dict(self.unfit),
        }

    def __str__(self) -> str:
        prompts = ", ".join(f"{name} {self.kept[name]} of {n}" for name, n in self.asked.items())
        reasons = ", ".join(f"{reason} {n}" for reason, n in self.unfit.most_common())
        left = f"; left out: {reasons}" if reasons else ""
        return f"{self.data}: kept {self.share:.0%} of the teacher's answers ({prompts}{left})"


def unfit(answer: str, transcript: str) -> Unfit | None:
    """Why an answer about a transcript should not be learned; None if it should.

    It is empty where it has no word, a repetition where three in ten of its runs of three words
    stand there more than once, and a copy where three quarters of its words and the
    transcript's are the same in the same order.
    """
    words = normalize(answer, "basic").split()
    if not words:
        return "empty"
    if _REFUSAL.match(answer):
        return "refusal"
    runs = Counter(tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1))
    if sum(n for n in runs.values() if n > 1) > _REPEATED * runs.total():
        return "repetition"
    heard = normalize(transcript, "basic").split()
    alike = difflib.SequenceMatcher(a=words, b=heard, autojunk=False).ratio()
    return "copy" if alike >= _COPIED else None
