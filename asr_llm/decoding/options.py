"""How audio is decoded: one object, made where a request comes in and handed on whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from asr_llm.corpus.biasing_list import BiasingList

NUM_BEAMS = 4
"""Hypotheses kept while decoding: on `mini` a tenth fewer errors than greedy, in twice the time."""


@dataclass(frozen=True)
class DecodeOptions:
    """All that a text depends on but for the audio, the model, and the adapters loaded onto it.

    Args:
        adapters: names of the adapters in use, of those that were loaded; None: all of them.
        fusion: weight of the adapters of text, in place of their own; 0: they have no say.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        biasing: phrases to prefer, beside those that adapters in use bring; none of either with
            ``BiasingList((), 0.0)``.
        ctc_weight: weight of the CTC head among the hypotheses that several beams end with
            (``decoding.rescoring``); by default the checkpoint's ``ctc_weight``, or 0.
        confidence: give the words with their confidence; 3% of the time, and the same text.
        max_new_tokens: limit for each audio; by default ``prompts.max_tokens`` of its length.
        bf16: bfloat16 autocast; by default on CUDA only.
        drafts: let the CTC head draft what is decoded greedily, where there is one, nothing is
            preferred and it pays (``decoding.drafted``); the same text, faster.
        keep_encoded: give ``encoded``: rows of one tensor, which lives as long as any of them.
    """

    adapters: tuple[str, ...] | None = None
    fusion: float | None = None
    num_beams: int = NUM_BEAMS
    biasing: BiasingList | None = None
    ctc_weight: float | None = None
    confidence: bool = False
    max_new_tokens: int | None = None
    bf16: bool | None = None
    drafts: bool = True
    keep_encoded: bool = False

    @property
    def without_preferences(self) -> Self:
        """The same without list and adapters of text: what is heard alone."""
        return replace(self, fusion=0.0, biasing=BiasingList((), 0.0))
