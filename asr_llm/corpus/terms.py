"""Proposes the terms of a domain from its text, for a person to edit.

A word is a candidate if general language hardly uses it, if it has the shape of a medical word,
or if it is capitalised inside a sentence. Neighbours are one phrase if both are candidates, or if
they stand together much more often than chance has it: normalised pointwise mutual information
(Bouma 2009, "Normalized (pointwise) mutual information in collocation extraction").
Nothing is written or logged: the text may be a patient's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from asr_llm.corpus.domain import Domain
from asr_llm.corpus.domain_files import Problem, read_text
from asr_llm.errors import DomainError


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


RARE = 3.5
"""Zipf frequency (log10 of occurrences in 10^9 words) under which a word is a candidate."""
KNOWN = 4.5
"""Zipf frequency from which a word alone is none, however often the text has it."""
_UNCOMMON = 4.3  # Zipf frequency under which a word belongs to the candidate beside it
_FUNCTION = 5.6  # Zipf frequency from which a word joins no phrase
_KEYNESS = 1.5  # log10 of how many times more frequent than in general language
_TOGETHER = 0.5  # NPMI from which neighbours are one phrase
_SHARE = 0.2  # of the rarer word's places beside the other, under which even candidates are none
_SMALL_SHARE = 0.9  # the same for a small word that is English too: "in loco parentis"
_SHOWN = 4  # words of context on each side

_REFERENCES = (
    r"\d+ U\.S\.C\. (?:§+ ?)?\d+\w*(?:\(\w+\))*",  # 42 U.S.C. § 1983
    r"\d+ (?:U\.S\.|S\. ?Ct\.|F\.(?:\dd|4th)?|F\. ?Supp\.(?: \dd)?) \d+",  # 347 U.S. 483
    r"Rule \d+(?:\.\d+)*(?:\(\w+\))*",  # Rule 12(b)(6)
    r"§+ ?\d+[\w.-]*\b(?:\(\w+\))*",
)
_TOKEN = re.compile(
    rf"(?P<reference>(?<!\w)(?:{'|'.join(_REFERENCES)}))"
    r"|\bvs?\.|\b(?:[A-Z]\.){2,}|[^\W_]+(?:['’.&/-][^\W_]+)*"
)
# A point after one or two letters ("Dr.", "v.") ends no sentence.
_SENTENCE_END = re.compile(r"(?<![\W\d_])[^\W_]{3,}[\"'”’)]*[.?!][\"'”’)]* |[?!:] ")
_SHAPE = re.compile(
    r"\w{2,}(itis|ectomy|ostomy|otomy|plasty|scopy|centesis|emia|uria|opathy|osis|algia|penia"
    r"|megaly|plegia|paresis|rrhea|iasis|statin|pril|sartan|olol|azole|mycin|cillin|floxacin"
    r"|gliptin|gliflozin|glutide|dipine|oxetine|azepam|triptan|xaban|parin|[aiu]mab|tinib|trix)s?"
)
_HEADS = _set(
    "disease syndrome disorder artery vein nerve gland valve bone tendon ligament muscle duct "
    "act code clause amendment doctrine rule statute"
)
"""Common words that end a phrase whose word before is a candidate."""
_LATIN = _set(
    "ab ad ante causa de ex fide fides in inter intra ipsa ipse ipso jus lex lis mala malum "
    "non novo nunc per post pro qua quid qui quo res se sub sui ultra vires"
)
_ALSO_ENGLISH = _set("in de per post se pro ex")  # not Latin by themselves
_VERSUS = frozenset({"v.", "vs.", "v", "vs", "versus"})
_TITLES = _set("mr mrs ms miss mister dr doctor judge justice professor")


@dataclass(frozen=True)
class Candidate:
    """A proposed term: how often the text has it, why it was proposed, up to two places."""

    term: str
    count: int
    why: tuple[str, ...]
    contexts: tuple[str, ...]
    score: float


class General:
    """How common words are in general language: in sentences of it and in English at large."""

    def __init__(self, sentences: Iterable[str] = (), english: bool = True) -> None:
        self._counts = Counter(token.key for line in sentences for token in _tokens(line))
        self._total = max(10_000, self._counts.total())  # one word in a short text is little
        self._english = english

    def zipf(self, word: str) -> float:
        """Zipf frequency of a word, or of the word it is an inflection of: the higher."""
        return max(map(self._zipf, _bases(word.casefold().replace("’", "'"))))

    def _zipf(self, word: str) -> float:
        count = self._counts[word]
        own = 9 + math.log10(count / self._total) if count else 0.0
        return max(own, _english_zipf(word)) if self._english else own


@cache
def _english_zipf(word: str) -> float:
    from wordfreq import zipf_frequency  # 0.2 s

    return zipf_frequency(word, "en")


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
            f"{path}: found nothing; expected a text file or a domain folder: check the path"
        )
    problems: list[Problem] = []
    sentences = [line.text for line in read_text(path, problems)]
    if problems:
        raise DomainError(str(problems[0]))
    if not sentences:
        raise DomainError(f"{path}: no text in it; expected one utterance a line")
    return sentences


def propose_from_files(
    texts: Sequence[Path], general: Sequence[Path] = (), least: int = 1
) -> list[Candidate]:
    """``propose`` for text files and domain folders; only what occurs ``least`` times.

    Raises:
        DomainError: see ``read_sentences``.
    """
    domain = [sentence for path in texts for sentence in read_sentences(path)]
    known = General(sentence for path in general for sentence in read_sentences(path))
    return [found for found in propose(domain, known) if found.count >= least]


# Proposing -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    text: str
    key: str  # how words are told apart: case and the form of the apostrophe do not count
    start: int
    end: int
    initial: bool  # begins a sentence, where a capital says nothing
    joined: bool  # only a space before it
    capital: bool  # and that says something
    reference: bool


def propose(sentences: Sequence[str], general: General) -> list[Candidate]:
    """The likely terms of ``sentences``, the likeliest first.

    A phrase is kept whole; its parts are proposed too only if they stand elsewhere by themselves.
    ``count`` is of all places where the term's words stand next to one another, in whatever case.
    The order of the sentences matters to the contexts alone.
    """
    text = [" ".join(sentence.split()) for sentence in sentences]
    lines = [_tokens(sentence) for sentence in text]
    judge = _Judge(lines, general)
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
    return sorted(made, key=lambda made: (-made.score, made.term))


def _tokens(sentence: str) -> list[_Token]:
    sentence = " ".join(sentence.split())
    starts = {0} | {match.end() for match in _SENTENCE_END.finditer(sentence)}
    found = list(_TOKEN.finditer(sentence))
    in_capitals = sum(match.group()[0].isupper() for match in found)
    prose = 2 * in_capitals <= len(found) + 1  # no heading
    tokens, end = [], -1
    for match in found:
        text, start = match.group(), match.start()
        before = sentence[max(end, 0) : start]
        initial = end < 0 or any(end <= at <= start for at in starts)
        tokens.append(
            _Token(
                text=text,
                key=text.casefold().replace("’", "'"),
                start=start,
                end=match.end(),
                initial=initial,
                joined=before == " " and end >= 0 and not initial,
                capital=prose and not initial and text[0].isupper(),
                reference=match["reference"] is not None,
            )
        )
        end = match.end()
    return tokens


class _Judge:
    """Knows the words of a text and those of general language."""

    def __init__(self, lines: list[list[_Token]], general: General) -> None:
        self.words = Counter(token.key for line in lines for token in line)
        self.pairs = Counter(
            (a.key, b.key) for line in lines for a, b in pairwise(line) if b.joined
        )
        self.total = max(1, self.words.total())
        self.zipf = cache(general.zipf)
        self.strong = cache(self._strong)

    def _strong(self, word: str) -> str:
        """Why a word is a candidate by itself; empty if it is none."""
        if len(word) < 3 or not any(map(str.isalpha, word)) or word in _VERSUS:
            return ""
        zipf = self.zipf(word)
        if shape := self.shape(word):
            return shape
        if zipf < RARE:
            return "rare"
        keyness = 9 + math.log10(self.words[word] / self.total) - zipf
        frequent = self.words[word] >= 3 and keyness >= _KEYNESS
        return "frequent here" if zipf < KNOWN and frequent else ""

    def shape(self, word: str) -> str:
        """The medical ending of a word that is not an everyday one."""
        match = _SHAPE.fullmatch(word)
        return f"-{match[1]}" if match and self.zipf(word) < 4 else ""

    def npmi(self, a: str, b: str) -> float:
        """Normalised pointwise mutual information of neighbours, -1 to 1."""
        together = self.pairs[a, b] / self.total
        if not 0 < together < 1:
            return -1.0
        apart = self.words[a] * self.words[b] / self.total**2
        return math.log(together / apart) / -math.log(together)

    def candidates(self, line: list[_Token]) -> list[tuple[str, ...]]:
        """The candidates of a sentence, none within another."""
        cuts, i = [], 0
        while i < len(line):
            end = self._end(line, i)
            cuts.append((i, end))
            i = end
        return [
            tuple(token.key for token in line[start:end])
            for start, end in cuts
            if end - start > 1 or self._stands(line[start])
        ]

    def _stands(self, token: _Token) -> bool:
        if token.reference or self.strong(token.key):
            return True
        named = token.capital and len(token.key) > 1 and token.key not in _TITLES
        return named and self.zipf(token.key) < KNOWN

    def _end(self, line: list[_Token], i: int) -> int:
        """Where the phrase that begins at ``i`` ends; i + 1 if none does."""
        end = self._name_end(line, i)
        if i < end < len(line) and line[end].joined and line[end].key in _VERSUS:
            after = self._name_end(line, end + 1)
            if after > end + 1 and line[end + 1].joined:
                return after
        end = i + 1
        while end < len(line) and line[end].joined:
            if self._link(line[end - 1], line[end]):
                end += 1
            elif self._bridge(line, end):
                end += 2
            else:
                break
        while end > i + 1 and line[end - 1].key in _ALSO_ENGLISH:
            end -= 1
        return end

    def _name_end(self, line: list[_Token], i: int) -> int:
        """Where the capitalised words from ``i`` on end; i if there are none."""
        if i >= len(line) or not line[i].text[0].isupper():
            return i
        if line[i].initial and self.zipf(line[i].key) >= _FUNCTION:
            return i
        i += 1
        while i < len(line) and line[i].joined:
            if line[i].text[0].isupper():
                i += 1
            elif self._bridge(line, i):
                i += 2
            else:
                break
        return i

    def _bridge(self, line: list[_Token], i: int) -> bool:
        """Whether the word at ``i`` joins two names: "Board of Education"."""
        if line[i].key not in ("of", "&") or i + 1 >= len(line) or not line[i + 1].joined:
            return False
        before, after = line[i - 1], line[i + 1]
        return after.text[0].isupper() and (before.capital or before.text[0].isupper())

    def _link(self, a: _Token, b: _Token) -> bool:
        """Whether two neighbours belong to one phrase."""
        if a.reference or b.reference or a.key in _TITLES or a.key in _VERSUS or b.key in _VERSUS:
            return False
        if b.capital:
            return a.text[0].isupper() and (a.capital or self.zipf(a.key) < _FUNCTION)
        if self._latin(a.key, b.key):
            return True
        endings = ("ed", "ly")
        if a.key.endswith(endings) or b.key.endswith(endings):
            return False
        frequencies = self.zipf(a.key), self.zipf(b.key)
        share = self.share(a.key, b.key)
        if max(frequencies) >= _FUNCTION or share < _SHARE:
            return False
        alone = [self.alone(a.key) or (a.capital and frequencies[0] < KNOWN), self.alone(b.key)]
        uncommon = max(frequencies) < _UNCOMMON or all(alone)
        if uncommon and any(alone):
            return True
        if b.key in _HEADS and (alone[0] or frequencies[0] < _UNCOMMON):
            return True
        often = self.pairs[a.key, b.key] >= 2 and self.npmi(a.key, b.key) >= _TOGETHER
        return often and (any(alone) or max(frequencies) < KNOWN)

    def alone(self, word: str) -> bool:
        """Whether a word is a candidate however seldom the text has it."""
        return self.strong(word) not in ("", "frequent here")

    def share(self, a: str, b: str) -> float:
        """How many of the rarer word's places are beside the other."""
        return self.pairs[a, b] / min(self.words[a], self.words[b])

    def _latin(self, a: str, b: str) -> bool:
        """Whether one is a small word of Latin and the other its like or a rare word."""
        if a not in _LATIN and b not in _LATIN:
            return False
        if not all(word in _LATIN or self.alone(word) for word in (a, b)):
            return False
        if any(word in _LATIN and word not in _ALSO_ENGLISH for word in (a, b)):
            return True
        return self.pairs[a, b] >= 2 and self.share(a, b) >= _SMALL_SHARE


def _candidate(
    key: tuple[str, ...],
    places: list[tuple[int, int]],
    text: list[str],
    lines: list[list[_Token]],
    judge: _Judge,
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
    key: tuple[str, ...], spans: list[list[_Token]], judge: _Judge
) -> tuple[list[str], float]:
    zipf = [judge.zipf(word) for word in key]
    why, score = [], max(0.0, 5 - sum(zipf) / len(zipf))
    if spans[0][0].reference:
        return ["reference"], score + 3
    if len(key) > 2 and not _VERSUS.isdisjoint(key[1:-1]):
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


def _written(spans: list[list[_Token]], text: list[str], places: list[tuple[int, int]]) -> str:
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


def _context(text: str, line: list[_Token], i: int, length: int) -> str:
    first, last = max(0, i - _SHOWN), min(len(line), i + length + _SHOWN) - 1
    shown = text[line[first].start : line[last].end]
    return f"{'… ' if first else ''}{shown}{' …' if last + 1 < len(line) else ''}"
