"""Sources of training examples: one class per task, with its own keys and builder.

A recipe's ``sources`` is a list of these; ``task`` selects the class. To add a task, write its
class in its own file and add it to ``Source`` below (docs/adding-a-task.md).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from asr_llm.sequences.sources.asr import AsrSource
from asr_llm.sequences.sources.data import Folders
from asr_llm.sequences.sources.denoise import DenoiseSource
from asr_llm.sequences.sources.imitate import ImitateSource
from asr_llm.sequences.sources.insert import InsertSource
from asr_llm.sequences.sources.interleave import InterleaveSource
from asr_llm.sequences.sources.misheard import MisheardSource
from asr_llm.sequences.sources.question import QuestionSource
from asr_llm.sequences.sources.restore import RestoreSource
from asr_llm.sequences.sources.speech import SpeechSource, untimed
from asr_llm.sequences.sources.text import TextSource
from asr_llm.sequences.sources.word_synchronous import WordSynchronousSource

Source = Annotated[
    AsrSource
    | WordSynchronousSource
    | InterleaveSource
    | InsertSource
    | ImitateSource
    | TextSource
    | DenoiseSource
    | RestoreSource
    | MisheardSource
    | QuestionSource,
    Field(discriminator="task"),
]

__all__ = [
    "AsrSource",
    "DenoiseSource",
    "Folders",
    "ImitateSource",
    "InsertSource",
    "InterleaveSource",
    "MisheardSource",
    "QuestionSource",
    "RestoreSource",
    "Source",
    "SpeechSource",
    "TextSource",
    "WordSynchronousSource",
    "untimed",
]
