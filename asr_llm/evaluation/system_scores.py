"""Figures of one system in `scores.json`: pooled counts with rates and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

from asr_llm.evaluation.blocks import Bootstrap
from asr_llm.evaluation.entity_scores import entity_scores
from asr_llm.evaluation.figures import counted, missed, safety_counted, term_counted
from asr_llm.evaluation.measured import Measured
from asr_llm.evaluation.recordings import by_recording, means
from asr_llm.evaluation.safety import summary
from asr_llm.evaluation.words import WordErrors


def system_scores(
    measured: Measured, drawn: Bootstrap, recordings: Mapping[str, str]
) -> dict[str, Any]:
    """All figures of a system; ``recordings`` has the recording of each utterance."""
    rows = by_recording(measured, recordings)
    return _figures(measured, drawn) | {"mean_over_recordings": means(rows), "by_recording": rows}


def _figures(measured: Measured, drawn: Bootstrap) -> dict[str, Any]:
    scores: dict[str, Any] = {
        name: word_scores(errors, drawn)
        for name, errors in (("wer", measured.words), ("cer", measured.characters))
    }
    if measured.entities:
        scores["entities"] = {
            text: entity_scores(measured, text) | drawn.interval(missed(measured, text))
            for text in measured.entities
        }
        for text, found in scores["entities"].items():
            found["term_wer"] |= drawn.interval(term_counted(measured, text))
            for label, one in found["by_label"].items():
                one |= drawn.interval(missed(measured, text, label))
    if measured.safety:
        found = summary(chain.from_iterable(measured.safety.values()))
        scores["safety"] = found | drawn.interval(safety_counted(measured))
    if measured.biasing:
        scores["biasing"] = {
            side: _rate(sum(errors.values(), start=WordErrors())) | drawn.interval(counted(errors))
            for side, errors in measured.biasing.items()
        }
    return scores


def word_scores(
    errors: Mapping[str, Mapping[str, WordErrors]], drawn: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Word or character errors on raw and normalised text, with intervals."""
    return {
        text: counts | drawn.interval(counted(errors[text]))
        for text, counts in _pooled(errors).items()
    }


def _pooled(errors: Mapping[str, Mapping[str, WordErrors]]) -> dict[str, dict[str, Any]]:
    pooled = {}
    for text, by_utterance in errors.items():
        total = sum(by_utterance.values(), start=WordErrors())
        pooled[text] = _rate(total) | asdict(total)
    return pooled


def _rate(total: WordErrors) -> dict[str, Any]:
    rate = total.rate if total.words else None
    return {"rate": rate, "errors": total.errors, "words": total.words}
