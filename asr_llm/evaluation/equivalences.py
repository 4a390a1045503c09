"""Variants that count as equal, applied to both sides after normalisation.

A TSV has the variants of one word or phrase on each line; all are replaced by the first:

    paracetamol<TAB>acetaminophen<TAB>Tylenol

A GLM is sclite's rule file, in NIST's format:

    [HEALTHCARE] => [HEALTH CARE] / [ ] __ [ ] ;; compounds

Each alternative of ``{A / B}`` on the right of a rule counts as right (``glm_choices``); the first
one is shown. The longest rule at each word applies, and its output is not rewritten again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from asr_llm.evaluation.glm_choices import Piece, nearest
from asr_llm.evaluation.normalized import normalize
from asr_llm.evaluation.rows import fail, read_lines
from asr_llm.evaluation.words import word_errors

Words = tuple[str, ...]
Texts = Mapping[str, str]


@dataclass(frozen=True)
class Rule:
    """``old`` becomes ``new``, between the words ``before`` and ``after`` if given."""

    old: Words
    new: Words
    before: Words = ()
    after: Words = ()
    others: tuple[Words, ...] = ()
    """Other forms that count as right instead of ``new``."""

    @property
    def name(self) -> str:
        """As shown in a report."""
        written = (" ".join(words) or "(nothing)" for words in (self.new, *self.others))
        return f"{' '.join(self.old)} = {' / '.join(written)}"


@dataclass(frozen=True, eq=False)  # compared by identity: hashing thousands of rules is slow
class Equivalences:
    """A normaliser followed by the user's rules; call it with a text.

    ``rules`` apply to normalised words.
    """

    normalizer: str
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        by_first: dict[str, list[Rule]] = defaultdict(list)
        for rule in sorted(self.rules, key=lambda rule: -len(rule.old)):
            by_first[rule.old[0]].append(rule)
        object.__setattr__(self, "_by_first", dict(by_first))

    @classmethod
    def read(cls, path: Path, normalizer: str) -> Equivalences:
        """Read a TSV of variants, or a GLM.

        Raises:
            ScoreError: it is malformed or has no rule, or a variant has two replacements.
        """
        found = _glm(path) if path.suffix.lower() == ".glm" else _variants(path)
        rules: dict[tuple[Words, Words, Words], tuple[str, Rule]] = {}
        for place, given in found:
            old, new, before, after, *others = (
                tuple(normalize(" ".join(words), normalizer).split())
                for words in (given.old, given.new, given.before, given.after, *given.others)
            )
            if not old or (old == new and not others):  # the normaliser already does it
                continue
            rule, key = Rule(old, new, before, after, tuple(others)), (old, before, after)
            if key in rules and rules[key][1] != rule:
                fail(
                    place,
                    f"{' '.join(old)!r}, which becomes another thing at {rules[key][0]}",
                    "each variant once",
                )
            rules.setdefault(key, (place, rule))
        return cls(normalizer, tuple(rule for _, rule in rules.values()))

    def __call__(self, text: str) -> str:
        """Normalise and rewrite a text."""
        words: list[str] = []
        for _, piece in self._pieces(text):
            words += piece
        return " ".join(words)

    @property
    def has_choices(self) -> bool:
        """Whether any rule has alternatives."""
        return any(rule.others for rule in self.rules)

    def heard(self, reference: str, hypothesis: str) -> str:
        """Rewrite the hypothesis, with the alternatives nearest to the reference."""
        said, heard = (
            [Piece(words, rule.others if rule else ()) for rule, words in self._pieces(text)]
            for text in (reference, hypothesis)
        )
        return nearest(said, heard)

    def count(self, texts: Iterable[str]) -> Counter[str]:
        """Count how often each rule applies in the texts."""
        return Counter(rule.name for text in texts for rule, _ in self._pieces(text) if rule)

    def _pieces(self, text: str) -> Iterator[tuple[Rule | None, Words]]:
        words, at = tuple(normalize(text, self.normalizer).split()), 0
        by_first: dict[str, list[Rule]] = self._by_first  # type: ignore[attr-defined]
        while at < len(words):
            here = by_first.get(words[at], ())
            rule = next((rule for rule in here if _applies(rule, words, at)), None)
            yield rule, rule.new if rule else words[at : at + 1]
            at += len(rule.old) if rule else 1


def accepted(
    equivalences: Equivalences, references: Mapping[str, str], systems: Mapping[str, Texts]
) -> dict[str, Any]:
    """The ``equivalences`` block of scores.json: what each rule rewrote, and errors without it."""
    counts = {"reference": equivalences.count(references.values())}
    counts |= {name: equivalences.count(texts.values()) for name, texts in systems.items()}
    applied = sorted(set().union(*counts.values()))
    plain = equivalences.normalizer
    return {
        "rules": len(equivalences.rules),
        "applied": {
            rule: {name: count[rule] for name, count in counts.items()} for rule in applied
        },
        "word_errors_without": {
            name: sum(
                word_errors(
                    reference=[normalize(text, plain)], hypothesis=[normalize(texts[i], plain)]
                ).errors
                for i, text in references.items()
            )
            for name, texts in systems.items()
        },
    }


def _applies(rule: Rule, words: Words, at: int) -> bool:
    end = at + len(rule.old)
    start = at - len(rule.before)
    return (
        words[at:end] == rule.old
        and start >= 0
        and words[start:at] == rule.before
        and words[end : end + len(rule.after)] == rule.after
    )


def _variants(path: Path) -> Iterator[tuple[str, Rule]]:
    empty = True
    for place, line in read_lines(path):
        if line.startswith("#"):
            continue
        first, *others = (tuple(cell.split()) for cell in line.rstrip().split("\t"))
        if not others:
            fail(place, "one variant", "two or more, with tabs between")
        if not first or not all(others):
            fail(place, "an empty variant", "words between tabs")
        empty = False
        yield from ((place, Rule(other, first)) for other in others)
    if empty:
        fail(path, "nothing in it", "the variants of a word on each line, with tabs between")


_RULE = re.compile(
    r"(?P<old>\[[^\]]*\]|.*?)\s*=>\s*(?P<new>\[[^\]]*\]|[^/\[\]]*|\{.*\})"
    r"(?:\s*/\s*\[(?P<before>[^\]]*)\]\s*_+\s*\[(?P<after>[^\]]*)\])?\s*"
)


def _glm(path: Path) -> Iterator[tuple[str, Rule]]:
    empty = True
    for place, line in read_lines(path):
        text = line.split(";;")[0].strip()
        if not text or text.startswith((";", "*")):  # comments; directives, such as * name "en.glm"
            continue
        match = _RULE.fullmatch(text)
        if match is None:
            fail(place, "no rule", "[OLD] => [NEW] / [ ] __ [ ]")
        old, before, after = (_words(match[part] or "") for part in ("old", "before", "after"))
        new, *others = _alternatives(match["new"])
        empty = False
        yield place, Rule(old, new, before, after, tuple(others))
    if empty:
        fail(path, "no rule in it", "[OLD] => [NEW] / [ ] __ [ ] on each line")


def _alternatives(part: str) -> list[Words]:
    """The options of ``{A / B}``; a part without braces is its own only option."""
    match = re.search(r"\{([^{}]*)\}", part)
    if match is None:
        return [tuple(word for word in _words(part) if word != "@")]
    before, after = part[: match.start()], part[match.end() :]
    each = (_alternatives(before + one + after) for one in match[1].split("/"))
    return list(dict.fromkeys(chain.from_iterable(each)))


def _words(part: str) -> Words:
    return tuple(re.sub(r"[\[\]]", " ", part).split())
