"""Whether a text covers what the CTC head hears: a model may stop before the speaker does.

Whisper's decoder, and an LLM that copies it, sometimes ends after the first of several sentences.
The CTC head cannot: it decides frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr_llm.decoding.drafted import ctc_text

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced

_SURE = 0.5  # mean probability of its letters, below which a head hears nothing in particular
# Of the letters that are heard. On people and test sets the head hears at most 1.33 times what is
# said (eval/RESULTS.md), so less than 0.6 is no matter of spelling.
_LEAST_SHARE, _MOST_MISSING = 0.6, 16
_DIGIT = 5  # letters in which a digit is said, or more


def letters_heard(model: SpanSALM, spliced: Spliced) -> list[int]:
    """How many letters the CTC head hears in each of B audios; 0 if it is unsure."""
    lengths = spliced.encoded_lens.tolist()
    if model.ctc_head is None:
        return [0] * len(lengths)
    found = []
    for frames, count in zip(model.ctc_log_probs(spliced.encoded), lengths):
        best = frames[:count].float().max(-1)
        spoken = best.indices != model.ctc_blank_id
        sure = bool(spoken.any()) and float(best.values[spoken].exp().mean()) >= _SURE
        found.append(_letters(ctc_text(model, best.indices)) if sure else 0)
    return found


def stops_early(text: str, heard: int) -> bool:
    """Whether a text lacks most of the letters that are heard."""
    written = _letters(text)
    return written < _LEAST_SHARE * heard and heard - written >= _MOST_MISSING


def _letters(text: str) -> int:
    return sum(_DIGIT if c.isdigit() else c.isalnum() for c in text)
