"""Entities: found in the reference, carried by word alignment to the hypothesis.

They are never looked for in the hypothesis, where recognition errors would hide them.

**The strict rule.** A mention covers every white-space word it touches. It is found only if all
these words are hits of the word alignment and stand side by side, in order, in the hypothesis:
one wrong, missing or inserted word between its first and its last loses the mention.

*Raw*: words are compared verbatim, so case, spelling and the punctuation inside the mention
("v.", "U.S.C.") count. Only sentence punctuation attached outside the mention (the comma after a
drug name, a bracket before it) is set aside, on both sides. Other letters attached to it are part
of the word: for "Lipitor's" in the reference, "Lipitor" is a miss.
*Normalised*: both sides pass through the named normaliser first; the mention is carried along
with its words, and where the normaliser makes one of several ("five hundred milligrams"), with all
of them. A mention of which the normaliser leaves nothing keeps its raw verdict.

**Beside it**, for those who ask how far off a miss is: a missed mention is *partial* if some of its
words are hits. Every mention has the word errors inside its span (NE-WER) and the characters in
which what was heard in its place differs (NE-CER), both without attached punctuation. The bag of
mentions forgets places: how many of a text's mentions occur in the hypothesis at all, each as often
as the reference has it, whatever the case. What a hypothesis has of the listed terms beyond what
the reference has is *falsely inserted*.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asr_llm.corpus.text import Normalizer
from asr_llm.errors import ScoreError
from asr_llm.evaluation.normalized import groups, normalize
from asr_llm.evaluation.words import Costs, WordErrors, align, char_errors, errors_of

# What may be attached to a word without belonging to it. No hyphen: it joins words.
_PUNCTUATION = ".,;:!?…\"'“”‘’«»()[]{}–—"
_ATTACHED = f"[{re.escape(_PUNCTUATION)}]*"


@dataclass(frozen=True)
class Mention:
    """An entity in a text: characters ``start`` to ``end`` (exclusive), which read ``text``."""

    start: int
    end: int
    label: str
    text: str


@dataclass(frozen=True)
class MentionOutcome:
    """What became of one mention of an utterance's reference in a hypothesis.

    ``heard`` holds the hypothesis words in its place: the mention's own when found, else all
    between what was aligned with the words around it (empty when nothing was). ``words`` has the
    word errors from its first word to its last, ``characters`` what ``heard`` differs by.
    """

    utterance: str
    mention: Mention
    found: bool
    heard: str
    words: WordErrors = WordErrors()
    characters: WordErrors = WordErrors()

    @property
    def status(self) -> Literal["found", "partial", "missed"]:
        """Partial: not found, but some of its words are."""
        if self.found:
            return "found"
        return "partial" if self.words.hits else "missed"


class EntityFinder:
    """Finds mentions with spaCy's EntityRuler (blank English tokeniser, no trained model).

    Args:
        patterns: EntityRuler patterns, ``{"label": "DRUG", "pattern": "metoprolol"}``. Phrases
            match whatever their case; a list of token patterns is taken as spaCy defines it.

    Raises:
        ScoreError: a pattern is malformed.
    """

    def __init__(self, patterns: Sequence[Mapping[str, Any]]) -> None:
        import spacy  # 2 to 3 s

        checked = [_checked(number, p) for number, p in enumerate(patterns, start=1)]
        self.listed = {p["pattern"]: p["label"] for p in checked if isinstance(p["pattern"], str)}
        """The phrases among the patterns, with their labels."""
        self._nlp: Any = spacy.blank("en")
        if not checked:
            return  # an EntityRuler without patterns warns at every text
        config = {"phrase_matcher_attr": "LOWER", "validate": True}
        ruler: Any = self._nlp.add_pipe("entity_ruler", config=config)
        try:
            ruler.add_patterns(checked)
        except ValueError as error:  # spaCy's MatchPatternError is one
            reason = " ".join(str(error).split())
            raise ScoreError(
                f"spaCy refuses a token pattern: {reason}. Mend it in entities.jsonl"
            ) from error

    @classmethod
    def of_pipeline(cls, name: str) -> EntityFinder:
        """A finder of what an installed spaCy pipeline calls entities, such as en_core_web_sm.

        Raises:
            ScoreError: it is not installed, or finds no entities; the message says what to run.
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
        """Mentions in ``text``, in order. The longest match wins; none overlap."""
        return [
            Mention(span.start_char, span.end_char, span.label_, span.text)
            for span in self._nlp(text).ents
        ]


def map_to_words(text: str, mention: Mention) -> range:
    """Indices of the white-space words of ``text`` that the mention touches.

    Raises:
        ScoreError: the mention is not of this text.
    """
    return _covered(text, _word_spans(text), mention)[0]


