"""HTML report of what a system gained and lost: figures, terms, utterances.

One file that opens from disk and needs no network. Texts and clips are the user's own and may be
confidential: both can be left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from asr_llm.corpus.text.normalizers import normalize
from asr_llm.evaluation.comparison import base_first, compared_in
from asr_llm.evaluation.leaderboard import cells, records
from asr_llm.evaluation.scores import Scored
from asr_llm.evaluation.term_changes import term_changes
from asr_llm.evaluation.words import align

TERMS_SHOWN = 12
_OPS = {"hit": "=", "substitution": "s", "deletion": "d", "insertion": "i"}


@dataclass(frozen=True)
class Shown:
    """What a report shows besides the scores.

    ``clips`` has the audio source of each utterance: a ``data:`` URL or a link to a file. ``about``
    is a table of facts: the model, the adapter, the test set. ``recipe`` is YAML. ``pair`` names
    the two systems to show side by side; default: the baseline and the best of the others.
    """

    title: str
    references: Mapping[str, str]
    systems: Mapping[str, Mapping[str, str]]
    speakers: Mapping[str, str] = field(default_factory=dict)
    clips: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    recipe: str | None = None
    text: bool = True
    pair: tuple[str, str] | None = None


def render(scored: Scored, shown: Shown) -> str:
    """Render the report as HTML.

    Without ``shown.text`` it contains no sentence or term, only counts, rates and ids.
    """
    import jinja2

    scores = scored.scores
    names = list(shown.pair or _pair(scores))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = _percent
    environment.filters["points"] = _points
    environment.filters["p"] = _p
    template = resources.files("asr_llm.evaluation") / "report.html.jinja"
    rows = _utterances(scored, shown, names) if shown.text else []
    return environment.from_string(template.read_text("utf-8")).render(
        title=shown.title,
        names=names,
        scores=scores,
        headlines=_headlines(scores, names),
        labels=_labels(scores, names),
        normalized_words=scores["systems"][names[0]]["wer"]["normalized"]["words"],
        leaderboard=cells(records(scores)) if len(scores["systems"]) > 2 else [],
        safety=_safety(scored, names, shown.text),
        terms=term_changes(scored, names) if shown.text else [],
        few=TERMS_SHOWN,
        about=shown.about,
        recipe=shown.recipe,
        text=shown.text,
        # "<" cannot end the script element from within JSON.
        utterances=json.dumps(rows, ensure_ascii=False).replace("<", "\\u003c"),
        count=len(rows),
    )


def _pair(scores: Mapping[str, Any]) -> list[str]:
    return compared_in(scores)[:2] if len(scores["systems"]) > 2 else base_first(scores["systems"])


def _safety(scored: Scored, names: Sequence[str], text: bool) -> list[dict[str, Any]]:
    """Per system shown: counts by kind, and the safety words not kept."""
    systems = scored.scores["systems"]
    return [
        {
            "name": name,
            "kinds": {"all": systems[name]["safety"], **systems[name]["safety"]["by_kind"]},
            "rows": [row for row in scored.safety if row["system"] == name and text],
        }
        for name in names
        if "safety" in systems[name]
    ]


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}%"


def _points(difference: float | None) -> str:
    return "–" if difference is None else f"{100 * difference:+z.1f}"


def _headlines(scores: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Name, explanation, rates and counts of each system, and the comparison if there is one."""
    systems = [scores["systems"][name] for name in names]
    compared = scores["comparisons"].get(names[-1], {})
    text = scores["headline"]
    found = []
    if all("entities" in system for system in systems):
        found.append(
            {
                "name": "Terms not recognised",
                "means": "Share of term mentions of which not every word is right (EER, "
                f"{_AS[text]}).",
                "rates": [s["entities"][text] for s in systems],
                "rate": "eer",
                "counts": [
                    f"{s['entities'][text]['mentions'] - s['entities'][text]['found']} of "
                    f"{s['entities'][text]['mentions']} mentions"
                    for s in systems
                ],
                "change": compared.get("eer" if text == "raw" else "eer_normalized"),
                "also": _also(scores, names),
            }
        )
    wer = [s["wer"] for s in systems]
    found.append(_words("Words wrong in the domain", wer, compared.get("wer")))
    if all(name in scores["general"] for name in names) and scores["general"]:
        general = [scores["general"][name]["wer"] for name in names]
        words = _words("Words wrong in general speech", general, None)
        words["means"] = "The same on a general test set: the cost of adaptation."
        words["change"] = compared.get("general_wer")
        found.append(words)
    return found


