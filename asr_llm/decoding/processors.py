"""The logits processors, in order. To add one, add a line to ``processors``
(docs/adding-a-logits-processor.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.confidence import TokenProbabilities
from asr_llm.decoding.fusion import Fusion
from asr_llm.decoding.prompts import end_token

if TYPE_CHECKING:
    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.decoding.phrases import Phrases
    from asr_llm.decoding.preference import Preference
    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class Preferences:
    """Fusion and biasing: ``DecodeOptions`` resolved for one model.

    ``fusion``: the weights of the adapters of text in use, by their keys in PEFT. ``phrases``: one
    trie of all lists; ``first_phrases``: the same in the tokens of the first pass.
    """

    fusion: dict[str, float] = field(default_factory=dict)
    phrases: Phrases | None = None
    first_phrases: Phrases | None = None

    @property
    def listed(self) -> bool:
        """Whether a biasing list changes any score."""
        return self.phrases is not None and self.phrases.prefers

    def __bool__(self) -> bool:
        return self.listed or bool(self.fusion)


def processors(
    model: SpanSALM,
    options: DecodeOptions,
    preferences: Preferences = Preferences(),
    recorder: TokenProbabilities | None = None,
) -> list[Preference | TokenProbabilities]:
    """The logits processors of a batch. Each sees the scores as changed by those before it.

    Those without effect are omitted. ``generate`` adds the token limits at the end.

    Args:
        preferences: ``options`` resolved for this model.
        recorder: records token probabilities. It comes after fusion, which improves calibration,
            and before biasing, because listing a word is no evidence that it was said.
    """
    fusion, phrases = preferences.fusion, preferences.phrases
    found: list[Preference | TokenProbabilities | None] = [
        Fusion(model, fusion, end_token(model)) if fusion else None,
        recorder,
        Biasing(phrases) if phrases is not None and phrases.prefers else None,
    ]
    return [processor for processor in found if processor is not None]
