"""Tables of what models answered, and of what they did."""

from __future__ import annotations

import sys
from typing import Any


def print_answers(scores: dict[str, Any]) -> None:
    """A line for each system and way of asking on stdout, with 95% intervals."""
    shown = _table(scores["suite"], "asked by", "right", "accuracy", "95% interval")
    for name, figures in scores["systems"].items():
        for kind in ("text", "speech"):
            found = figures[kind]
            count = f"{found['right']}/{found['questions']}"
            shown.add_row(name, kind, count, f"{found['accuracy']:.1%}", _interval(found))
        gap = figures["gap"]
        shown.add_row(name, "gap", "", f"{100 * gap['difference']:+.1f}", _interval(gap))
    _print(shown)


def print_instructions(scores: dict[str, Any]) -> None:
    """Of each system and variant, what was followed as text and as speech, on stdout.

    P. is of prompts all of whose instructions were followed, I. of instructions.
    """
    for name, variants in scores["systems"].items():
        columns = (
            "P. strict",
            "95% interval",
            "P. loose",
            "I. strict",
            "I. loose",
            "echoed",
            "taken back",
        )
        shown = _table(f"{scores['suite']}, {name}", "given by", *columns)
        for variant, figures in variants.items():
            for kind in ("text", "speech"):
                found = figures[kind]
                prompt, single = found["prompt"], found["instruction"]
                shares = [prompt["strict"], prompt["loose"], single["strict"], single["loose"]]
                strict, *others = [f"{one['share']:.1%}" for one in shares]
                back = found.get("superseded")
                shown.add_row(
                    variant, kind, strict, _interval(prompt["strict"]), *others,
                    f"{found['echoed']['share']:.1%}", f"{back['share']:.1%}" if back else "",
                )  # fmt: skip
            gap, single = figures["gap"]["prompt"], figures["gap"]["instruction"]
            points = [f"{100 * one['difference']:+.1f}" for one in (gap, single)]
            shown.add_row(variant, "gap", points[0], _interval(gap), "", points[1], "", "", "")
        _print(shown)


def _table(*columns: str) -> Any:
    """A table whose first two columns are words, the others numbers."""
    from rich import box
    from rich.table import Table

    shown = Table(*columns, box=box.SIMPLE)
    for column in shown.columns[2:]:
        column.justify, column.no_wrap = "right", True
    return shown


def _print(shown: Any) -> None:
    """On a terminal as wide as that is, else as wide as it has to be."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(shown)


def _interval(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return ""
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"
