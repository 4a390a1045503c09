"""The figures used for ranking and comparison, as counts per utterance.

A figure is ``wer``, ``cer``, ``eer``, ``term-wer``, ``mean-wer`` or ``safety``; ``-raw`` selects
unnormalised text; ``eer:DRUG`` and ``term-wer:DRUG`` select one label. All are errors over a size,
so pooling, intervals and differences work the same for each; lower is better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import MentionOutcome
from asr_llm.evaluation.measured import Measured
from asr_llm.evaluation.words import WordErrors

Counts = Mapping[str, tuple[float, float]]
"""Utterance id → errors, and their denominator."""

FIGURES = {
    "wer": "word errors per word, pooled",
    "cer": "character errors per character, pooled",
    "eer": "terms not found",
    "term-wer": "errors on the words of terms",
    "mean-wer": "mean of the WER of each recording",
    "safety": "safety words lost or reversed",
}


_HEADINGS = {
    "wer": "WER",
    "cer": "CER",
    "eer": "EER",
    "term-wer": "T-WER",
    "mean-wer": "mean WER",
    "safety": "safety",
}


def heading_of(figure: str) -> str:
    """Table heading of a figure: ``T-WER raw`` for ``term-wer-raw``."""
    name, _, label = figure.partition(":")
    raw = " raw" if name.endswith("-raw") else ""
    heading = _HEADINGS[name.removesuffix("-raw")] + raw
    return f"{heading} {label}" if label else heading


def spelled(figure: str, measured: Measured) -> str:
    """Return the canonical name of a figure, whatever case the user typed: ``eer:DRUG``.

    Raises:
        ScoreError: there is no such figure, or it was not measured.
    """
    name, _, label = figure.strip().partition(":")
    name = name.lower().replace("_", "-")
    name = {"t-wer": "term-wer", "t-wer-raw": "term-wer-raw"}.get(name, name)
    label = label.strip()
    if label and measured.entities:
        labels = sorted(_labels(measured))
        alike = [one for one in labels if one.casefold() == label.casefold()]
        if label not in labels and len(alike) == 1:
            label = alike[0]
    figure = f"{name}:{label}" if label else name
    _check(measured, figure)
    return figure


def counts_of(measured: Measured, figure: str, recordings: Mapping[str, str]) -> Counts:
    """Return a figure's errors and size by utterance.

    ``recordings`` has the recording of each utterance. For ``mean-wer``, a recording's rate (of
    size 1) is stored at its first utterance.

    Raises:
        ScoreError: there is no such figure, or it was not measured.
    """
    name, _, label = figure.partition(":")
    kind = name.removesuffix("-raw")
    text = "raw" if name.endswith("-raw") else "normalized"
    _check(measured, figure)
    if kind in ("wer", "cer"):
        return counted((measured.words if kind == "wer" else measured.characters)[text])
    if kind == "mean-wer":
        return _rates(measured.words[text], recordings)
    if kind == "safety":
        return safety_counted(measured)
    if kind == "term-wer":
        return term_counted(measured, text, label)
    return missed(measured, text, label)


def missed(measured: Measured, text: str, label: str = "") -> Counts:
    """Mentions not found, and all mentions; for one label or all."""
    return {
        i: (sum(not r.found for r in found), len(found))
        for i, results in measured.entities[text].items()
        for found in [_of(results, label)]
    }


def term_counted(measured: Measured, text: str, label: str = "") -> Counts:
    """Substituted and deleted words of terms, and all words of terms; for one label or all."""
    return {
        i: (
            sum(r.words.substitutions + r.words.deletions for r in found),
            sum(r.words.words for r in found),
        )
        for i, results in measured.entities[text].items()
        for found in [_of(results, label)]
    }


def _of(results: Sequence[MentionOutcome], label: str) -> list[MentionOutcome]:
    return [r for r in results if r.mention.label == label] if label else list(results)


def safety_counted(measured: Measured) -> Counts:
    """Safety words lost or reversed, and all that were said."""
    return {
        i: (
            sum(o.status in ("lost", "turned") for o in found),
            sum(o.status != "added" for o in found),
        )
        for i, found in measured.safety.items()
    }


def counted(errors: Mapping[str, WordErrors]) -> Counts:
    """Errors and reference words."""
    return {i: (e.errors, e.words) for i, e in errors.items()}


def _rates(errors: Mapping[str, WordErrors], recordings: Mapping[str, str]) -> Counts:
    pooled: dict[str, WordErrors] = defaultdict(WordErrors)
    first: dict[str, str] = {}
    for i, e in errors.items():
        pooled[recordings[i]] += e
        first.setdefault(recordings[i], i)
    placed = {first[r]: (e.rate, 1.0) for r, e in pooled.items() if e.words}
    return {i: placed.get(i, (0.0, 0.0)) for i in errors}


def _check(measured: Measured, figure: str) -> None:
    name, _, label = figure.partition(":")
    kind = name.removesuffix("-raw")
    of_terms = kind in ("eer", "term-wer")
    if kind not in FIGURES or (label and not of_terms) or figure == "safety-raw":
        raise ScoreError(
            f"no figure is called {figure!r}; expected one of: {', '.join(FIGURES)}; with -raw of "
            "texts as written, and eer:LABEL or term-wer:LABEL of one label"
        )
    if of_terms and not measured.entities:
        raise ScoreError(f"{figure!r} counts terms, and there are none; give --entities too")
    if kind == "safety" and not measured.safety:
        raise ScoreError("'safety' was not counted; give --safety too")
    labels = _labels(measured) if label else set()
    if label and label not in labels:
        raise ScoreError(
            f"{figure!r}: no term in the references has the label {label!r}; expected one of: "
            + ", ".join(sorted(labels))
        )


def _labels(measured: Measured) -> set[str]:
    return {r.mention.label for found in measured.entities["raw"].values() for r in found}
