"""What fusion and biasing have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from transformers import LogitsProcessor


class Preference(LogitsProcessor):
    """A logits processor that adds to scores by what is written alone, not by what is heard.

    So it can also tell what it would have added to a text that another recogniser wrote.
    """

    @abstractmethod
    def gains(self, texts: Sequence[Sequence[int]], end: int) -> list[float]:
        """What it adds to the score of each of N whole texts, of tokens, with the end token."""
