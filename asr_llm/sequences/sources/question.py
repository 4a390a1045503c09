"""Written questions about a written passage, read from a file of JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from asr_llm.errors import DomainError
from asr_llm.sequences import tasks
from asr_llm.sequences.examples import Examples, Item
from asr_llm.sequences.sources.base import CHARACTERS_PER_TOKEN, PROMPT_TOKENS, BaseSource
from asr_llm.sequences.sources.data import Folders, read_lines
from asr_llm.sequences.tasks import Chat


class QuestionSource(BaseSource):
    """Text(passage and question) Text(answer)*."""

    task: Literal["question"] = "question"

    def examples(self, chat: Chat, folders: Folders) -> Examples:
        """One example per question.

        Raises:
            DomainError: a line is not a question, or there is none.
        """
        rows = _read_questions(Path(self.data))

        def item(i: int) -> Item:
            row = rows[i]
            cost = sum(map(len, row.values())) / CHARACTERS_PER_TOKEN + PROMPT_TOKENS
            return Item(
                cost,
                lambda rng: tasks.question(row["passage"], row["question"], row["answer"], chat),
            )

        return Examples(len(rows), self.weight, item)


def _read_questions(path: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = json.loads(line)
            rows.append({key: str(row[key]) for key in ("passage", "question", "answer")})
        except (ValueError, KeyError, TypeError) as error:
            raise DomainError(
                f"{path}:{number}: expected a JSON object with passage, question and answer; "
                f"found a line without ({error})"
            ) from error
    if not rows:
        raise DomainError(f"{path}: no questions; expected a JSON object in each line")
    return rows
