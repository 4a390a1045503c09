"""Proposes the terms of a domain from its text, for a person to edit.

A word is a candidate if general language hardly uses it, if it has the shape of a medical word,
or if it is capitalised inside a sentence. Neighbours are one phrase if both are candidates, or if
they stand together much more often than chance has it: normalised pointwise mutual information
(Bouma 2009, "Normalized (pointwise) mutual information in collocation extraction").
Nothing is written or logged: the text may be a patient's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from asr_llm.corpus.domain.files import read_text, strictly
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.terms.candidates import RARE, VERSUS, Judge
from asr_llm.corpus.terms.phrases import PhraseFinder
from asr_llm.corpus.terms.words import Token, english_zipf, tokens_of
from asr_llm.errors import DomainError

_SHOWN = 4  # words of context on each side


@dataclass(frozen=True)
class Candidate:
    """A proposed term: its count, the reason, up to two contexts."""

    term: str
    count: int
    why: tuple[str, ...]
    contexts: tuple[str, ...]
    score: float


class General:
    """How common words are in general language: in given sentences and in English."""

    def __init__(self, sentences: Iterable[str] = (), english: bool = True) -> None:
        self._counts = Counter(token.key for line in sentences for token in tokens_of(line))
        self._total = max(10_000, self._counts.total())  # one word in a short text is little
        self._english = english

    def zipf(self, word: str) -> float:
        """Zipf frequency of a word, or of the word it is an inflection of: the higher."""
        return max(map(self._zipf, _bases(word.casefold().replace("’", "'"))))

    def _zipf(self, word: str) -> float:
        count = self._counts[word]
        own = 9 + math.log10(count / self._total) if count else 0.0
        return max(own, english_zipf(word)) if self._english else own


def _bases(word: str) -> list[str]:
    found = [word]
    for ending, others in (("'s", [""]), ("s", [""]), ("ed", ["", "e"]), ("ing", ["", "e"])):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            stem = word.removesuffix(ending)
            found += [stem + other for other in others]
            if len(others) > 1 and stem[-1] == stem[-2]:
                found.append(stem[:-1])  # "stopped"
    return found


# Files -----------------------------------------------------------------------------------


def read_sentences(path: Path) -> list[str]:
    """The sentences of a text file or of a domain folder's train text.

    Raises:
        DomainError: it is missing, empty, not UTF-8, or a malformed domain folder.
    """
    if path.is_dir():
        return Domain.load(path).text()
    if not path.exists():
        raise DomainError(
            f"{path}: not found; expected a text file or a domain folder: check the path"
        )
    if path.suffix.lower() in (".wav", ".flac", ".mp3", ".ogg", ".opus"):
        raise DomainError(
            f"{path}: found a recording; expected text. Get it with: asr-llm transcribe {path}"
        )
    sentences = [line.text for line in strictly(lambda problems: read_text(path, problems))]
    if not sentences:
        raise DomainError(f"{path}: no text in it; expected one utterance a line")
    return sentences


def propose_from_files(
    texts: Sequence[Path], general: Sequence[Path] = (), least: int = 1
) -> list[Candidate]:
    """``propose`` for text files and domain folders; ``least`` is the minimum count.

    Raises:
        DomainError: see ``read_sentences``.
    """
    domain = [sentence for path in texts for sentence in read_sentences(path)]
    known = General(sentence for path in general for sentence in read_sentences(path))
    return [found for found in propose(domain, known) if found.count >= least]


# Proposing -------------------------------------------------------------------------------


def propose(sentences: Sequence[str], general: General) -> list[Candidate]:
    """The likely terms of ``sentences``, likeliest first.

    A phrase is kept whole; its parts are proposed only if they also occur elsewhere. ``count``
    includes occurrences inside longer terms (``phrases``). The order of the sentences affects only
    the contexts.
    """
    text = [" ".join(sentence.split()) for sentence in sentences]
    lines = [tokens_of(sentence) for sentence in text]
    judge = Judge(lines, general.zipf)
    found = {key for line in lines for key in judge.candidates(line)}
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {key: [] for key in found}
    longest = max(map(len, found), default=0)
    for number, line in enumerate(lines):
        for i in range(len(line)):
            for length in range(1, longest + 1):
                key = tuple(token.key for token in line[i : i + length])
                if len(key) < length or (length > 1 and not line[i + length - 1].joined):
                    break
                if key in places:
                    places[key].append((number, i))
    made = [_candidate(key, at, text, lines, judge) for key, at in places.items()]
    counts = PhraseFinder(one.term for one in made).count(text)
    # Places that overlap are counted once, and no more contexts than places are shown.
    made = [
        replace(one, count=counts[one.term], contexts=one.contexts[: counts[one.term]])
        for one in made
        if counts[one.term]
    ]
    return sorted(made, key=lambda made: (-made.score, made.term))


def _candidate(
    key: tuple[str, ...],
    places: list[tuple[int, int]],
    text: list[str],
    lines: list[list[Token]],
    judge: Judge,
) -> Candidate:
    spans = [lines[line][i : i + len(key)] for line, i in places]
    contexts = dict.fromkeys(_context(text[line], lines[line], i, len(key)) for line, i in places)
    why, score = _reasons(key, spans, judge)
    return Candidate(
        term=_written(spans, text, places),
        count=len(places),
        why=tuple(why),
        contexts=tuple(contexts)[:2],
        score=round(score + 0.5 * math.log2(len(places)), 6),
    )


def _reasons(
    key: tuple[str, ...], spans: list[list[Token]], judge: Judge
) -> tuple[list[str], float]:
    zipf = [judge.zipf(word) for word in key]
    why, score = [], max(0.0, 5 - sum(zipf) / len(zipf))
    if spans[0][0].reference:
        return ["reference"], score + 3
    if len(key) > 2 and not VERSUS.isdisjoint(key[1:-1]):
        return ["case"], score + 3
    shapes = [shape for word in key if (shape := judge.shape(word))]
    if shapes:
        why.append(shapes[-1])
        score += 1
    if min(zipf) < RARE:
        why.append(f"rare (zipf {min(zipf):.1f})")
    if any(judge.strong(word) == "frequent here" for word in key):
        why.append("frequent here")
    if any(token.capital for span in spans for token in span):
        why.append("capital")
        score += 0.5
    if len(key) > 1:
        npmi = min(judge.npmi(a, b) for a, b in pairwise(key))
        why.append(f"phrase (npmi {npmi:.2f})")
        score += 1
    return why, score


def _written(spans: list[list[Token]], text: list[str], places: list[tuple[int, int]]) -> str:
    """The commonest spelling; one that begins a sentence says little of its first letter."""
    forms: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for span, (line, _) in zip(spans, places):
        form = text[line][span[0].start : span[-1].end]
        forms[form] += 1
        inside[form] += not span[0].initial
    best = max(inside or forms, key=lambda form: (inside[form], forms[form], form))
    span = spans[0]
    alone = not inside[best] and not any(token.text[0].isupper() for token in span[1:])
    if alone and best[1:] == best[1:].lower() and not span[0].key.endswith("'s"):
        return best[0].lower() + best[1:]
    return best


def _context(text: str, line: list[Token], i: int, length: int) -> str:
    first, last = max(0, i - _SHOWN), min(len(line), i + length + _SHOWN) - 1
    shown = text[line[first].start : line[last].end]
    return f"{'… ' if first else ''}{shown}{' …' if last + 1 < len(line) else ''}"
