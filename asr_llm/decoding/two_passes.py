"""Two-pass decoding: what Whisper writes first, for the LLM to read and to rescore.

A first pass (``model.first_pass``) searches with as many beams as the LLM. The LLM is shown its
best text, and ``search`` adds all of them to the LLM's own. Biasing lists apply to the first pass
too: a term that it misses, the LLM rarely finds.

Legend: B audios, T samples at 16 kHz, S encoder states, H their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.guards import cut_loop
from asr_llm.decoding.phrases import Phrases

if TYPE_CHECKING:
    from asr_llm.model.first_pass import FirstPass

LOST = 15.0
"""Nats of Whisper's log-likelihood that a text with listed phrases may lack. A misheard term lacks
less; a phrase that nobody said, which the sum of what its tokens gain has put there, lacks more."""

FIRST_STRENGTH = 2.0
"""How much stronger lists are in the first pass: Whisper is surer of its words than the LLM
(eval/RESULTS.md#lists-in-the-first-pass)."""

STRONGEST = 5.0
"""Nats of a list in the first pass at most. With more, all beams fill with listed phrases, the
check against ``LOST`` rejects them, and what was listed is lost."""


@dataclass(frozen=True)
class FirstPassTexts:
    """The first pass over B audios.

    Args:
        shown: the text that the LLM is shown, if any.
        texts: all hypotheses, best first; empty without a first pass.
        states: Whisper's encoder states, (S, H) each.
        whisper: the model that wrote them.
        known: Whisper's log-likelihoods of texts computed so far.
    """

    shown: list[str | None]
    texts: list[list[str]] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    whisper: FirstPass | None = None
    known: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def of(
        cls, whisper: FirstPass, audios: list[np.ndarray], beams: int, phrases: Phrases | None
    ) -> FirstPassTexts:
        """Transcribe B audios, float32 (T,), with Whisper.

        Args:
            phrases: phrases to boost, in its tokens.
        """
        states = whisper.states(audios)
        texts = [_distinct(own) for own in whisper.n_best(states, beams)]
        known: list[dict[str, float]] = [{} for _ in audios]
        if phrases is not None:
            listed = whisper.n_best(states, beams, lambda: [Biasing(phrases)])
            both = [_distinct([*own, *plain]) for own, plain in zip(listed, texts)]
            likely = whisper.log_likelihoods(states, both)
            known = [dict(zip(*own)) for own in zip(both, likely)]
            texts = [_checked(own, of, plain[0]) for own, of, plain in zip(both, known, texts)]
        return cls([own[0] or None for own in texts], texts, states, whisper, known)

    def log_likelihoods(self, texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Whisper's log-likelihoods of texts of each audio; none is computed twice.

        Raises:
            ValueError: there was no first pass.
        """
        if self.whisper is None:
            raise ValueError("there was no first pass that could score a text")
        new = {
            i: fresh
            for i, own in enumerate(texts)
            if (fresh := [text for text in dict.fromkeys(own) if text not in self.known[i]])
        }
        found = self.whisper.log_likelihoods([self.states[i] for i in new], [*new.values()])
        for i, likely in zip(new, found):
            self.known[i].update(zip(new[i], likely))
        return [[of[t] for t in own] for own, of in zip(texts, self.known)]


def _distinct(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(map(cut_loop, texts)))


def _checked(texts: list[str], likely: dict[str, float], plain: str) -> list[str]:
    """The texts, the first that does not contradict the audio before the others."""
    best = next(text for text in texts if likely[plain] - likely[text] <= LOST)
    return _distinct([best, *texts])


def phrases(lists: Sequence[BiasingList], whisper: FirstPass) -> Phrases:
    """The trie of biasing lists in the tokens of a first pass."""
    nats = [min(own.nats * FIRST_STRENGTH, STRONGEST) for own in lists]
    stronger = [replace(own, strength=most) for own, most in zip(lists, nats)]
    return Phrases.of(stronger, whisper.hub_tokenizer, whisper.vocabulary)
