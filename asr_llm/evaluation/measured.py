"""One system measured utterance by utterance: the counts that scores are pooled from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from asr_llm.corpus.text import normalize
from asr_llm.errors import ScoreError
from asr_llm.evaluation.alternatives import Part, nearest, parse
from asr_llm.evaluation.bags import Bag, bag_of
from asr_llm.evaluation.entities import (
    Mention,
    MentionOutcome,
    Term,
    TermCounter,
    outcomes,
    term_of,
)
from asr_llm.evaluation.rows import mismatch
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
    """One system by utterance id; everything under "raw" and under "normalized"."""

    words: dict[str, dict[str, WordErrors]]
    characters: dict[str, dict[str, WordErrors]]
    entities: dict[str, dict[str, list[MentionOutcome]]]
    bags: dict[str, dict[str, Bag]]
    biasing: dict[str, dict[str, WordErrors]]
    """By "u_wer" and "b_wer"; empty without a biasing list."""


@dataclass(frozen=True)
class How:
    """What a measurement depends on beside the texts."""

    normalizer: str
    costs: Costs
    listed: Mapping[str, str]
    biasing: Mapping[str, Collection[str]] | Collection[str] | None
    alternatives: Mapping[str, str] = field(default_factory=dict)
    """By utterance id, references as written where they have sclite's alternatives."""

    @cached_property
    def _parsed(self) -> dict[str, list[Part]]:
        return {i: parse(text) for i, text in self.alternatives.items()}

    def said(self, utterance: str, reference: str, hypothesis: str, normalizer: str) -> str:
        """The reference, of its alternatives those that come nearest to the hypothesis."""
        parts = self._parsed.get(utterance)
        return reference if parts is None else nearest(parts, hypothesis, normalizer, self.costs)


def measure(
    name: str,
    references: Texts,
    hypotheses: Texts,
    mentions: Mapping[str, Sequence[Mention]] | None,
    how: How,
) -> Measured:
    _check_ids(name, references, hypotheses)
    measured = Measured({}, {}, {}, {}, {})
    for text, normalizer in (("raw", "none"), ("normalized", how.normalizer)):
        words = measured.words[text] = {}
        characters = measured.characters[text] = {}
        pairs = {}
        for i in references:
            chosen = how.said(i, references[i], hypotheses[i], normalizer)
            reference = normalize(chosen, normalizer)
            hypothesis = normalize(hypotheses[i], normalizer)
            said, heard = reference.split(), hypothesis.split()
            steps = align(reference_words=said, hypothesis_words=heard, costs=how.costs)
            pairs[i] = said, heard, steps
            words[i] = errors_of(steps)
            characters[i] = char_errors(reference=[reference], hypothesis=[hypothesis])
        if text == "normalized" and how.biasing is not None:
            measured.biasing.update(_biasing(pairs, how))
        if mentions is not None:
            measured.entities[text] = {
                i: outcomes(
                    utterance=i,
                    reference=references[i],
                    hypothesis=hypotheses[i],
                    mentions=mentions[i],
                    normalizer=normalizer,
                    costs=how.costs,
                )
                for i in references
            }
            label_of: dict[Term, str] = {}
            for phrase, label in how.listed.items():
                label_of.setdefault(term_of(phrase, normalizer), label)
            listed = TermCounter(label_of)
            measured.bags[text] = {
                i: bag_of(
                    reference=references[i],
                    hypothesis=hypotheses[i],
                    mentions=mentions[i],
                    found=[outcome.found for outcome in measured.entities[text][i]],
                    label_of=label_of,
                    listed=listed,
                    normalizer=normalizer,
                )
                for i in references
            }
    return measured


def _biasing(
    pairs: Mapping[str, tuple[list[str], list[str], list[AlignedPair]]], how: How
) -> dict[str, dict[str, WordErrors]]:
    """Word errors on listed words (B) and on all others (U): of a reference word where it is
    listed, of an inserted word where that is."""

    def words_of(phrases: Iterable[str]) -> set[str]:
        return {word for p in phrases for word in normalize(p, how.normalizer).split()}

    everywhere = None if isinstance(how.biasing, Mapping) else words_of(how.biasing or ())
    split: dict[str, dict[str, WordErrors]] = {"u_wer": {}, "b_wer": {}}
    for i, (said, heard, steps) in pairs.items():
        listed = everywhere
        if isinstance(how.biasing, Mapping):
            listed = words_of(how.biasing.get(i, ()))
        sides: dict[str, list[AlignedPair]] = {"u_wer": [], "b_wer": []}
        for step in steps:
            word = heard[step.hypothesis or 0] if step.reference is None else said[step.reference]
            sides["b_wer" if word in (listed or ()) else "u_wer"].append(step)
        for side, chosen in sides.items():
            split[side][i] = errors_of(chosen)
    return split


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
