"""References and any system's hypotheses → the contents of `scores.json`, and its table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, NamedTuple

from asr_llm.corpus.text import normalize
from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import EntityFinder, Mention, MentionOutcome, outcomes
from asr_llm.evaluation.significance import paired_bootstrap
from asr_llm.evaluation.words import WordErrors, char_errors, word_errors

BASE = "base"
"""The name of the unadapted system."""

Texts = Mapping[str, str]
"""Utterance id → text."""


class Row(NamedTuple):
    """One line of the table, formatted. ``change`` is in percentage points."""

    metric: str
    counts: str
    base: str
    adapted: str
    change: str


@dataclass(frozen=True)
class _Measured:
    """One system by utterance id; everything under "raw" and under "normalized"."""

    words: dict[str, dict[str, WordErrors]]
    characters: dict[str, dict[str, WordErrors]]
    entities: dict[str, dict[str, list[MentionOutcome]]]


def score(
    *,
    references: Texts,
    systems: Mapping[str, Texts],
    finder: EntityFinder | None = None,
    normalizer: str = "basic",
    general: Mapping[str, tuple[Texts, Texts]] | None = None,
    blocks: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score systems against references, joined by utterance id.

    Args:
        references: what was said, by utterance id.
        systems: what each system wrote, raw, by system name and utterance id. The unadapted one
            is named ``base``; without a ``base`` the first takes its place.
        finder: finds the entities in the references. Without it none are scored.
        normalizer: of the "normalized" figures.
        general: by system name, references and hypotheses of a general test set, where
            forgetting shows.
        blocks: utterance id → speaker, voice or recording, drawn as one in the bootstrap;
            without it every utterance is its own block. Ids beyond the references are ignored.
        seed: of the bootstrap.

    Returns:
        The `scores.json` dictionary. Rates are fractions of pooled counts; ``None`` where there
        is nothing to divide by (no mention; words inserted where none were said). Under "cer"
        the count "words" is of characters. "comparison" holds the second system minus the first
        for "eer" (raw), "eer_normalized" and "wer" (normalized); it is empty for one system.
        "reference.mentions" is ``None``, and "entities" absent, without a finder.

    Raises:
        ScoreError: nothing to score; ids that do not match; a block missing.
        AsrLlmError: unknown normaliser.
    """
    if not references or not systems:
        raise ScoreError(
            f"nothing to score: {len(references)} references and {len(systems)} systems; "
            "give at least one of each"
        )
    # Words are what counts, so white space may be evened out before entities are looked for.
    spoken = {i: " ".join(text.split()) for i, text in references.items()}
    mentions = {i: finder.find(text) for i, text in spoken.items()} if finder else None
    measured = {
        name: _measure(name, spoken, hypotheses, mentions, normalizer)
        for name, hypotheses in systems.items()
    }
    for name in general or {}:
        if name not in systems:
            raise ScoreError(
                f"general test set for unknown system {name!r}; expected one of: "
                + ", ".join(systems)
            )
    return {
        "reference": {
            "utterances": len(spoken),
            "words": sum(len(text.split()) for text in spoken.values()),
            "mentions": None if mentions is None else sum(map(len, mentions.values())),
        },
        "normalizer": normalizer,
        "alignment": "unit costs",
        "systems": {name: _system(m) for name, m in measured.items()},
        "general": {
            name: {"wer": _pooled(_measure(f"{name}, general", *texts, None, normalizer).words)}
            for name, texts in (general or {}).items()
        },
        "comparison": _compare([measured[name] for name in _pair(systems)], spoken, blocks, seed),
    }


def table(scores: Mapping[str, Any]) -> list[Row]:
    """The rows of a table: entity error rates, then word error rates, base beside adapted.

    EER is raw first, overall and for each label, then normalised; WER is of normalised text.
    Counts read errors/total, of base → adapted (of the only system where there is one).
    """
    names = _pair(scores["systems"])
    chosen = [scores["systems"][name] for name in names]
    rows = []
    if all("entities" in system for system in chosen):
        raw = [system["entities"]["raw"] for system in chosen]
        rows.append(_row("EER (raw)", raw))
        for label in raw[0]["by_label"]:
            rows.append(_row(f"EER (raw) {label}", [r["by_label"][label] for r in raw]))
        rows.append(_row("EER (normalized)", [s["entities"]["normalized"] for s in chosen]))
    rows.append(_row("WER domain (normalized)", [s["wer"]["normalized"] for s in chosen]))
    general = [scores["general"].get(name) for name in names]
    if any(general):
        counts = [g and g["wer"]["normalized"] for g in general]
        rows.append(_row("WER general (normalized)", counts))
    return rows


