"""How audio is decoded: one object, made once for each request and passed down whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from asr_llm.corpus.biasing_list import BiasingList

NUM_BEAMS = 4
"""Hypotheses kept while decoding: on `mini` a tenth fewer errors than greedy, in twice the time."""


@dataclass(frozen=True)
class DecodeOptions:
    """Everything a text depends on besides the audio, the model and the loaded adapters.

    Args:
        adapters: names of the loaded adapters to use; None: all of them.
        fusion: weight of the adapters of text, in place of their own; 0 disables fusion.
        num_beams: hypotheses kept while decoding; 1 is greedy.
        biasing: phrases to prefer, in addition to those of the adapters in use.
            ``BiasingList((), 0.0)`` disables both.
        ctc_weight: weight of the CTC head when the final hypotheses of a beam search are rescored
            (``decoding.rescoring``); by default the checkpoint's ``ctc_weight``, or 0.
        first_pass_weight: the same for the first pass, which scores them as Whisper would; by
            default the checkpoint's ``first_pass_weight``, or 0.
        confidence: return words with their confidence: 3% slower, the same text.
        max_new_tokens: token limit for each audio; by default ``prompts.max_tokens`` of its length.
        bf16: bfloat16 autocast; by default on CUDA only.
        drafts: let the CTC head draft greedy decoding where that pays (``decoding.drafted``): the
            same text, faster.
        first_pass: show the LLM what the whole of Whisper writes, where the checkpoint brings one
            (``model.first_pass``).
        keep_encoded: return the encoder's output; its rows share one tensor, which lives as long
            as any of them.
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
        """The same without fusion and biasing."""
        return replace(self, fusion=0.0, biasing=BiasingList((), 0.0))
