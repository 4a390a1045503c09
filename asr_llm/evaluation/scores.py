"""References and any systems' hypotheses → the contents of `scores.json`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from asr_llm.corpus.text.normalizers import Normalizer, version
from asr_llm.errors import ScoreError
from asr_llm.evaluation import caveats
from asr_llm.evaluation.blocks import RESAMPLES, Blocks, Bootstrap
from asr_llm.evaluation.comparison import base_first, compare
from asr_llm.evaluation.entities import EntityFinder, Mention
from asr_llm.evaluation.equivalences import Equivalences, accepted
from asr_llm.evaluation.figures import counted, counts_of, spelled
from asr_llm.evaluation.leaderboard import standings
from asr_llm.evaluation.measured import Measured, ScoringOptions, Texts, measure, mention_rows
from asr_llm.evaluation.safety import safety_rows
from asr_llm.evaluation.system_scores import system_scores, word_scores
from asr_llm.evaluation.words import Costs

__all__ = ["Blocks", "Scored", "base_first", "general_wer_increase", "score"]

Headline = Literal["raw", "normalized"]

_ALIGNMENTS = {
    "unit": "unit costs",
    "sclite": "sclite costs (4, 3, 3)",
    "jiwer": "jiwer (unit costs, its own choice among ties)",
}


@dataclass(frozen=True)
class Scored:
    """``scores`` is the content of `scores.json`; ``mentions`` has a row per mention and system.

    ``safety`` has a row for each safety word that a system did not keep.
    """

    scores: dict[str, Any]
    mentions: list[dict[str, Any]]
    safety: list[dict[str, Any]] = field(default_factory=list)


def score(
    *,
    references: Texts,
    systems: Mapping[str, Texts],
    finder: EntityFinder | None = None,
    mentions: Mapping[str, Sequence[Mention]] | None = None,
    normalizer: str = "basic",
    costs: Costs = "unit",
    general: Mapping[str, tuple[Texts, Texts]] | None = None,
    biasing: Mapping[str, Collection[str]] | Collection[str] | None = None,
    alternatives: Mapping[str, str] | None = None,
    blocks: Blocks | None = None,
    general_blocks: Blocks | None = None,
    recordings: Mapping[str, str] | None = None,
    equivalences: Equivalences | None = None,
    safety: bool = False,
    headline: Headline = "raw",
    sort: str | None = None,
    against: str | None = None,
    seed: int = 0,
) -> Scored:
    """Score systems against references, joined by utterance id.

    Args:
        references: reference texts by utterance id.
        systems: raw hypotheses by system name and utterance id. The unadapted system is named
            ``base``; without a ``base``, the first system is the baseline.
        finder: finds entities in the references, and lists the terms that may be falsely inserted.
            Without it and without ``mentions``, no entities are scored.
        mentions: annotated entities of each reference.
        normalizer: for the "normalized" figures.
        costs: of the word alignment; see ``words.align``.
        general: by system name, references and hypotheses of a general test set, to measure
            forgetting.
        biasing: listed words or phrases, for all utterances or by utterance id, which split word
            errors into U-WER and B-WER (arXiv 2104.02194).
        alternatives: by utterance id, references as written if they have sclite's alternatives;
            those nearest to each hypothesis are used.
        blocks: bootstrap block of each utterance; default: every utterance is its own.
        general_blocks: the same for the general test set.
        recordings: recording of each utterance; default: each is its own.
        equivalences: variants that normalised figures accept.
        safety: whether to count negations, sides, amounts and dose changes that were lost or
            reversed (``safety``).
        headline: which term figures come first, normalised or raw.
        sort: figure to rank systems by (``figures``), in either case; default: EER of the headline,
            or WER without terms.
        against: baseline of the comparisons instead of the first system; "best" is the best by that
            figure.
        seed: of the bootstrap.

    Returns:
        The contents of `scores.json` (see eval/SCORES.md) and a row per mention. Rates are
        fractions of pooled counts; ``None`` if the denominator is zero.

    Raises:
        ScoreError: nothing to score; ids that do not match; a missing block.
        AsrLlmError: unknown normaliser.
    """
    if not references or not systems:
        raise ScoreError(
            f"nothing to score: {len(references)} references and {len(systems)} systems; "
            "give at least one of each"
        )
    # Only words count, so white space may be collapsed before entities are searched for.
    if mentions is None:
        references = {i: " ".join(text.split()) for i, text in references.items()}
        if finder is not None:
            mentions = {i: finder.find(text) for i, text in references.items()}
    listed = finder.listed if finder is not None else {}
    rules = equivalences or normalizer
    options = ScoringOptions(rules, costs, listed, biasing, alternatives or {}, safety=safety)
    measured = measure(references, systems, mentions, options)
    elsewhere = _elsewhere(general or {}, systems, rules, costs)
    drawn = Bootstrap(references, blocks, seed)
    of_recording = recordings or {i: i for i in references}
    by = spelled(sort or _default_figure(mentions, headline), next(iter(measured.values())))
    rows = standings(
        {name: counts_of(m, by, of_recording) for name, m in measured.items()},
        drawn.grouped,
        ranked=not drawn.few,
        resamples=RESAMPLES,
        seed=seed,
    )
    first, *others = _in_order(systems, against, rows[0]["system"])
    compared = {
        name: compare(measured[first], measured[name], drawn, by, of_recording) for name in others
    }
    apart = {name: Bootstrap(m.words["raw"], general_blocks, seed) for name, m in elsewhere.items()}
    for name in others:
        if first in elsewhere and name in elsewhere and apart[first].grouped == apart[name].grouped:
            both = [counted(elsewhere[n].words["normalized"]) for n in (first, name)]
            compared[name]["general_wer"] = apart[name].difference(both)
    figures = {name: system_scores(m, drawn, of_recording) for name, m in measured.items()}
    scores: dict[str, Any] = {
        "reference": {
            "utterances": len(references),
            "words": sum(len(text.split()) for text in references.values()),
            "mentions": None if mentions is None else sum(map(len, mentions.values())),
        },
        "headline": headline,
        "normalizer": normalizer,
        "normalizer_version": version(normalizer),
        "alignment": _ALIGNMENTS[costs],
        "bootstrap": {
            "blocks": len(drawn.grouped),
            "of": drawn.of,
            "resamples": RESAMPLES,
            "seed": seed,
        },
        "warnings": [
            *caveats.of_sample(drawn, blocks is not None, mentions),
            *caveats.of_insertions(figures),
            *caveats.of_apostrophes(normalizer, {"the references": references, **systems}),
        ],
        "systems": figures,
        "general": {
            name: {"wer": word_scores(m.words, apart[name])} for name, m in elsewhere.items()
        },
        "leaderboard": {"by": by, "rows": rows},
        "against": first,
        "comparison": compared[others[0]] if others else {},
        "comparisons": compared,
    }
    if equivalences is not None:
        scores["equivalences"] = accepted(equivalences, references, systems)
    told = [row for name, m in measured.items() for row in mention_rows(name, m)]
    unkept = [row for name, m in measured.items() for row in safety_rows(name, m.safety)]
    return Scored(scores, told, unkept)


def _elsewhere(
    general: Mapping[str, tuple[Texts, Texts]],
    systems: Iterable[str],
    normalizer: Normalizer,
    costs: Costs,
) -> dict[str, Measured]:
    """Each system measured on its general set."""
    for name in general:
        if name not in systems:
            raise ScoreError(
                f"general test set for unknown system {name!r}; expected one of: "
                + ", ".join(systems)
            )
    plain = ScoringOptions(normalizer, costs, {}, None)
    return {
        name: measure(texts[0], {f"{name}, general": texts[1]}, None, plain)[f"{name}, general"]
        for name, texts in general.items()
    }


def _default_figure(mentions: object, headline: Headline) -> str:
    if mentions is None:
        return "wer"
    return "eer" if headline == "normalized" else "eer-raw"


def _in_order(systems: Iterable[str], against: str | None, best: str) -> list[str]:
    """The baseline, then the other systems."""
    names = base_first(systems)
    if against is None:
        return names
    first = best if against.lower() == "best" and against not in names else against
    if first not in names:
        raise ScoreError(
            f"no system is called {first!r}; expected 'best', or one of: {', '.join(names)}"
        )
    return sorted(names, key=lambda name: name != first)


def general_wer_increase(scores: Mapping[str, Any]) -> float:
    """Increase of WER on the general set from the first system to the second, as a fraction.

    Raises:
        ScoreError: there is no general set.
    """
    general = scores["general"]
    rates = [general[name]["wer"]["normalized"]["rate"] for name in base_first(general)]
    if len(rates) < 2 or None in rates:
        raise ScoreError(
            "no general set to measure forgetting on: give --general, or use a model that has one"
        )
    return float(rates[1] - rates[0])
