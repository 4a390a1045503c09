"""Two passes: Whisper writes first, the LLM reads it and writes too, both judge what all wrote.

A first pass (``model.first_pass``) searches with the same beams as the LLM. Its texts are
hypotheses beside the LLM's own, with the scores that the LLM's search would have given them, fusion
and biasing included; ``rescoring`` chooses. Lists are preferred in the first pass too: a term that
it misses, the LLM hardly finds.

Legend: B audios, T samples at 16 kHz, S encoder states, H their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.biasing import Biasing
from asr_llm.decoding.generate import generate, n_best, prefill
from asr_llm.decoding.guards import cut_loop
from asr_llm.decoding.phrases import Phrases
from asr_llm.decoding.preference import Preference
from asr_llm.decoding.prompts import end_token
from asr_llm.decoding.rescoring import (
    Judge,
    SearchScores,
    Weights,
    accepted,
    ctc_judge,
    given,
    rescored,
    scored,
)
from asr_llm.decoding.results import Hypothesis

if TYPE_CHECKING:
    from transformers import LogitsProcessor

    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.model.first_pass import FirstPass
    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced

LOST = 15.0
"""Nats of Whisper's log-likelihood that a text with listed phrases may lack. A misheard term lacks
less; a phrase that nobody said, which the sum of what its tokens gain has put there, lacks more."""

FIRST_STRENGTH = 2.0
"""How much stronger lists are in the first pass: Whisper is surer of its words than the LLM
(eval/RESULTS.md#lists-in-the-first-pass)."""


@dataclass(frozen=True)
class FirstPassTexts:
    """Of each of B audios what a first pass wrote.

    Args:
        shown: what the LLM is shown of it.
        texts: all hypotheses, best first; no list where there is no first pass.
        states: what they were written from, (S, H) each.
        whisper: what wrote them.
        known: Whisper's log-likelihoods of texts, as far as they were asked for.
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
        """What Whisper writes of B audios, float32 (T,).

        Args:
            phrases: what to prefer, in its tokens.
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
    """The texts, with the best one without lists first where lists went against what is heard."""
    lost = likely[plain] - likely[texts[0]]
    return texts if lost <= LOST else _distinct([plain, *texts])


def phrases(lists: Sequence[BiasingList], whisper: FirstPass) -> Phrases:
    """The trie of biasing lists in the tokens of a first pass."""
    stronger = [replace(own, strength=own.nats * FIRST_STRENGTH) for own in lists]
    return Phrases.of(stronger, whisper.hub_tokenizer, whisper.vocabulary)


def search(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    steered: Sequence[LogitsProcessor],
    first: FirstPassTexts,
    options: DecodeOptions,
) -> tuple[list[Hypothesis], list[int]]:
    """The best hypothesis for each of B prompts, and which of them the LLM searched for.

    Args:
        limits: token limit of each text, counting the end token.
        steered: the logits processors of the LLM's search.
    """
    judges = _judges(model, spliced, first, options)
    if not judges or (options.num_beams == 1 and not first.texts):
        found = generate(model, spliced, limits, options.num_beams, steered)
        return found, list(range(len(limits)))
    read, accept = prefill(model, spliced), accepted(model)
    several: list[list[Hypothesis]] = [[] for _ in limits]
    totals: list[list[float]] = [[] for _ in limits]
    added = [one for one in steered if isinstance(one, Preference)]
    if first.texts:
        several, totals = given(model, spliced, read, first.texts, added)
    # Where the LLM finds the first pass likely, it would hardly write another text.
    unsure = [i for i, own in enumerate(several) if not own or _log_prob(own[0]) < accept]
    if unsure:
        rows = torch.tensor(unsure, device=model.device)
        read.batch_select_indices(rows)
        part, some, beams = spliced.select(rows), [limits[i] for i in unsure], options.num_beams
        scores = SearchScores(beams, end_token(model))
        own = n_best(model, part, some, beams, [*steered, scores] if beams > 1 else steered, read)
        if beams > 1:
            theirs = scores.totals(own)
        else:  # transformers' greedy search has logits, which are no log-probabilities
            tokens = [[one.ids for one in texts] for texts in own]
            _, theirs = scored(model, part, read, tokens, added)
        for i, hypotheses, searched in zip(unsure, own, theirs):
            several[i], totals[i] = [*hypotheses, *several[i]], [*searched, *totals[i]]
    return rescored(model, several, totals, judges), unsure


def judged(model: SpanSALM, options: DecodeOptions) -> bool:
    """Whether anything rescores the hypotheses of a first pass.

    Raises:
        CheckpointError: see ``Weights.of``.
    """
    weights = Weights.of(model, options.ctc_weight, options.first_pass_weight)
    return bool(weights.ctc or weights.first_pass)


def _log_prob(text: Hypothesis) -> float:
    """By the LLM; an empty text is never taken on trust."""
    return sum(text.log_probs) if text.ids else -np.inf


def _judges(
    model: SpanSALM, spliced: Spliced, first: FirstPassTexts, options: DecodeOptions
) -> list[tuple[float, Judge]]:
    """Those who choose among the final hypotheses, with their weights."""
    weights = Weights.of(model, options.ctc_weight, options.first_pass_weight)
    judges: list[tuple[float, Judge]] = []
    if weights.ctc:
        judges.append((weights.ctc, ctc_judge(model, spliced)))
    if weights.first_pass and first.whisper is not None:
        judges.append((weights.first_pass, first.log_likelihoods))
    return judges