def _also(scores: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Checks on the first figure: is it only case and commas, and what was lost?"""
    other = "raw" if scores["headline"] == "normalized" else "normalized"
    entities = [scores["systems"][name]["entities"] for name in names]
    told = [
        f"{_ASIDE[other]}: {_arrows([e[other]['eer'] for e in entities])}.",
        f"Words of terms wrong (T-WER, normalised): "
        f"{_arrows([e['normalized']['term_wer']['rate'] for e in entities])}.",
    ]
    if test := scores["comparisons"].get(names[-1], {}).get("mcnemar"):
        p = "" if test["p"] is None else f" (McNemar’s test: p {_p(test['p'])})"
        told.append(
            f"Only {names[0]} found {test['base_only']}, only {names[1]} {test['adapted_only']}{p}."
        )
    return told


_AS = {"raw": "as written", "normalized": "normalised"}
_ASIDE = {"raw": "Case and spelling counted too", "normalized": "Case and punctuation ignored"}


def _arrows(rates: Sequence[float | None]) -> str:
    return " → ".join(map(_percent, rates))


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _words(
    name: str, rates: Sequence[Mapping[str, Any]], change: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "name": name,
        "means": "Substituted, missing and added words, per word said (WER, normalised).",
        "rates": [r["normalized"] for r in rates],
        "rate": "rate",
        "counts": [f"{r['normalized']['errors']} of {r['normalized']['words']}" for r in rates],
        "change": change,
    }


def _labels(scores: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Share found, per label and system."""
    systems = [
        scores["systems"][name].get("entities", {}).get(scores["headline"]) for name in names
    ]
    if not all(systems):
        return []
    return [
        {
            "label": label,
            "systems": [
                {"name": name, **system["by_label"].get(label, {"mentions": 0, "recall": None})}
                for name, system in zip(names, systems)
            ],
        }
        for label in systems[0]["by_label"]
    ]


def _utterances(scored: Scored, shown: Shown, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per utterance: reference with mentions, and each system's word diff.

    A diff is a list of [operation, reference word, hypothesis word] with the operation "=", "s",
    "d" or "i" by the normalised words; the words are shown as written.
    """
    text_of, mentions = scored.scores["headline"], dict[str, dict[str, list[Mapping[str, Any]]]]()
    for row in scored.mentions:
        mentions.setdefault(row["utterance"], {}).setdefault(row["system"], []).append(row)
    rows = []
    for i, text in shown.references.items():
        found = mentions.get(i, {})
        rows.append(
            {
                "id": i,
                "speaker": shown.speakers.get(i, ""),
                "text": _as_scored(text, next(iter(found.values()), [])),
                "clip": shown.clips.get(i, ""),
                "mentions": [
                    [row["start"], row["end"], row["label"]]
                    for row in next(iter(found.values()), [])
                ],
                "systems": [
                    {
                        "diff": _diff(text, shown.systems[name][i]),
                        "missed": sum(row[text_of] != "found" for row in found.get(name, [])),
                    }
                    for name in names
                ],
            }
        )
    return rows


def _as_scored(text: str, mentions: Sequence[Mapping[str, Any]]) -> str:
    """The text that mention positions refer to: usually the text with white space collapsed."""
    even = " ".join(text.split())
    return even if all(even[m["start"] : m["end"]] == m["text"] for m in mentions) else text


def _diff(reference: str, hypothesis: str) -> list[list[str]]:
    said, heard = reference.split(), hypothesis.split()
    pairs = align(
        reference_words=[normalize(word, "basic") for word in said],
        hypothesis_words=[normalize(word, "basic") for word in heard],
    )
    return [
        [
            _OPS[pair.op],
            "" if pair.reference is None else said[pair.reference],
            "" if pair.hypothesis is None else heard[pair.hypothesis],
        ]
        for pair in pairs
    ]
