"""Per-utterance measurements of one system, from which scores are pooled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from asr_llm.corpus.text.normalizers import Normalizer
from asr_llm.errors import ScoreError
from asr_llm.evaluation.alternatives import Part, nearest, parse
from asr_llm.evaluation.bags import Bag, bag_of
from asr_llm.evaluation.entities import (
    Mention,
    MentionOutcome,
    outcomes,
)
from asr_llm.evaluation.equivalences import Equivalences
from asr_llm.evaluation.normalized import TextPair, normalize
from asr_llm.evaluation.rows import mismatch
from asr_llm.evaluation.safety import SafetyOutcome, safety_outcomes
from asr_llm.evaluation.term_words import Key, ListedTerms
from asr_llm.evaluation.words import (
    AlignedPair,
    Costs,
    WordErrors,
    align,
    char_errors,
    errors_of,
)

Texts = Mapping[str, str]
"""Utterance id → text."""


@dataclass(frozen=True)
class Measured:
    """One system's measurements by utterance id; both "raw" and "normalized"."""

    words: dict[str, dict[str, WordErrors]]
    characters: dict[str, dict[str, WordErrors]]
    entities: dict[str, dict[str, list[MentionOutcome]]]
    bags: dict[str, dict[str, Bag]]
    inserted: dict[str, dict[str, Counter[Key]]]
    """Inserted words that belong to listed terms."""
    biasing: dict[str, dict[str, WordErrors]]
    """Keys "u_wer" and "b_wer"; empty without a biasing list."""
    safety: dict[str, list[SafetyOutcome]]
    """Empty if safety words are not counted."""
    listed: bool
    """Whether there is a term list, so that inserted term words can be counted."""


@dataclass(frozen=True)
class ScoringOptions:
    """What a measurement depends on besides the texts."""

    normalizer: Normalizer
    costs: Costs
    listed: Mapping[str, str]
    biasing: Mapping[str, Collection[str]] | Collection[str] | None
    alternatives: Mapping[str, str] = field(default_factory=dict)
    """References as written, by utterance id, for those with sclite's alternatives."""
    safety: bool = False

    @cached_property
    def _parsed(self) -> dict[str, list[Part]]:
        return {i: parse(text) for i, text in self.alternatives.items()}

    def said(self, utterance: str, reference: str, hypothesis: str, normalizer: Normalizer) -> str:
        """The reference, with the alternatives nearest to the hypothesis."""
        parts = self._parsed.get(utterance)
        return reference if parts is None else nearest(parts, hypothesis, normalizer, self.costs)

    def heard(self, said: str, hypothesis: str, normalizer: Normalizer) -> tuple[str, Normalizer]:
        """The hypothesis, and the normaliser still to apply.

        With rules that have alternatives, the hypothesis is written with those nearest to the
        reference.
        """
        if normalizer == self.normalizer and self._chooses:
            return self.normalizer.heard(said, hypothesis), "none"  # type: ignore[union-attr]
        return hypothesis, normalizer

    @cached_property
    def _chooses(self) -> bool:
        return isinstance(self.normalizer, Equivalences) and self.normalizer.has_choices

    @cached_property
    def texts(self) -> dict[str, Normalizer]:
        """The normaliser of each of the two comparisons."""
        return {"raw": "none", "normalized": self.normalizer}

    @cached_property
    def terms(self) -> dict[str, ListedTerms]:
        """The listed terms as they appear in the texts of each comparison."""
        return {text: ListedTerms(self.listed, n) for text, n in self.texts.items()}

    def biasing_words(self, utterance: str) -> set[str]:
        """The normalised words listed for an utterance."""
        if isinstance(self.biasing, Mapping):
            return self._words_of(self.biasing.get(utterance, ()))
        return self._everywhere

    @cached_property
    def _everywhere(self) -> set[str]:
        return self._words_of(self.biasing or ())

    def _words_of(self, phrases: Iterable[str]) -> set[str]:
        return {word for p in phrases for word in normalize(p, self.normalizer).split()}