def _row(metric: str, counts: Sequence[Mapping[str, Any] | None]) -> Row:
    fractions: list[str] = []
    rates: list[float | None] = []
    for c in counts:
        if c is None:
            fractions.append("–")
            rates.append(None)
        elif "mentions" in c:
            fractions.append(f"{c['mentions'] - c['found']}/{c['mentions']}")
            rates.append(c["eer"])
        else:
            fractions.append(f"{c['errors']}/{c['words']}")
            rates.append(c["rate"])
    cells = ["–" if rate is None else f"{100 * rate:.1f}%" for rate in rates]
    change = ""
    if len(rates) == 2:
        base, adapted = rates
        change = "–"
        if base is not None and adapted is not None:
            change = f"{100 * (adapted - base):+z.1f}"
    return Row(metric, " → ".join(fractions), cells[0], cells[1] if cells[1:] else "", change)


def _pair(systems: Iterable[str]) -> list[str]:
    """The base and the system compared with it, or the only one."""
    return sorted(systems, key=lambda name: name != BASE)[:2]


def _measure(
    name: str,
    references: Texts,
    hypotheses: Texts,
    mentions: Mapping[str, Sequence[Mention]] | None,
    normalizer: str,
) -> _Measured:
    _check_ids(name, references, hypotheses)
    measured = _Measured({}, {}, {})
    for text, how in (("raw", "none"), ("normalized", normalizer)):
        words = measured.words[text] = {}
        characters = measured.characters[text] = {}
        for i in references:
            reference = [normalize(references[i], how)]
            hypothesis = [normalize(hypotheses[i], how)]
            words[i] = word_errors(reference=reference, hypothesis=hypothesis)
            characters[i] = char_errors(reference=reference, hypothesis=hypothesis)
        if mentions is not None:
            measured.entities[text] = {
                i: outcomes(
                    utterance=i,
                    reference=references[i],
                    hypothesis=hypotheses[i],
                    mentions=mentions[i],
                    normalizer=how,
                )
                for i in references
            }
    return measured


def _check_ids(name: str, references: Texts, hypotheses: Texts) -> None:
    missing = sorted(references.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - references.keys())
    found = []
    if missing:
        found.append(f"no hypothesis for {_few(missing)}")
    if extra:
        found.append(f"no reference for {_few(extra)}")
    if found:
        raise ScoreError(
            f"system {name!r}: {'; '.join(found)}. Give references and hypotheses the same ids, "
            "an empty text where nothing was heard"
        )


def _few(ids: Sequence[str]) -> str:
    names = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    return f"{len(ids)} utterance{'s' if len(ids) > 1 else ''} ({names})"


def _system(measured: _Measured) -> dict[str, Any]:
    scores = {"wer": _pooled(measured.words), "cer": _pooled(measured.characters)}
    if measured.entities:
        scores["entities"] = {
            text: _entities(list(chain.from_iterable(by_utterance.values())))
            for text, by_utterance in measured.entities.items()
        }
    return scores


def _pooled(errors: Mapping[str, Mapping[str, WordErrors]]) -> dict[str, Any]:
    pooled = {}
    for text, by_utterance in errors.items():
        total = sum(by_utterance.values(), start=WordErrors())
        pooled[text] = {
            "rate": None if math.isinf(total.rate) else total.rate,  # JSON has no infinity
            "errors": total.errors,
            "words": total.words,
            **asdict(total),
        }
    return pooled


def _entities(results: Sequence[MentionOutcome]) -> dict[str, Any]:
    labels = sorted({r.mention.label for r in results})
    by_label = {
        label: _recall([r for r in results if r.mention.label == label]) for label in labels
    }
    return {**_recall(results), "by_label": by_label}


def _recall(results: Sequence[MentionOutcome]) -> dict[str, Any]:
    mentions, found = len(results), sum(r.found for r in results)
    return {
        "mentions": mentions,
        "found": found,
        "recall": found / mentions if mentions else None,
        "eer": (mentions - found) / mentions if mentions else None,
    }


def _compare(
    pair: Sequence[_Measured], ids: Iterable[str], blocks: Mapping[str, str] | None, seed: int
) -> dict[str, Any]:
    if len(pair) < 2:
        return {}
    utterances = defaultdict(list)
    for i in sorted(ids):  # the draw must not hang on the order of the input
        if blocks is not None and i not in blocks:
            raise ScoreError(f"utterance {i!r} is in no block; name the block of every utterance")
        utterances[i if blocks is None else blocks[i]].append(i)

    comparison = {}
    for metric in ("eer", "eer_normalized", "wer"):
        if metric.startswith("eer") and not pair[0].entities:
            continue
        counts = [_errors_of(measured, metric) for measured in pair]
        errors = [[sum(c[i][0] for i in u) for u in utterances.values()] for c in counts]
        sizes = [sum(counts[0][i][1] for i in u) for u in utterances.values()]
        drawn = paired_bootstrap(base=errors[0], adapted=errors[1], sizes=sizes, seed=seed)
        comparison[metric] = asdict(drawn)
    return comparison


def _errors_of(measured: _Measured, metric: str) -> dict[str, tuple[int, int]]:
    """Utterance id → errors, and what they are counted against."""
    if metric == "wer":
        return {i: (e.errors, e.words) for i, e in measured.words["normalized"].items()}
    text = "raw" if metric == "eer" else "normalized"
    return {
        i: (sum(not r.found for r in results), len(results))
        for i, results in measured.entities[text].items()
    }
