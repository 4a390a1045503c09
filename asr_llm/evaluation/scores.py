"""References and any system's hypotheses → the contents of `scores.json`, and its table."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple

from asr_llm.corpus.text import version
from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import EntityFinder, Mention, MentionOutcome, Term, term_of
from asr_llm.evaluation.equivalences import Equivalences, accepted
from asr_llm.evaluation.figures import Counts, counted, counts_of, safety_counted, term_counted
from asr_llm.evaluation.leaderboard import standings
from asr_llm.evaluation.measured import How, Measured, Texts, measure, mention_rows
from asr_llm.evaluation.recordings import by_recording, means
from asr_llm.evaluation.safety import safety_rows, summary
from asr_llm.evaluation.significance import mcnemar, paired_bootstrap, rate_interval
from asr_llm.evaluation.term_words import Key, term_counts, term_rate, term_words
from asr_llm.evaluation.words import Costs, WordErrors

BASE = "base"
"""The name of the unadapted system."""

RESAMPLES = 1000
FEW_BLOCKS = 6
_CURLY = re.compile(r"(?<=\w)[’ʼ](?=\w)")
Headline = Literal["raw", "normalized"]

FEW_UNSAID = 10  # by chance, or names that others have too


class Row(NamedTuple):
    """One line of the table, formatted. ``change`` is in percentage points."""

    metric: str
    counts: str
    base: str
    adapted: str
    change: str


@dataclass(frozen=True)
class Scored:
    """``scores`` is the content of `scores.json`; ``mentions`` has a row for each and system.

    ``safety`` has a row for each safety word that a system did not keep.
    """

    scores: dict[str, Any]
    mentions: list[dict[str, Any]]
    safety: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Blocks:
    """What the bootstrap draws as one: the block of each utterance, and what a block is."""

    of: Mapping[str, str]
    kind: str = "speaker"


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
        references: what was said, by utterance id.
        systems: what each system wrote, raw, by system name and utterance id. The unadapted one
            is named ``base``; without a ``base`` the first takes its place.
        finder: finds the entities in the references, and lists the terms that may be falsely
            inserted. Without it, and without ``mentions``, none are scored.
        mentions: the entities of each reference, where they are annotated.
        normalizer: of the "normalized" figures.
        costs: of the word alignment; see ``words.align``.
        general: by system name, references and hypotheses of a general test set, where
            forgetting shows.
        biasing: listed words or phrases, for all utterances or by utterance id, by which word
            errors are split into U-WER and B-WER (arXiv 2104.02194).
        alternatives: by utterance id, references as written where they have sclite's alternatives;
            words are compared with those that come nearest to each hypothesis.
        blocks: what is drawn as one in the bootstrap; without it every utterance is its own.
        general_blocks: the same of the general test set.
        recordings: the recording of each utterance; without them each is one.
        equivalences: variants that the normalised figures accept for each other.
        safety: whether to count negations, sides, amounts and changes of a dose that were lost or
            turned round (``safety``).
        headline: which terms' figures come first, those of normalised texts or of texts as written.
        sort: the figure to rank systems by (``figures``); default: the headline's EER, or WER where
            there are no terms.
        against: the system that the others are compared with, in place of the first; "best" is the
            best by that figure.
        seed: of the bootstrap.

    Returns:
        The contents of `scores.json` (described in eval/SCORES.md) and a row for each mention.
        Rates are fractions of pooled counts; ``None`` where there is nothing to divide by (no
        mention; words inserted where none were said).

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
    if mentions is None:
        references = {i: " ".join(text.split()) for i, text in references.items()}
        if finder is not None:
            mentions = {i: finder.find(text) for i, text in references.items()}
    listed = finder.listed if finder is not None else {}
    how = How(equivalences or normalizer, costs, listed, biasing, alternatives or {}, safety=safety)
    measured = measure(references, systems, mentions, how)
    for name in general or {}:
        if name not in systems:
            raise ScoreError(
                f"general test set for unknown system {name!r}; expected one of: "
                + ", ".join(systems)
            )
    grouped = _grouped(references, blocks)
    of_recording = recordings or {i: i for i in references}
    by = sort or _default_figure(mentions, headline)
    rows = standings(
        {name: counts_of(m, by, of_recording) for name, m in measured.items()},
        grouped,
        ranked=len(grouped) >= FEW_BLOCKS,
        resamples=RESAMPLES,
        seed=seed,
    )
    first, *others = _in_order(systems, against, rows[0]["system"])
    compared = {name: _compare(measured[first], measured[name], grouped, seed) for name in others}
    plain = How(equivalences or normalizer, costs, {}, None)
    elsewhere = {
        name: measure(texts[0], {f"{name}, general": texts[1]}, None, plain)[f"{name}, general"]
        for name, texts in (general or {}).items()
    }
    drawn = {name: _grouped(m.words["raw"], general_blocks) for name, m in elsewhere.items()}
    for name in others:
        if first in elsewhere and name in elsewhere and drawn[first] == drawn[name]:
            both = [counted(elsewhere[n].words["normalized"]) for n in (first, name)]
            compared[name]["general_wer"] = _difference(both, drawn[name], seed)
    figures = {
        name: _system(m, grouped, seed) | _by_recording(m, of_recording)
        for name, m in measured.items()
    }
    scores: dict[str, Any] = {
        "reference": {
            "utterances": len(references),
            "words": sum(len(text.split()) for text in references.values()),
            "mentions": None if mentions is None else sum(map(len, mentions.values())),
        },
        "headline": headline,
        "normalizer": normalizer,
        "normalizer_version": version(normalizer),
        "alignment": "unit costs" if costs == "unit" else "sclite costs (4, 3, 3)",
        "bootstrap": {
            "blocks": len(grouped),
            "of": blocks.kind if blocks else "utterance",
            "resamples": RESAMPLES,
            "seed": seed,
        },
        "warnings": [
            *_warnings(grouped, blocks, mentions),
            *_unsaid(figures),
            *_curly(normalizer, {"the references": references, **systems}),
        ],
        "systems": figures,
        "general": {
            name: {"wer": _with_intervals(m.words, drawn[name], seed)}
            for name, m in elsewhere.items()
        },
        "leaderboard": {"by": by, "rows": rows},
        "comparison": compared[others[0]] if others else {},
        "comparisons": compared,
    }
    if equivalences is not None:
        scores["equivalences"] = accepted(equivalences, references, systems)
    told = [row for name, m in measured.items() for row in mention_rows(name, m)]
    unkept = [row for name, m in measured.items() for row in safety_rows(name, m.safety)]
    return Scored(scores, told, unkept)


def _default_figure(mentions: object, headline: Headline) -> str:
    if mentions is None:
        return "wer"
    return "eer" if headline == "normalized" else "eer-raw"


def _in_order(systems: Iterable[str], against: str | None, best: str) -> list[str]:
    """The system that the others are compared with, then the others."""
    names = base_first(systems)
    if against is None:
        return names
    first = best if against == "best" and against not in names else against
    if first not in names:
        raise ScoreError(
            f"no system is called {first!r}; expected 'best', or one of: {', '.join(names)}"
        )
    return sorted(names, key=lambda name: name != first)


def _by_recording(measured: Measured, recordings: Mapping[str, str]) -> dict[str, Any]:
    rows = by_recording(measured, recordings)
    return {"mean_over_recordings": means(rows), "by_recording": rows}


def base_first(systems: Iterable[str]) -> list[str]:
    """Names in the order of comparison: what the others are compared with, then the others."""
    return sorted(systems, key=lambda name: name != BASE)


def general_wer_increase(scores: Mapping[str, Any]) -> float:
    """By how much the second system's WER on the general set is above the first's, a fraction.

    Raises:
        ScoreError: there is no general set.
    """
    general = scores["general"]
    rates = [general[name]["wer"]["normalized"]["rate"] for name in base_first(general)]
    if len(rates) < 2 or None in rates:
        raise ScoreError(
            "no general set to see forgetting on; expected one: give --general, or a model that "
            "brings its own"
        )
    return float(rates[1] - rates[0])


def table(scores: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    """The rows of a table: entity error rates, then word error rates, base beside adapted.

    EER is of the headline's texts first, overall and for each label, then of the others, and so is
    the term word error rate; WER is of normalised text, and split by a biasing list if there was
    one.
    ``names`` are the one or two systems shown; default: the base and the first other. Counts read
    errors/total, of base → adapted (of the only system where there is one).
    """
    names = names or base_first(scores["systems"])[:2]
    chosen = [scores["systems"][name] for name in names]
    rows = []
    if all("entities" in system for system in chosen):
        text = scores["headline"]
        other = "raw" if text == "normalized" else "normalized"
        shown = [system["entities"][text] for system in chosen]
        rows.append(_row(f"EER ({text})", shown))
        for label in shown[0]["by_label"]:
            rows.append(_row(f"EER ({text}) {label}", [r["by_label"][label] for r in shown]))
        rows.append(_row(f"EER ({other})", [s["entities"][other] for s in chosen]))
        rows.append(_row(f"T-WER ({text})", [r["term_wer"] for r in shown]))
    rows.append(_row("WER domain (normalized)", [s["wer"]["normalized"] for s in chosen]))
    for key, name in (("cpwer", "cpWER (normalized)"), ("tcpwer", "tcpWER (normalized)")):
        if all("speakers" in system for system in chosen):
            rows.append(_row(name, [s["speakers"][key] for s in chosen]))
    if all("biasing" in system for system in chosen):
        rows.append(_row("B-WER (listed words)", [s["biasing"]["b_wer"] for s in chosen]))
        rows.append(_row("U-WER (all others)", [s["biasing"]["u_wer"] for s in chosen]))
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


def _system(measured: Measured, grouped: Mapping[str, list[str]], seed: int) -> dict[str, Any]:
    scores = {
        name: _with_intervals(errors, grouped, seed)
        for name, errors in (("wer", measured.words), ("cer", measured.characters))
    }
    if measured.entities:
        scores["entities"] = {
            text: _entities(measured, text) | _interval(_missed(measured, text), grouped, seed)
            for text in measured.entities
        }
        for text, found in scores["entities"].items():
            found["term_wer"] |= _interval(term_counted(measured, text), grouped, seed)
    if measured.safety:
        found = summary(chain.from_iterable(measured.safety.values()))
        scores["safety"] = found | _interval(safety_counted(measured), grouped, seed)
    if measured.biasing:
        scores["biasing"] = {
            side: _rate(sum(errors.values(), start=WordErrors()))
            for side, errors in measured.biasing.items()
        }
    return scores


def _with_intervals(
    errors: Mapping[str, Mapping[str, WordErrors]], grouped: Mapping[str, list[str]], seed: int
) -> dict[str, dict[str, Any]]:
    return {
        text: counts | _interval(counted(errors[text]), grouped, seed)
        for text, counts in _pooled(errors).items()
    }


def _pooled(errors: Mapping[str, Mapping[str, WordErrors]]) -> dict[str, dict[str, Any]]:
    pooled = {}
    for text, by_utterance in errors.items():
        total = sum(by_utterance.values(), start=WordErrors())
        pooled[text] = _rate(total) | asdict(total)
    return pooled


def _rate(total: WordErrors) -> dict[str, Any]:
    rate = total.rate if total.words else None
    return {"rate": rate, "errors": total.errors, "words": total.words}


def _missed(measured: Measured, text: str) -> Counts:
    return {
        i: (sum(not r.found for r in results), len(results))
        for i, results in measured.entities[text].items()
    }


def _interval(counts: Counts, grouped: Mapping[str, list[str]], seed: int) -> dict[str, Any]:
    errors, sizes = _by_block(counts, grouped)
    low, high = rate_interval(errors=errors, sizes=sizes, resamples=RESAMPLES, seed=seed)
    return {"low": low, "high": high}


def _by_block(counts: Counts, grouped: Mapping[str, list[str]]) -> tuple[list[float], list[float]]:
    errors = [sum(counts[i][0] for i in ids) for ids in grouped.values()]
    return errors, [sum(counts[i][1] for i in ids) for ids in grouped.values()]


def _entities(measured: Measured, text: str) -> dict[str, Any]:
    results = list(chain.from_iterable(measured.entities[text].values()))
    bag: Counter[Key] = Counter()
    inserted: Counter[Key] = Counter()
    for one in measured.bags[text].values():
        bag.update(one.found)
        inserted.update(one.inserted)
    added: Counter[Key] = Counter()
    for more in measured.inserted[text].values():
        added.update(more)
    words = term_words(results, added)
    words_of: dict[Term, list[WordErrors]] = defaultdict(list)
    for key, errors in words.items():
        words_of[key[1]].append(errors)
    listed = measured.listed

    def of_label(label: str) -> dict[str, Any]:
        in_bag, more = (sum(n for key, n in c.items() if key[0] == label) for c in (bag, inserted))
        errors = [e for key, e in words.items() if key[0] == label]
        return _recall([r for r in results if r.mention.label == label], in_bag, more) | {
            "term_wer": term_rate(errors, listed)
        }

    labels = sorted({r.mention.label for r in results} | {label for label, _ in inserted})
    by_term: dict[Term, list[MentionOutcome]] = defaultdict(list)
    for result in results:
        by_term[term_of(result.mention.text)].append(result)
    return {
        **_recall(results, bag.total(), inserted.total()),
        "term_wer": term_rate(words.values(), listed),
        "by_label": {label: of_label(label) for label in labels},
        "by_term": {
            " ".join(term): {
                "label": found[0].mention.label,
                "mentions": len(found),
                "found": sum(r.found for r in found),
                **term_counts(words_of[term]),
            }
            for term, found in sorted(by_term.items())
        },
    }


def _recall(results: Sequence[MentionOutcome], in_bag: int, inserted: int) -> dict[str, Any]:
    mentions, found = len(results), sum(r.found for r in results)
    words = sum((r.words for r in results), start=WordErrors())
    characters = sum((r.characters for r in results), start=WordErrors())
    return {
        "mentions": mentions,
        "found": found,
        "partial": sum(r.status == "partial" for r in results),
        "recall": found / mentions if mentions else None,
        "eer": (mentions - found) / mentions if mentions else None,
        "ne_wer": words.rate if mentions else None,
        "ne_errors": words.errors,
        "ne_words": words.words,
        "ne_cer": characters.rate if mentions else None,
        "bag_found": in_bag,
        "bag_recall": in_bag / mentions if mentions else None,
        "false_insertions": inserted,
        "precision": in_bag / (in_bag + inserted) if in_bag + inserted else None,
    }


def _grouped(ids: Iterable[str], blocks: Blocks | None) -> dict[str, list[str]]:
    """Utterance ids by block, in an order that does not hang on that of the input."""
    grouped = defaultdict(list)
    for i in sorted(ids):
        if blocks is not None and i not in blocks.of:
            raise ScoreError(f"utterance {i!r} is in no block; name the block of every utterance")
        grouped[i if blocks is None else blocks.of[i]].append(i)
    return dict(sorted(grouped.items()))


def _warnings(
    grouped: Mapping[str, list[str]],
    blocks: Blocks | None,
    mentions: Mapping[str, Sequence[Mention]] | None,
) -> list[str]:
    found = []
    if blocks is None:
        found.append(
            "speakers are not known: the intervals are drawn over utterances, which makes them too "
            "narrow where speakers have several"
        )
    elif len(grouped) < FEW_BLOCKS:
        count = f"{len(grouped)} {blocks.kind}{'s' if len(grouped) > 1 else ''}"
        found.append(
            f"{count}: intervals drawn from fewer than {FEW_BLOCKS} are too narrow to rely on"
        )
    if mentions and not any(mentions.values()):
        found.append("no term occurs in the references")
    return found


def _curly(normalizer: str, texts: Mapping[str, Texts]) -> list[str]:
    """What OpenAI's normaliser does to "don’t": "don t", where "don't" is "do not"."""
    if normalizer != "whisper-en":
        return []
    counts = {
        name: sum(len(_CURLY.findall(text)) for text in of_one.values())
        for name, of_one in texts.items()
    }
    told = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    return (
        [
            f"curly apostrophes ({told}): whisper-en, which is OpenAI's normaliser, takes don’t "
            "and don't for different words; make them straight, or use basic or medical-en"
        ]
        if told
        else []
    )