def measure(
    references: Texts,
    systems: Mapping[str, Texts],
    mentions: Mapping[str, Sequence[Mention]] | None,
    options: ScoringOptions,
) -> dict[str, Measured]:
    """Measure every system utterance by utterance, so that each reference is prepared once.

    Raises:
        ScoreError: a system's ids are not those of the references.
    """
    for name, hypotheses in systems.items():
        _check_ids(name, references, hypotheses)
    measured = {name: _empty(options, mentions is not None) for name in systems}
    for i, reference in references.items():
        for name, hypotheses in systems.items():
            said = None if mentions is None else mentions[i]
            _add(measured[name], i, reference, hypotheses[i], said, options)
    return measured


def _empty(options: ScoringOptions, with_mentions: bool) -> Measured:
    both = list(options.texts)
    of_mentions = both if with_mentions else []
    return Measured(
        words={text: {} for text in both},
        characters={text: {} for text in both},
        entities={text: {} for text in of_mentions},
        bags={text: {} for text in of_mentions},
        inserted={text: {} for text in of_mentions},
        biasing={side: {} for side in ("u_wer", "b_wer") if options.biasing is not None},
        safety={},
        listed=bool(options.listed),
    )


def _add(
    to: Measured,
    i: str,
    reference: str,
    hypothesis: str,
    mentions: Sequence[Mention] | None,
    options: ScoringOptions,
) -> None:
    if options.safety:
        to.safety[i] = safety_outcomes(reference=reference, hypothesis=hypothesis)
    for text, normalizer in options.texts.items():
        chosen = options.said(i, reference, hypothesis, normalizer)
        written, written_by = options.heard(chosen, hypothesis, normalizer)
        compared = TextPair(chosen, written, normalizer, written_by)
        said, heard = compared.said.split(), compared.heard.split()
        steps = align(reference_words=said, hypothesis_words=heard, costs=options.costs)
        to.words[text][i] = errors_of(steps)
        to.characters[text][i] = char_errors(reference=[compared.said], hypothesis=[compared.heard])
        if text == "normalized" and options.biasing is not None:
            for side, errors in _biasing(said, heard, steps, options.biasing_words(i)).items():
                to.biasing[side][i] = errors
        if mentions is not None:
            whole = replace(compared, reference=reference)
            to.entities[text][i] = outcomes(whole, mentions, utterance=i, costs=options.costs)
            terms = options.terms[text]
            to.bags[text][i] = bag_of(
                whole,
                mentions,
                found=[outcome.found for outcome in to.entities[text][i]],
                label_of=terms.label_of,
                listed=terms.counter,
            )
            to.inserted[text][i] = terms.inserted(heard, steps)


def _biasing(
    said: Sequence[str], heard: Sequence[str], steps: Iterable[AlignedPair], listed: set[str]
) -> dict[str, WordErrors]:
    """Word errors on listed words (B) and all others (U): a reference word counts by its own
    listing, an inserted word by its own.
    """
    sides: dict[str, list[AlignedPair]] = {"u_wer": [], "b_wer": []}
    for step in steps:
        word = heard[step.hypothesis or 0] if step.reference is None else said[step.reference]
        sides["b_wer" if word in listed else "u_wer"].append(step)
    return {side: errors_of(chosen) for side, chosen in sides.items()}


def mention_rows(name: str, measured: Measured) -> Iterator[dict[str, Any]]:
    for i, results in measured.entities.get("raw", {}).items():
        for raw, normalized in zip(results, measured.entities["normalized"][i]):
            yield {
                "system": name,
                "utterance": i,
                "label": raw.mention.label,
                "text": raw.mention.text,
                "start": raw.mention.start,
                "end": raw.mention.end,
                "raw": raw.status,
                "normalized": normalized.status,
                "heard": raw.heard,
            }


def _check_ids(name: str, references: Texts, hypotheses: Texts) -> None:
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    if missing or extra:
        raise ScoreError(
            f"{mismatch(name, missing, extra)}. Give references and hypotheses the same ids, "
            "an empty text where nothing was heard"
        )
