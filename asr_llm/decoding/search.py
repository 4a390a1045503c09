"""What the LLM is to search for, and the best hypothesis of each spliced prompt.

Greedy with drafts where no processor changes the LLM's scores and nothing rescores its text;
otherwise by beams. After a first pass (``two_passes``), Whisper's texts join the LLM's own, with
the scores that the LLM's search would have given them, fusion and biasing included; ``rescoring``
chooses.

Legend: B audios, K hypotheses of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from asr_llm.decoding.confidence import TokenProbabilities
from asr_llm.decoding.drafted import Draft, Letters, can_draft, ctc_drafts, write
from asr_llm.decoding.generate import prefill
from asr_llm.decoding.preference import Preference
from asr_llm.decoding.processors import Preferences, processors
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
from asr_llm.decoding.two_passes import FirstPassTexts
from asr_llm.model import int8

if TYPE_CHECKING:
    from transformers import DynamicCache

    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced


class Request(NamedTuple):
    """What ``generate.n_best`` is asked for, in the order of its parameters."""

    spliced: Spliced
    limits: list[int]
    num_beams: int
    processors: list[Any]
    read: DynamicCache | None = None


class Search:
    """The search for the best hypothesis of each of B prompts; within ``prompts.inference``.

        search = Search(model, spliced, ...)
        if search.request:
            search.add(n_best(model, *search.request))
        search.best()

    Args:
        spliced: from ``prompts.splice``.
        limits: token limit of each text, including the end token.
        preferences: ``options`` resolved for this model.
        first: what the first pass wrote.

    Raises:
        CheckpointError: see ``prompts.end_token`` and ``rescoring.Weights``.
    """

    def __init__(
        self,
        model: SpanSALM,
        spliced: Spliced,
        limits: list[int],
        options: DecodeOptions,
        preferences: Preferences,
        first: FirstPassTexts,
    ) -> None:
        self.model, self.spliced, self.limits = model, spliced, limits
        self.options, self.first, self.beams = options, first, options.num_beams
        self.recorder = TokenProbabilities(self.beams) if options.confidence else None
        self._scores = SearchScores(self.beams, end_token(model))
        self.processors = processors(model, options, preferences, self.recorder)
        several = self.beams > 1 or first.texts
        self.judges = _judges(model, spliced, first, options) if several else []
        self.found: list[list[Hypothesis]] = [[] for _ in limits]
        self.totals: list[list[float]] = [[] for _ in limits]
        self.searched = list(range(len(limits)))  # the prompts for which the LLM searches
        self.request: Request | None = None
        if self.judges:
            self._score_the_first_pass()
        elif not self.greedy:
            self.request = Request(spliced, limits, self.beams, self.processors)

    @property
    def greedy(self) -> bool:
        """Whether no processor changes the LLM's scores and nothing rescores its one text."""
        unchanged = all(processor is self.recorder for processor in self.processors)
        return self.beams == 1 and not self.judges and unchanged

    def add(self, own: list[list[Hypothesis]]) -> None:
        """Put hypotheses of the LLM's own search, best first, before those of the first pass."""
        for i, hypotheses, scores in zip(self.searched, own, self._scored(own)):
            self.found[i], self.totals[i] = hypotheses + self.found[i], scores + self.totals[i]

    def best(self) -> list[Hypothesis]:
        """The best hypotheses by the judges, or by the search alone; greedy ones with drafts."""
        if self.greedy:
            end, shown = end_token(self.model), self.first.shown
            return _greedy(self.model, self.spliced, self.limits, end, self.options, shown)
        if self.judges:
            chosen = rescored(self.model, self.found, self.totals, self.judges)
        else:
            chosen = [own[0] for own in self.found]
        return _recorded(chosen, self.recorder, self.searched)

    def _score_the_first_pass(self) -> None:
        """Score the first pass's texts by the LLM, which is to search where it finds none likely.

        Where it finds one likely, it would hardly write another.
        """
        read = prefill(self.model, self.spliced)
        if self.first.texts:
            self.found, self.totals = given(
                self.model, self.spliced, read, self.first.texts, self._added
            )
        least = accepted(self.model)
        heard = enumerate(zip(self.found, self.totals))
        self.searched = [i for i, own in heard if not _accepts(least, *own)]
        if self.searched:
            rows = torch.tensor(self.searched, device=self.model.device)
            read.batch_select_indices(rows)
            part, limits = self.spliced.select(rows), [self.limits[i] for i in self.searched]
            steered = [*self.processors, self._scores] if self.beams > 1 else self.processors
            self.request = Request(part, limits, self.beams, steered, read)

    def _scored(self, own: list[list[Hypothesis]]) -> list[list[float]]:
        """The search's score of each hypothesis that it found; without judges, none is needed."""
        if self.request is None or self.request.read is None:
            return [[0.0] * len(texts) for texts in own]
        if self.beams > 1:
            return self._scores.totals(own)
        # transformers' greedy search has logits, which are no log-probabilities
        tokens = [[one.ids for one in texts] for texts in own]
        return scored(self.model, self.request.spliced, self.request.read, tokens, self._added)[1]

    @property
    def _added(self) -> list[Preference]:
        return [one for one in self.processors if isinstance(one, Preference)]


def _greedy(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    end: int,
    options: DecodeOptions,
    first_pass: list[str | None],
) -> list[Hypothesis]:
    """With drafts, where they pay; in 8 bits text by text, see ``model.clipwise``."""
    at_once = 1 if int8.used(model.llm) else len(limits)
    drafts: list[Draft] | None = None
    if options.drafts and can_draft(model, at_once):
        drafts = _drafts(model, spliced, end, first_pass)
    found: list[Hypothesis] = []
    for start in range(0, len(limits), at_once):
        own = slice(start, start + at_once)
        prompts = spliced.select(torch.arange(len(limits), device=model.device)[own]).trimmed()
        some = None if drafts is None else drafts[own]
        found += write(model, prompts, limits[own], end, some, options.confidence)
    return found


def _drafts(
    model: SpanSALM, spliced: Spliced, end: int, first_pass: list[str | None]
) -> list[Draft]:
    """The first pass where there is one, which is near to what will be written; else CTC's."""
    if None in first_pass:
        return ctc_drafts(model, spliced, end)
    letters = Letters(model.tokenizer.tokenizer)
    return [Draft(text or "", letters, end) for text in first_pass]


def _accepts(least: float, texts: list[Hypothesis], scores: list[float]) -> bool:
    """Whether the LLM finds the best text likely enough, and no processor forbids any of it.

    An empty text is never taken on trust.
    """
    if not texts or not texts[0].ids or scores[0] == -np.inf:
        return False
    return sum(texts[0].log_probs) >= least


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


def _recorded(
    found: list[Hypothesis], recorder: TokenProbabilities | None, searched: Sequence[int]
) -> list[Hypothesis]:
    """The same hypotheses, those that the LLM searched for with their token probabilities."""
    if recorder is None or not searched:
        return found
    for i, sure in zip(searched, recorder.of([found[i].ids for i in searched])):
        if not found[i].log_probs:
            found[i] = replace(found[i], log_probs=tuple(sure))
    return found