def outcomes(
    *,
    utterance: str,
    reference: str,
    hypothesis: str,
    mentions: Sequence[Mention],
    normalizer: Normalizer = "none",
    costs: Costs = "unit",
) -> list[MentionOutcome]:
    """Whether each mention of ``reference`` is in ``hypothesis`` by the strict rule above.

    ``normalizer="none"`` is the raw comparison. ``costs`` are those of ``words.align``.

    Raises:
        ScoreError: a mention is not of this reference.
    """
    if not mentions:
        return []
    reference_words = normalize(reference, normalizer).split()
    hypothesis_words = normalize(hypothesis, normalizer).split()
    spans, tied = _word_spans(reference), groups(reference, normalizer)
    firsts, lasts = [given.start for given, _ in tied], [given.stop for given, _ in tied]
    # Attached punctuation is left out of the alignment, lest "Lipitor," be paired with "uh".
    bare_reference = [_bare(w) for w in reference_words]
    bare_hypothesis = [_bare(w) for w in hypothesis_words]
    pairs = align(reference_words=bare_reference, hypothesis_words=bare_hypothesis, costs=costs)
    heard_at = {
        pair.reference: pair.hypothesis
        for pair in pairs
        if pair.reference is not None and pair.hypothesis is not None
    }
    step_of = [i for i, pair in enumerate(pairs) if pair.reference is not None]

    results = []
    for mention in mentions:
        covered, verbatim = _covered(reference, spans, mention)
        first = bisect.bisect_right(lasts, covered.start)
        last = bisect.bisect_left(firsts, covered.stop) - 1
        span = range(tied[first][1].start, tied[last][1].stop)
        if not span:
            results += outcomes(
                utterance=utterance,
                reference=reference,
                hypothesis=hypothesis,
                mentions=[mention],
                costs=costs,
            )
            continue
        # Verbatim, "Lipitor's" is not "Lipitor"; normalised, what its words became.
        target = verbatim.split() if normalizer == "none" else [bare_reference[i] for i in span]
        heard = _window(span, target, heard_at, hypothesis_words)
        found = heard is not None
        if heard is None:
            heard = _between(span, heard_at, hypothesis_words)
        written = " ".join(bare_reference[i] for i in span)
        said = " ".join(map(_bare, heard))
        results.append(
            MentionOutcome(
                utterance,
                mention,
                found,
                " ".join(heard),
                WordErrors(hits=len(span))
                if found
                else errors_of(pairs[step_of[span[0]] : step_of[span[-1]] + 1]),
                char_errors(reference=[written], hypothesis=[said]),
            )
        )
    return results


Term = tuple[str, ...]
"""The words of a term, whatever their case and the punctuation around them."""


def term_of(text: str, normalizer: Normalizer = "none") -> Term:
    """A text's words as terms are compared by."""
    return tuple(_bare(word).casefold() for word in normalize(text, normalizer).split())


class TermCounter:
    """Counts how often each of many terms stands in a text.

    At every place the longest term counts, and none overlap.
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        self._by_first: dict[str, list[Term]] = defaultdict(list)
        for term in sorted(set(terms), key=len, reverse=True):
            if term:
                self._by_first[term[0]].append(term)

    def count(self, words: Term) -> Counter[Term]:
        """Occurrences of each term that occurs in the words of a text."""
        found: Counter[Term] = Counter()
        at = 0
        while at < len(words):
            here = self._by_first.get(words[at], ())
            term = next((t for t in here if words[at : at + len(t)] == t), None)
            if term is not None:
                found[term] += 1
            at += len(term) if term else 1
        return found


def _window(
    span: range, target: list[str], heard_at: dict[int, int], hypothesis_words: list[str]
) -> list[str] | None:
    """The hypothesis words that are the mention, or None.

    Searched from the word aligned with its first to the one aligned with its last: in "atrial
    atrial fibrillation" the alignment may place the inserted word on either side of the first
    "atrial" at the same cost, and one of the two leaves the mention whole.
    """
    if any(r not in heard_at for r in span):
        return None
    stretch = hypothesis_words[heard_at[span[0]] : heard_at[span[-1]] + 1]
    same = re.compile(_ATTACHED + re.escape(" ".join(target)) + _ATTACHED)
    for start in range(len(stretch) - len(span) + 1):
        window = stretch[start : start + len(span)]
        if same.fullmatch(" ".join(window)):
            return window
    return None


def _between(span: range, heard_at: dict[int, int], hypothesis_words: list[str]) -> list[str]:
    """All hypothesis words between those aligned with the words around the mention."""
    before = next((heard_at[r] for r in range(span.start - 1, -1, -1) if r in heard_at), -1)
    last = max(heard_at, default=-1)
    after = next((heard_at[r] for r in range(span.stop, last + 1) if r in heard_at), None)
    return hypothesis_words[before + 1 : after]


def _word_spans(text: str) -> list[tuple[int, int]]:
    """First and last character, exclusive, of each white-space word."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def _covered(text: str, spans: Sequence[tuple[int, int]], mention: Mention) -> tuple[range, str]:
    """The words a mention touches, and their text without the punctuation outside it."""
    if not mention.text.strip() or text[mention.start : mention.end] != mention.text:
        raise ScoreError(
            f"mention {mention.text!r} is not at characters {mention.start}-{mention.end} of the "
            "reference; find mentions in the very text that is scored"
        )
    first = bisect.bisect_right(spans, mention.start, key=lambda span: span[1])
    stop = bisect.bisect_left(spans, mention.end, key=lambda span: span[0])
    left = text[spans[first][0] : mention.start].lstrip(_PUNCTUATION)
    right = text[mention.end : spans[stop - 1][1]].rstrip(_PUNCTUATION)
    return range(first, stop), left + mention.text + right


def _bare(word: str) -> str:
    return word.strip(_PUNCTUATION) or word


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
