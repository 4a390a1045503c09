"""Mentions of terms in a text, found by listed phrases, token patterns or spaCy pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asr_llm.corpus.terms.phrases import PhraseFinder
from asr_llm.errors import ScoreError


@dataclass(frozen=True)
class Mention:
    """An entity in a text: characters ``start`` to ``end`` (exclusive), with their ``text``."""

    start: int
    end: int
    label: str
    text: str


class EntityFinder:
    """Finds listed phrases by characters, and token patterns with spaCy's EntityRuler.

    Args:
        patterns: EntityRuler patterns, ``{"label": "DRUG", "pattern": "metoprolol"}``.
            ``corpus.terms.phrases`` defines where phrases match; token patterns follow spaCy (blank
            English tokeniser, no trained model). If a phrase is listed twice, its first label
            applies.

    Raises:
        ScoreError: a pattern is malformed.
    """

    def __init__(self, patterns: Sequence[Mapping[str, Any]]) -> None:
        checked = [_checked(number, p) for number, p in enumerate(patterns, start=1)]
        self.listed: dict[str, str] = {}
        """The phrases among the patterns, with their labels."""
        for pattern in checked:
            if isinstance(pattern["pattern"], str):
                self.listed.setdefault(pattern["pattern"], pattern["label"])
        self._phrases = PhraseFinder(self.listed)
        of_tokens = [pattern for pattern in checked if not isinstance(pattern["pattern"], str)]
        self._nlp: Any = _ruler(of_tokens) if of_tokens else None

    @classmethod
    def of_pipeline(cls, name: str) -> EntityFinder:
        """Find entities with an installed spaCy pipeline, such as en_core_web_sm.

        Raises:
            ScoreError: it is not installed, or has no entity recogniser; the message says what to
                run.
        """
        import spacy

        finder = cls([])
        try:
            finder._nlp = spacy.load(name)
        except OSError as error:
            raise ScoreError(
                f"there is no file or folder {name!r}, and no spaCy pipeline of that name is "
                "installed; expected a path to terms or patterns, or a pipeline. One of spaCy's "
                f"own is installed by: python -m spacy download {name}"
            ) from error
        if not {"ner", "entity_ruler", "span_ruler"} & set(finder._nlp.pipe_names):
            raise ScoreError(
                f"spaCy's {name!r} finds no entities (it has: "
                f"{', '.join(finder._nlp.pipe_names)}); expected a pipeline with 'ner'"
            )
        return finder

    def find(self, text: str) -> list[Mention]:
        """Return the mentions in ``text``, in order. The longest match wins; none overlap."""
        found = [
            Mention(start, end, self.listed[phrase], text[start:end])
            for start, end, phrase in self._phrases.find(text)
        ]
        if self._nlp is None:
            return found
        found += [
            Mention(span.start_char, span.end_char, span.label_, span.text)
            for span in self._nlp(text).ents
        ]
        return _longest(found)


def _longest(mentions: list[Mention]) -> list[Mention]:
    """Those not overlapped by a longer one, in order; of equally long ones, the first."""
    kept: list[Mention] = []
    for one in sorted(mentions, key=lambda m: (m.start - m.end, m.start)):
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda m: m.start)


def _ruler(patterns: list[dict[str, Any]]) -> Any:
    import spacy  # 2 to 3 s

    nlp = spacy.blank("en")
    ruler: Any = nlp.add_pipe("entity_ruler", config={"validate": True})
    try:
        ruler.add_patterns(patterns)
    except ValueError as error:  # spaCy's MatchPatternError is one
        reason = " ".join(str(error).split()).replace("Value error, ", "")  # pydantic's prefix
        raise ScoreError(
            f"spaCy rejects a token pattern: {reason}. Fix it where the patterns are listed"
        ) from error
    return nlp


def _checked(number: int, pattern: Mapping[str, Any]) -> dict[str, Any]:
    label = pattern.get("label") if isinstance(pattern, Mapping) else None
    phrase = pattern.get("pattern") if isinstance(pattern, Mapping) else None
    if not isinstance(label, str) or not label.strip():
        raise ScoreError(f"entity pattern {number} has no label: {_expected(pattern)}")
    if isinstance(phrase, str) and phrase.strip():
        return {**pattern, "pattern": " ".join(phrase.split())}
    if isinstance(phrase, list) and phrase and all(isinstance(t, dict) for t in phrase):
        return dict(pattern)
    raise ScoreError(f"entity pattern {number} has no phrase to match: {_expected(pattern)}")


def _expected(pattern: object) -> str:
    return f'found {pattern!r}, expected {{"label": "DRUG", "pattern": "metoprolol"}}'
