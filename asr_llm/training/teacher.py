"""The LLM before training as a teacher: what it answers to written messages, kept on disk.

Answers are kept in the user's cache (kind ``answers``), by content: the folder is a hash of the
checkpoint whose LLM wrote them, the file one of the message and of how it was answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from torch import Tensor
from transformers import LogitsProcessor

from asr_llm.corpus.speech import cache
from asr_llm.decoding.generate import generate
from asr_llm.decoding.prompts import inference, splice
from asr_llm.errors import number_of
from asr_llm.files import write_text
from asr_llm.model import checkpoints
from asr_llm.sequences.answers import AnswerOptions
from asr_llm.sequences.spans import Text

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

KIND = "answers"
_AT_ONCE = 16  # messages
_TOLD = 200  # messages between two lines of a log


class Teacher:
    """Answers messages as an LLM does before training; see ``sequences.answers.Teach``.

    Args:
        base: the checkpoint that ``model`` was loaded from.
        model: in training; an adapter on its LLM is switched off meanwhile.
        say: called with a line on how much there is to write.
    """

    def __init__(self, base: Path, model: SpanSALM, say: Callable[[str], None] | None) -> None:
        self.base, self.model, self.say = base, model, say

    def __call__(
        self, messages: Sequence[str], options: AnswerOptions, teacher: str | None = None
    ) -> list[str]:
        """The answer to each message, from the cache or newly written.

        Raises:
            CheckpointError: the teacher does not load, or has no token that ends an answer.
            AsrLlmError: the cache cannot be written.
        """
        place = checkpoints.locate(teacher) if teacher else self.base
        own = cache.folder(KIND) / checkpoints.identity(place)[:16]
        own.mkdir(mode=0o700, exist_ok=True)
        paths = {message: own / f"{_key(message, options)}.txt" for message in messages}
        new = sorted((m for m, path in paths.items() if not path.is_file()), key=len)
        if new:
            self._tell(
                f"asking the LLM of {teacher or self.base.name} {number_of(len(new), 'question')}"
            )
            model = checkpoints.load(place) if teacher else self.model
            for i, (message, answer) in enumerate(_answers(model, new, options), start=1):
                write_text(paths[message], answer)
                if i % _TOLD == 0:
                    self._tell(f"answered {i} of {len(new)}")
        return [paths[message].read_text("utf-8") for message in messages]

    def _tell(self, line: str) -> None:
        if self.say is not None:
            self.say(line)


def _key(message: str, options: AnswerOptions) -> str:
    seed = options.seed if options.temperature else None
    facts = [message, options.max_tokens, options.temperature, seed]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _answers(
    model: SpanSALM, messages: Sequence[str], options: AnswerOptions
) -> Iterator[tuple[str, str]]:
    """(message, answer) of each; a complete answer includes its end token."""
    alone = model.llm.disable_adapter() if isinstance(model.llm, PeftModel) else nullcontext()
    with alone:
        for first in range(0, len(messages), _AT_ONCE):
            some = messages[first : first + _AT_ONCE]
            drawn = [Drawn(some, options)] if options.temperature else []
            with inference(model):
                spliced = splice(model, [(Text(message),) for message in some])
                said = generate(model, spliced, [options.max_tokens] * len(some), 1, drawn)
            for message, one in zip(some, said):
                text = model.tokenizer.tokenizer.decode(
                    list(one.ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                yield message, text.strip() + (model.chat.end if one.complete else "")


class Drawn(LogitsProcessor):  # type: ignore[misc]
    """Sampling by the Gumbel-max trick: the likeliest token under this noise is a draw.

    Each row's noise depends only on its message and the seed, not on the rest of the batch.
    """

    def __init__(self, messages: Sequence[str], options: AnswerOptions) -> None:
        self.temperature = options.temperature
        self.generators = [
            torch.Generator().manual_seed(_seed(f"{options.seed}\n{message}"))
            for message in messages
        ]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) at the temperature, with noise."""
        uniform = torch.stack([torch.rand(scores.shape[1], generator=g) for g in self.generators])
        gumbel = -(-uniform.clamp(min=1e-20).log()).log()
        return scores / self.temperature + gumbel.to(scores)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
