"""What has a say in the score of each next token, in order. A new one is a line in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.confidence import TokenProbabilities
from asr_llm.decoding.fusion import Fusion
from asr_llm.decoding.prompts import end_token

if TYPE_CHECKING:
    from transformers import LogitsProcessor

    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.decoding.phrases import Phrases
    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class Preferences:
    """What is preferred beside what is heard: ``DecodeOptions`` as they come to on one model.

    ``fusion``: the weights of adapters of text that are on the model, by their keys. ``phrases``:
    those of all lists.
    """

    fusion: dict[str, float] = field(default_factory=dict)
    phrases: Phrases | None = None

    @property
    def listed(self) -> bool:
        """Whether a list changes any score."""
        return self.phrases is not None and self.phrases.prefers

    def __bool__(self) -> bool:
        return self.listed or bool(self.fusion)


def processors(
    model: SpanSALM,
    options: DecodeOptions,
    preferences: Preferences = Preferences(),
    recorder: TokenProbabilities | None = None,
) -> list[LogitsProcessor]:
    """The logits processors of a batch, each of which sees what those before it made of the scores.

    Those that ask for nothing stay out. The limits of tokens come last, see ``generate``.

    Args:
        preferences: what ``options`` prefer, made ready for this model.
        recorder: is told the probabilities of tokens. An adapter of text has had its say by then;
            that a word is listed makes it no surer.
    """
    fusion, phrases = preferences.fusion, preferences.phrases
    found: list[LogitsProcessor | None] = [
        Fusion(model, fusion, end_token(model)) if fusion else None,
        recorder,
        Biasing(phrases) if phrases is not None and phrases.prefers else None,
    ]
    return [processor for processor in found if processor is not None]
