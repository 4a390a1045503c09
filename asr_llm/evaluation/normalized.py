"""Normalised texts, cached.

Each reference is compared with the hypotheses of every system, and words, mentions and bags each
need both sides normalised. Normalising costs more than the rest of scoring; here each text is
normalised once, as long as an utterance is scored in all systems before the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from asr_llm.corpus.text import normalizers as plain
from asr_llm.corpus.text.normalizers import Normalizer

_SHORT = 100  # characters: terms and phrases, which recur often


def normalize(text: str, normalizer: Normalizer = "none") -> str:
    """Like ``corpus.text.normalizers.normalize``."""
    if normalizer == "none":
        return text
    return _short(text, normalizer) if len(text) <= _SHORT else _long(text, normalizer)


@dataclass(frozen=True)
class TextPair:
    """A reference, a hypothesis for it, and what they are normalised by before they are compared.

    Args:
        normalizer: ``none`` compares them as written.
        heard_by: the hypothesis's own, where that is another one.
    """

    reference: str
    hypothesis: str
    normalizer: Normalizer = "none"
    heard_by: Normalizer | None = None

    @property
    def said(self) -> str:
        """The reference, normalised."""
        return normalize(self.reference, self.normalizer)

    @property
    def heard(self) -> str:
        """The hypothesis, normalised."""
        return normalize(
            self.hypothesis, self.normalizer if self.heard_by is None else self.heard_by
        )


@lru_cache(maxsize=8)
def groups(text: str, normalizer: Normalizer = "none") -> list[tuple[range, range]]:
    """Like ``corpus.text.normalizers.groups``."""
    if normalizer == "none":  # each word is unchanged
        return [(range(i, i + 1), range(i, i + 1)) for i in range(len(text.split()))]
    return plain.groups(text, normalizer)


@lru_cache(maxsize=20_000)
def _short(text: str, normalizer: Normalizer) -> str:
    return plain.normalize(text, normalizer)


@lru_cache(maxsize=128)  # one utterance in a hundred systems; an hour's text has 50 kB
def _long(text: str, normalizer: Normalizer) -> str:
    return plain.normalize(text, normalizer)
