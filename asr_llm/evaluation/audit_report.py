"""HTML report of a vocabulary audit: one file that opens from disk and needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any


def render(title: str, about: Mapping[str, str], terms: Sequence[Mapping[str, Any]]) -> str:
    """Render the page.

    Args:
        about: a table of facts: the model, the voices, the sentences.
        terms: worst first, each with the keys of ``audit.AuditedTerm``.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = resources.files("asr_llm.evaluation") / "audit.html.jinja"
    misheard = [term for term in terms if term["misheard"]]
    return environment.from_string(template.read_text("utf-8")).render(
        title=title,
        about=about,
        count=len(terms),
        misheard=misheard,
        well=[term["text"] for term in terms if not term["misheard"]],
        with_list=sum(2 * term["right_with_list"] > term["said"] for term in misheard),
        labels=_labels(terms),
    )


def _labels(terms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Count the misrecognised terms of each label."""
    found: dict[str, dict[str, Any]] = {}
    for term in terms:
        row = found.setdefault(term["label"], {"label": term["label"], "terms": 0, "misheard": 0})
        row["terms"] += 1
        row["misheard"] += term["misheard"]
    return sorted(found.values(), key=lambda row: row["label"])
