"""Decoding options: one object, created once per request and passed on unchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from asr_llm.corpus.terms.biasing_list import BiasingList

NUM_BEAMS = 4
"""Default beam size: on `mini` a tenth fewer errors than greedy, in twice the time."""


@dataclass(frozen=True)
class DecodeOptions:
    """Everything a text depends on besides the audio, the model and the loaded adapters.

    Args:
        adapters: names of the loaded adapters to use; None: all of them.
        fusion: weight of adapters trained on text, instead of their own; 0 disables fusion.
        num_beams: beam size; 1 is greedy.
        biasing: phrases to boost, in addition to those of active adapters. ``BiasingList((), 0.0)``
            disables both.
        ctc_weight: weight of the CTC head when rescoring the final hypotheses of a beam search
            (``decoding.rescoring``); default: the checkpoint's ``ctc_weight``, or 0.
        first_pass_weight: the same for the first pass, which scores them with Whisper's decoder;
            default: the checkpoint's ``first_pass_weight``, or 0.
        confidence: return words with confidence: 3% slower, same text.
        max_new_tokens: token limit per audio; default: ``prompts.max_tokens`` of its length.
        bf16: bfloat16 autocast; default: on CUDA only.
        drafts: let the CTC head draft greedy decoding if that pays off (``decoding.drafted``): same
            text, faster.
        first_pass: show the LLM the transcript of the full Whisper, if the checkpoint has one
            (``model.first_pass``).
        keep_encoded: return the encoder's output; its rows share one tensor, which lives as long as
            any of them.
    """

    adapters: tuple[str, ...] | None = None
    fusion: float | None = None
    num_beams: int = NUM_BEAMS
    biasing: BiasingList | None = None
    ctc_weight: float | None = None
    first_pass_weight: float | None = None
    confidence: bool = False
    max_new_tokens: int | None = None
    bf16: bool | None = None
    drafts: bool = True
    first_pass: bool = True
    keep_encoded: bool = False

    @property
    def without_preferences(self) -> Self:
        """The same options without fusion and biasing."""
        return replace(self, fusion=0.0, biasing=BiasingList((), 0.0))
