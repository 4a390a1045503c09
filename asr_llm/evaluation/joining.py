"""Join references and hypotheses by id, literally, by pattern, or on the common subset."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from asr_llm.errors import ScoreError
from asr_llm.evaluation.rows import Row, few, mismatch

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Joined:
    """References and each system's hypotheses for them; ``warnings`` say what was changed."""

    rows: dict[str, Row]
    systems: dict[str, dict[str, str]]
    warnings: list[str]


def join(
    rows: Mapping[str, Row],
    systems: Mapping[str, Texts],
    *,
    id_pattern: str | None = None,
    common: bool = False,
    allow_missing: bool = False,
) -> Joined:
    """Join by id.

    Args:
        id_pattern: a regular expression searched for in every id, including references; its first
            group, or the whole match without groups, becomes the id. Without a pattern, if no id of
            a system matches a reference, then folders, file suffixes and an ending shared by all of
            the system's ids are dropped.
        common: score only utterances that every system has.
        allow_missing: a missing hypothesis counts as empty; hypotheses without a reference are
            dropped.

    Raises:
        ScoreError: ids do not match, or a pattern maps two ids to one.
    """
    if common and allow_missing:
        raise ScoreError("--common skips what --allow-missing scores as empty; give only one")
    warnings: list[str] = []
    if id_pattern is not None:
        rows, systems = _by_pattern(rows, systems, id_pattern)
    systems = {name: _stripped(name, rows, texts, warnings) for name, texts in systems.items()}
    for name, texts in systems.items():
        _check_any(name, rows, texts)
    if common:
        rows = _common(rows, systems, warnings)
    found = {
        name: _one(name, rows, texts, common or allow_missing, [] if common else warnings)
        for name, texts in systems.items()
    }
    return Joined(dict(rows), found, warnings)


def _check_any(name: str, rows: Mapping[str, Row], texts: Texts) -> None:
    if not rows.keys() & texts.keys():
        what = mismatch(name, list(rows), list(texts))
        raise ScoreError(
            f"{what}. Not one id is in both; expected hypotheses of the same utterances: check "
            "the two files, and how each names its utterances (--id-pattern)"
        )


def _one(
    name: str, rows: Mapping[str, Row], texts: Texts, allowed: bool, warnings: list[str]
) -> dict[str, str]:
    """The hypothesis of each reference; "" for a missing one if allowed."""
    missing = [i for i in rows if i not in texts]
    extra = [i for i in texts if i not in rows]
    if (missing or extra) and not allowed:
        raise ScoreError(
            f"{mismatch(name, missing, extra)}. Give references and hypotheses the same ids, or "
            "--allow-missing to count what is missing as nothing heard and to leave out what is "
            "extra, or --common to score what all systems have"
        )
    if missing or extra:
        warnings.append(mismatch(name, missing, extra))
    return {i: texts.get(i, "") for i in rows}


def _common(
    rows: Mapping[str, Row], systems: Mapping[str, Texts], warnings: list[str]
) -> dict[str, Row]:
    kept = {i: row for i, row in rows.items() if all(i in texts for texts in systems.values())}
    if not kept:
        raise ScoreError(
            "--common: no utterance has a hypothesis of every system; leave out those that have few"
        )
    left_out = [i for i in rows if i not in kept]
    if left_out:
        lacking = {name: len(rows.keys() - texts.keys()) for name, texts in systems.items()}
        named = ", ".join(f"{name} lacks {count}" for name, count in lacking.items() if count)
        warnings.append(
            f"scored are the {len(kept)} of {len(rows)} utterances that all systems have; left "
            f"out: {few(left_out)}: {named}"
        )
    for name, texts in systems.items():
        if extra := [i for i in texts if i not in rows]:
            warnings.append(mismatch(name, [], extra))
    return kept


def _by_pattern(
    rows: Mapping[str, Row], systems: Mapping[str, Texts], given: str
) -> tuple[dict[str, Row], dict[str, dict[str, str]]]:
    try:
        pattern = re.compile(given)
    except re.error as error:
        raise ScoreError(
            f"--id-pattern {given!r} is not a regular expression ({error}); expected one such as "
            "'(day\\d+_consultation\\d+)'"
        ) from error
    ids = _renamed("the references", rows, pattern)
    found = {ids[i]: replace(row, id=ids[i]) for i, row in rows.items()}
    texts = {}
    for name, said in systems.items():
        ids = _renamed(f"system {name!r}", said, pattern)
        texts[name] = {ids[i]: text for i, text in said.items()}
    return found, texts


def _renamed(whose: str, ids: Iterable[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """Map each id to its new id."""
    new: dict[str, str] = {}
    old: dict[str, str] = {}
    for i in ids:
        match = pattern.search(i)
        name = match and (match[1] if pattern.groups else match[0])
        if not name:
            raise ScoreError(
                f"--id-pattern {pattern.pattern!r}: found nothing in {i!r} of {whose}; expected a "
                "match in every id"
            )
        if name in old:
            raise ScoreError(
                f"--id-pattern {pattern.pattern!r}: {old[name]!r} and {i!r} of {whose} both become "
                f"{name!r}; expected an id for each"
            )
        new[i], old[name] = name, i
    return new


def _stripped(
    name: str, rows: Mapping[str, Row], texts: Texts, warnings: list[str]
) -> dict[str, str]:
    """The texts by reference id, if dropping parts of the ids makes them match."""
    if rows.keys() & texts.keys() or not texts:
        return dict(texts)
    by_stem = {_stem(i): i for i in rows}
    ending = _ending(rows, texts)
    attempts = [
        ("folders and suffixes of files", {i: by_stem.get(_stem(i), i) for i in texts}),
        (f"the ending {ending!r}", {i: i.removesuffix(ending) for i in texts}),
    ]
    for what, ids in attempts:
        unique = len(set(ids.values())) == len(ids) and len(by_stem) == len(rows)
        if unique and rows.keys() & ids.values():
            old, new = next((i, n) for i, n in ids.items() if n in rows)
            warnings.append(f"system {name!r}: ids matched without {what}, as {old!r} with {new!r}")
            return {ids[i]: text for i, text in texts.items()}
    return dict(texts)


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem


def _ending(rows: Iterable[str], texts: Texts) -> str:
    """The suffix that all of a system's ids add to reference ids, or ""."""
    first = next(iter(texts))
    begun = max((i for i in rows if first.startswith(i)), key=len, default=first)
    ending = first[len(begun) :]
    return ending if all(i.endswith(ending) for i in texts) else ""
