"""Domain text from sentence templates and term lists.

``"The patient was started on {DRUG} {dose}."`` has an upper-case slot, filled from a term list, and
a lower-case slot, filled from a list of fillers.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterator, Mapping, Sequence

from asr_llm.errors import DomainError

_SLOT = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")
_SLOT_WITH_ARTICLE = re.compile(r"(?:\b([Aa])n?(\s+))?" + _SLOT.pattern)
_CONSONANT_SOUND = re.compile(r"uni(?![nm])|us[aeu]|ut[ei]|ur[eio]|eu|onc?e\b", re.IGNORECASE)
_SILENT_H = re.compile(r"hour|honest|honou?r|heir", re.IGNORECASE)
_NEXT_FEW = 8


def slots(template: str) -> list[str]:
    """Names of the slots of a template, in order, repeated ones repeated."""
    return _SLOT.findall(template)


def is_malformed(template: str) -> bool:
    """Whether any braces are not part of a slot: ``{DRUG`` or ``{}``."""
    return bool(re.search(r"[{}]", _SLOT.sub("", template)))


def expand(
    templates: Sequence[str],
    terms: Mapping[str, Sequence[str]],
    fillers: Mapping[str, Sequence[str]],
    count: int,
    seed: int,
) -> list[str]:
    """Fill templates into ``count`` sentences; the same arguments give the same sentences.

    Templates take turns, and the terms of a label are used equally often (give
    or take one) as far as distinct sentences allow. A sentence repeats only
    after every possible one has been made.

    Args:
        terms: label (upper case) to the terms which fill its slot.
        fillers: slot name (lower case) to the words which fill it.

    Raises:
        DomainError: a template is malformed or has a slot that nothing fills.
    """
    return [sentence for _, sentence in expand_indexed(templates, terms, fillers, count, seed)]


def expand_indexed(
    templates: Sequence[str],
    terms: Mapping[str, Sequence[str]],
    fillers: Mapping[str, Sequence[str]],
    count: int,
    seed: int,
) -> Iterator[tuple[int, str]]:
    """Like ``expand``, with the index of each sentence's template."""
    for template in templates:
        if problem := find_problem(template, terms, fillers):
            raise DomainError(f"template {template!r}: {problem}")
    rng = random.Random(seed)
    decks = {name: _Deck(values, rng) for name, values in (*terms.items(), *fillers.items())}
    seen: set[str] = set()
    exhausted: set[int] = set()
    turns: list[int] = []
    made = 0
    while templates and made < count:
        if not turns:
            turns = [i for i in range(len(templates)) if i not in exhausted]
            rng.shuffle(turns)
            if not turns:  # all sentences are used: start again
                seen.clear()
                exhausted.clear()
                continue
        index = turns.pop()
        sentence = _fill_unseen(templates[index], decks, seen)
        if sentence is None:
            exhausted.add(index)
            continue
        seen.add(sentence)
        made += 1
        yield index, sentence


def find_problem(
    template: str, terms: Mapping[str, Sequence[str]], fillers: Mapping[str, Sequence[str]]
) -> str | None:
    """Why a template cannot be filled, and what to do; None if it can."""
    if is_malformed(template):
        return "unmatched brace; expected {LABEL} or {filler}"
    for name in slots(template):
        if name.isupper() and not terms.get(name):
            if fillers.get(name.lower()):
                return (
                    f"slot {{{name}}} is in capitals; write {{{name.lower()}}}, as under 'fillers'"
                )
            fix = f"add terms/{name.lower()}.tsv{_alike(name, terms)}"
            return f"no terms for slot {{{name}}}; {fix}"
        if not name.isupper() and not fillers.get(name):
            if terms.get(name.upper()):
                return (
                    f"slot {{{name}}} is not in capitals; write {{{name.upper()}}}, as labels are"
                )
            return f"no words for slot {{{name}}}; add it under 'fillers'{_alike(name, fillers)}"
    return None


def unfilled_labels(template: str, terms: Mapping[str, Sequence[str]]) -> list[str]:
    """The labels among the slots of a template that have no terms; [] of a malformed one."""
    names = [] if is_malformed(template) else slots(template)
    return [name for name in dict.fromkeys(names) if name.isupper() and not terms.get(name)]


def _alike(name: str, known: Mapping[str, Sequence[str]]) -> str:
    near = difflib.get_close_matches(name, [k for k, values in known.items() if values], n=1)
    return f", or did you mean {{{near[0]}}}?" if near else ""


class _Deck:
    """The values of a slot in order of use: one shuffled pass after another."""

    def __init__(self, values: Sequence[str], rng: random.Random) -> None:
        self.values = list(dict.fromkeys(values))
        self._rng = rng
        self._upcoming: list[str] = []

    def upcoming(self, width: int | None) -> list[str]:
        """The next ``width`` distinct values, or all values with the next ones first."""
        while len(self._upcoming) <= len(self.values):
            self._upcoming += self._rng.sample(self.values, len(self.values))
        if width is None:
            return list(dict.fromkeys((*self._upcoming, *self.values)))
        return list(dict.fromkeys(self._upcoming[:width]))

    def use(self, value: str) -> None:
        if value in self._upcoming:
            self._upcoming.remove(value)


def _fill_unseen(template: str, decks: Mapping[str, _Deck], seen: set[str]) -> str | None:
    """The template filled into a sentence not in ``seen``; None if there is none left."""
    names = slots(template)
    # The last slots vary fastest. These are the fillers: a duplicate sentence gets another filler
    # before it gets a term out of turn.
    order = sorted(range(len(names)), key=lambda i: not names[i].isupper())
    for width in (_NEXT_FEW, None):  # nearly always the first; the second is exhaustive
        ordered = [names[i] for i in order]
        values = {name: decks[name].upcoming(width) for name in dict.fromkeys(ordered)}
        for chosen in _choices(ordered, values, decks):
            placed = sorted(zip(order, chosen, strict=True))
            sentence = _fill(template, [value for _, value in placed])
            if sentence not in seen:
                for i, value in placed:
                    decks[names[i]].use(value)
                return sentence
    return None


def _choices(
    names: Sequence[str], values: Mapping[str, Sequence[str]], decks: Mapping[str, _Deck]
) -> Iterator[tuple[str, ...]]:
    """Values for slots in turn, the last varying fastest: "{DRUG} and {DRUG}" gets two drugs.

    What cannot become as distinct as the lists allow is left at once: of a dozen slots of one
    name there are more combinations than anybody can wait for.
    """
    most = {name: min(names.count(name), len(decks[name].values)) for name in set(names)}

    def extend(chosen: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if len(chosen) == len(names):
            yield chosen
            return
        name = names[len(chosen)]
        used = {value for other, value in zip(names, chosen) if other == name}
        left = names[len(chosen) + 1 :].count(name)
        for value in values[name]:
            if len(used | {value}) + min(left, len(values[name])) >= most[name]:
                yield from extend((*chosen, value))

    return extend(())


def _fill(template: str, values: Sequence[str]) -> str:
    remaining = iter(values)

    def replace(match: re.Match[str]) -> str:
        value = next(remaining)
        article, space = match.group(1), match.group(2)
        return value if article is None else f"{article}{_n(value)}{space}{value}"

    sentence = _SLOT_WITH_ARTICLE.sub(replace, template)
    for i, character in enumerate(sentence):
        if character.isalnum():
            return sentence[:i] + character.upper() + sentence[i + 1 :]
    return sentence


def _n(word: str) -> str:
    """The n of "an", if the following word starts with a vowel sound."""
    if re.match(r"[A-Z]{2}", word):  # spelled out: an MRI, a UTI
        return "n" if word[0] in "AEFHILMNORSX" else ""
    if _SILENT_H.match(word):
        return "n"
    return "n" if word[:1].lower() in "aeiou" and not _CONSONANT_SOUND.match(word) else ""
