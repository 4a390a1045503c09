"""The search: from spliced prompts to the best hypothesis of each.

Greedy with drafts where no processor changes the LLM's scores and nothing rescores its text;
otherwise by beams. After a first pass (``two_passes``), Whisper's texts join the LLM's own, with
the scores that the LLM's search would have given them, fusion and biasing included; ``rescoring``
chooses.

Legend: B audios, K hypotheses of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from asr_llm.decoding.confidence import TokenProbabilities
from asr_llm.decoding.drafted import Draft, Letters, can_draft, ctc_drafts, write
from asr_llm.decoding.generate import n_best, prefill
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
    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced


def search(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    options: DecodeOptions,
    preferences: Preferences,
    first: FirstPassTexts,
) -> list[Hypothesis]:
    """The best hypothesis for each of B prompts; call within ``prompts.inference``.

    Args:
        spliced: from ``prompts.splice``.
        limits: token limit of each text, including the end token.
        preferences: ``options`` resolved for this model.
        first: what the first pass wrote.

    Raises:
        CheckpointError: see ``prompts.end_token`` and ``rescoring.Weights``.
    """
    beams, end = options.num_beams, end_token(model)
    recorder = TokenProbabilities(beams) if options.confidence else None
    steered = processors(model, options, preferences, recorder)
    judges = _judges(model, spliced, first, options) if beams > 1 or first.texts else []
    if not judges:
        if beams == 1 and all(processor is recorder for processor in steered):
            return _greedy(model, spliced, limits, end, options, first.shown)
        found = [own[0] for own in n_best(model, spliced, limits, beams, steered)]
        return _recorded(found, recorder, range(len(found)))
    read = prefill(model, spliced)
    several: list[list[Hypothesis]] = [[] for _ in limits]
    totals: list[list[float]] = [[] for _ in limits]
    added = [one for one in steered if isinstance(one, Preference)]
    if first.texts:
        several, totals = given(model, spliced, read, first.texts, added)
    # Where the LLM finds the first pass likely, it would hardly write another text.
    accept = accepted(model)
    unsure = [i for i, own in enumerate(zip(several, totals)) if not _accepts(accept, *own)]
    if unsure:
        rows = torch.tensor(unsure, device=model.device)
        read.batch_select_indices(rows)
        part, some = spliced.select(rows), [limits[i] for i in unsure]
        scores = SearchScores(beams, end)
        own = n_best(model, part, some, beams, [*steered, scores] if beams > 1 else steered, read)
        if beams > 1:
            theirs = scores.totals(own)
        else:  # transformers' greedy search has logits, which are no log-probabilities
            tokens = [[one.ids for one in texts] for texts in own]
            _, theirs = scored(model, part, read, tokens, added)
        for i, hypotheses, searched in zip(unsure, own, theirs):
            several[i], totals[i] = [*hypotheses, *several[i]], [*searched, *totals[i]]
    return _recorded(rescored(model, several, totals, judges), recorder, unsure)


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
