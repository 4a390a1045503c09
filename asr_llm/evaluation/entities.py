"""Entities: located in the reference and mapped to the hypothesis by word alignment.

They are never searched for in the hypothesis, where recognition errors would hide them.

**The strict rule.** A mention is found only if all its words are hits of the word alignment and are
adjacent and in order in the hypothesis: one wrong, missing or inserted word between its first and
its last makes the mention wrong. Only the mention's own words count: text joined to it by a hyphen,
a slash or an apostrophe ("pregnancy-related", "asthma's") is split off on both sides and may be
misrecognised. Other attached letters are part of the word.

*Raw*: words are compared verbatim, so case, spelling and the punctuation inside the mention ("v.",
"U.S.C.") count. Only sentence punctuation outside the mention (the comma after a drug name, a
bracket before it) is ignored, on both sides. *Normalised*: both sides are normalised first, and the
mention is mapped along with its words; if the normaliser merges several ("five hundred
milligrams"), with all of them. If the normaliser leaves nothing of a mention, its raw verdict
stands.

**How far off a miss is**: a missed mention is *partial* if some of its words are hits. Every
mention also has the word errors in its span (NE-WER) and the character errors there (NE-CER), both
without attached punctuation. The bag of mentions, which ignores positions, is in ``bags``.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from asr_llm.corpus.text.normalizers import Normalizer
from asr_llm.errors import ScoreError
from asr_llm.evaluation.bags import Term, TermCounter, term_of
from asr_llm.evaluation.mentions import EntityFinder, Mention
from asr_llm.evaluation.normalized import TextPair, groups, normalize
from asr_llm.evaluation.tokens import PUNCTUATION, Edges, Tokens
from asr_llm.evaluation.words import Costs, WordErrors, align, char_errors, errors_of

__all__ = [
    "EntityFinder",
    "Mention",
    "MentionOutcome",
    "Term",
    "TermCounter",
    "outcomes",
    "term_of",
]


@dataclass(frozen=True)
class MentionOutcome:
    """What became of one mention of a reference in a hypothesis.

    ``heard`` has the hypothesis words in its place: the mention's own if found, else everything
    between the words aligned with its neighbours (possibly nothing). ``words`` has the word errors
    from its first word to its last, ``characters`` the character errors of ``heard``.
    """

    utterance: str
    mention: Mention
    found: bool
    heard: str
    words: WordErrors = WordErrors()
    characters: WordErrors = WordErrors()

    @property
    def status(self) -> Literal["found", "partial", "missed"]:
        """``partial``: not found, but some of its words are hits."""
        if self.found:
            return "found"
        return "partial" if self.words.hits else "missed"


def outcomes(
    texts: TextPair, mentions: Sequence[Mention], *, utterance: str, costs: Costs = "unit"
) -> list[MentionOutcome]:
    """Decide for each mention of ``reference`` whether ``hypothesis`` has it, by the strict rule
    above.

    ``normalizer="none"`` is the raw comparison. ``heard_by`` is the hypothesis's normaliser, if it
    differs. ``costs`` are those of ``words.align``.

    Raises:
        ScoreError: a mention is not from this reference.
    """
    if not mentions:
        return []
    reference, normalizer = texts.reference, texts.normalizer
    edges = Edges(normalize(m.text, normalizer).split() for m in mentions)
    said, heard = (Tokens.of(text.split(), edges) for text in (texts.said, texts.heard))
    pairs = align(reference_words=said.bare, hypothesis_words=heard.bare, costs=costs)
    heard_at = {
        pair.reference: pair.hypothesis
        for pair in pairs
        if pair.reference is not None and pair.hypothesis is not None
    }
    step_of = [i for i, pair in enumerate(pairs) if pair.reference is not None]

    results = []
    for mention, place in zip(mentions, _places(reference, mentions, normalizer, said, edges)):
        if place is None:
            as_written = TextPair(reference, texts.hypothesis)
            results += outcomes(as_written, [mention], utterance=utterance, costs=costs)
            continue
        span, verbatim = place
        window = _window(span, said, heard, heard_at, verbatim if normalizer == "none" else None)
        around = window or _between(span, heard_at, len(heard.bare))
        results.append(
            MentionOutcome(
                utterance,
                mention,
                window is not None,
                heard.text(around),
                WordErrors(hits=len(span))
                if window
                else errors_of(pairs[step_of[span[0]] : step_of[span[-1]] + 1]),
                char_errors(
                    reference=[" ".join(said.bare[span.start : span.stop])],
                    hypothesis=[" ".join(heard.bare[around.start : around.stop])],
                ),
            )
        )
    return results


def _places(
    reference: str, mentions: Sequence[Mention], normalizer: Normalizer, said: Tokens, edges: Edges
) -> Iterator[tuple[range, str] | None]:
    """The tokens of each mention and their text; None if the normaliser left none."""
    spans, tied = _word_spans(reference), groups(reference, normalizer)
    firsts, lasts = [given.start for given, _ in tied], [given.stop for given, _ in tied]
    for mention in mentions:
        covered, verbatim = _covered(reference, spans, mention)
        first = bisect.bisect_right(lasts, covered.start)
        last = bisect.bisect_left(firsts, covered.stop) - 1
        around = said.of_words(range(tied[first][1].start, tied[last][1].stop))
        if not around:
            yield None
            continue
        own = Tokens.of(normalize(mention.text, normalizer).split(), edges).bare
        before = reference[spans[tied[first][0].start][0] : mention.start]
        near = len(Tokens.of(normalize(before, normalizer).split(), edges).bare)
        starts = [
            start
            for start in range(around.start, around.stop - len(own) + 1)
            if own and said.bare[start : start + len(own)] == own
        ]
        if starts:
            start = min(starts, key=lambda at: abs(at - around.start - near))
            yield range(start, start + len(own)), " ".join(mention.text.split())
        else:
            yield around, verbatim


def _window(
    span: range, said: Tokens, heard: Tokens, heard_at: dict[int, int], verbatim: str | None
) -> range | None:
    """The hypothesis tokens that match the mention, or None.

    Searched from the token aligned with its first word to the one aligned with its last: in "atrial
    atrial fibrillation" the alignment may put the inserted word on either side of the first
    "atrial" at the same cost, and only one of the two keeps the mention intact.
    """
    if any(r not in heard_at for r in span):
        return None
    ours, theirs = (said.bare, heard.bare) if verbatim is None else (said.written, heard.written)
    for start in range(heard_at[span[0]], heard_at[span[-1]] - len(span) + 2):
        window = range(start, start + len(span))
        same = theirs[start : window.stop] == ours[span.start : span.stop]
        if same or (verbatim is not None and heard.reads(window, verbatim)):
            return window
    return None


def _between(span: range, heard_at: dict[int, int], size: int) -> range:
    """All hypothesis tokens between those aligned with the mention's neighbours."""
    before = next((heard_at[r] for r in range(span.start - 1, -1, -1) if r in heard_at), -1)
    last = max(heard_at, default=-1)
    after = next((heard_at[r] for r in range(span.stop, last + 1) if r in heard_at), size)
    return range(before + 1, after)


def _word_spans(text: str) -> list[tuple[int, int]]:
    """First and last character (exclusive) of each white-space word."""
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
    left = text[spans[first][0] : mention.start].lstrip(PUNCTUATION)
    right = text[mention.end : spans[stop - 1][1]].rstrip(PUNCTUATION)
    return range(first, stop), left + mention.text + right
