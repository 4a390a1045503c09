"""Base classes of all sources, and of those made of written sentences."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from pydantic import Field

from asr_llm.sequences.examples import Examples, Item
from asr_llm.sequences.sources.data import Data, Folders
from asr_llm.sequences.spans import SpanSequence
from asr_llm.sequences.tasks import Chat
from asr_llm.yaml_lines import Strict

CHARACTERS_PER_TOKEN = 3.0  # rough; only used to make batches of similar cost
PROMPT_TOKENS = 16


class BaseSource(Strict):
    """Where examples come from and how they are built."""

    task: str
    data: str = Field(
        description="'domain' (the folder given on the command line), 'replay' (the general "
        "speech that comes with the base model, or 'replay:' of the recipe), a domain folder, a "
        "text file (one sentence a line), a question file (.jsonl), a manifest of recordings, a "
        "Shar folder of them ('asr-llm corpus shar'), or for 'insert' a folder of .txt files"
    )
    weight: float = Field(1.0, gt=0, description="share of the examples in the mix")

    def check(self, folders: Folders) -> None:
        """Check what can be seen of the data at once, before a model is loaded.

        Raises:
            RecipeError: the data it names is absent.
            DomainError: the data is not what its task needs.
        """
        folders.find(self.data)

    @abstractmethod
    def examples(self, chat: Chat, folders: Folders) -> Examples | None:
        """The examples this source stands for; None where an optional one has no data.

        Raises:
            RecipeError: the data it names is absent or unfit for its task.
            DomainError: the data is malformed or empty.
        """


class OptionalSource(BaseSource):
    """A source that is skipped if a domain has no such data."""

    optional: bool = Field(False, description="skip this source if there is no such data")

    def examples(self, chat: Chat, folders: Folders) -> Examples | None:
        """As ``BaseSource.examples`` says."""
        data = folders.find(self.data)
        if self.optional and data.folder is not None and not self.found_in(data):
            return None
        return self.build(data, chat)

    def found_in(self, data: Data) -> bool:
        """Whether a domain folder has the data for this source."""
        return data.has_text

    @abstractmethod
    def build(self, data: Data, chat: Chat) -> Examples:
        """The examples made of this data."""


class WrittenSource(OptionalSource):
    """Examples made of one sentence each; a task defines their form."""

    def build(self, data: Data, chat: Chat) -> Examples:
        """One example for each sentence, long ones in pieces."""
        lines = data.sentences(self.task)

        def item(i: int) -> Item:
            tokens = len(lines[i]) / CHARACTERS_PER_TOKEN
            return Item(self.cost(tokens), lambda rng: self.sequence(lines[i], chat, rng))

        return Examples(len(lines), self.weight, item)

    @abstractmethod
    def sequence(self, text: str, chat: Chat, rng: np.random.Generator) -> SpanSequence:
        """The spans of one example."""

    def cost(self, tokens: float) -> float:
        """Approximate decoder positions of a sentence that is in both prompt and answer."""
        return 2 * tokens + PROMPT_TOKENS
