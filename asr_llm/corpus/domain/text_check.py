"""Problems of sentences: mixed styles, overlap of train with dev or test, and unused ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from asr_llm.corpus.domain.files import Line, Problem
from asr_llm.corpus.domain.names import named
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.errors import number_of

_OVERLAP, _SENTENCE = 8, 5  # words in a row
_DIGIT = re.compile(r"\d")
# Not "one", which is a pronoun more often than a number.
_NUMBER_WORD = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|"
    r"(twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million)\b",
    re.IGNORECASE,
)


def style_problems(train: list[Line]) -> Iterator[Problem]:
    """Report mixed casing, and numbers written both as digits and as words."""
    cased = [line for line in train if any(c.isalpha() for c in line.text)]
    lower = [line for line in cased if line.text == line.text.lower()]
    upper = [line for line in cased if line.text != line.text.lower()]
    yield from _mixed(lower, "all lower-case", upper, "with capitals", "casing")
    digits = [line for line in train if _DIGIT.search(line.text)]
    words = [line for line in train if _NUMBER_WORD.search(line.text)]
    yield from _mixed(digits, "with digits", words, "with number words", "number style")


def _mixed(
    some: list[Line], one: str, others: list[Line], other: str, what: str
) -> Iterator[Problem]:
    if some and others:
        at = min(some, others, key=len)[0]
        message = f"mixed {what}: {number_of(len(some), 'line')} {one}, {len(others)} {other}"
        yield Problem(str(at.file), at.number, "warning", message, "write all lines alike")


def overlap_problems(split: str, train: list[Line], held_out: list[Line]) -> Iterator[Problem]:
    """Report test sentences that overlap with the training text."""
    learnt = {hash(gram) for line in train for gram in _telling(line.text)}
    shared = [
        line for line in held_out if any(hash(gram) in learnt for gram in _telling(line.text))
    ]
    for file in dict.fromkeys(line.file for line in shared):
        there = [line.number for line in shared if line.file == file]
        total = sum(line.file == file for line in held_out)
        lines = named([str(number) for number in sorted(set(there))])
        yield Problem(
            str(file),
            min(there),
            "warning",
            f"{len(there)} of {total} {split} sentences are in train too, or share "
            f"{_OVERLAP} words in a row with it (lines {lines})",
            "remove them from one of the two, or scores will be too good",
        )


def unspoken_problems(file: Path, text: list[Line], recorded: list[Line]) -> Iterator[Problem]:
    """Report test sentences in ``file`` that recordings take the place of."""
    written = {line.text for line in text if line.file == file}
    if written and recorded:
        message = f"{number_of(len(written), 'sentence')} beside recordings, which alone are tested"
        fix = "remove either, or make the sentences a domain of their own"
        yield Problem(str(file), None, "warning", message, fix)


def _telling(text: str) -> Iterator[tuple[str, ...]]:
    """Word sequences unlikely to repeat by chance: eight in a row, or a whole sentence of five."""
    words = normalize(text, "basic").split()
    return _grams(text, min(_OVERLAP, max(len(words), _SENTENCE)))


def _grams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = normalize(text, "basic").split()
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))