def _unsaid(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What to tell of systems that write terms more often where nobody says them."""
    told = []
    for name, figures in systems.items():
        raw = figures.get("entities", {}).get("raw", {})
        unsaid, said = raw.get("false_insertions", 0), raw.get("bag_found", 0)
        if unsaid >= FEW_UNSAID and unsaid > said:
            told.append(
                f"{name}: terms were written {unsaid} times where nobody said them, and {said} "
                "times where somebody did; if a list prefers them, try a lower --biasing-strength"
            )
    return told


def _compare(
    base: Measured, other: Measured, grouped: Mapping[str, list[str]], seed: int
) -> dict[str, Any]:
    """The other minus the base: each headline figure, and McNemar's test on the mentions."""

    def difference(pair: Sequence[Counts]) -> dict[str, Any]:
        return _difference(pair, grouped, seed)

    both = (base, other)
    comparison: dict[str, Any] = {}
    if base.entities:
        comparison["eer"] = difference([_missed(m, "raw") for m in both])
        comparison["eer_normalized"] = difference([_missed(m, "normalized") for m in both])
        found = [[r.found for rs in m.entities["raw"].values() for r in rs] for m in both]
        comparison["mcnemar"] = mcnemar(base=found[0], adapted=found[1])
        comparison["term_wer"] = difference([term_counted(m, "normalized") for m in both])
    if base.safety:
        comparison["safety"] = difference([safety_counted(m) for m in both])
    comparison["wer"] = difference([counted(m.words["normalized"]) for m in both])
    for side in base.biasing:
        comparison[side] = difference([counted(m.biasing[side]) for m in both])
    return comparison


def _difference(
    pair: Sequence[Counts], grouped: Mapping[str, list[str]], seed: int
) -> dict[str, Any]:
    (errors, sizes), (others, _) = (_by_block(counts, grouped) for counts in pair)
    drawn = paired_bootstrap(
        base=errors, adapted=others, sizes=sizes, resamples=RESAMPLES, seed=seed
    )
    # Of few blocks a p-value promises more than they can hold.
    return asdict(drawn) | ({"p": None} if len(grouped) < FEW_BLOCKS else {})
