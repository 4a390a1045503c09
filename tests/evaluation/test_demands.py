"""What a data set demands: its names and arguments, and what is said of wrong ones."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from asr_llm.errors import SuiteError
from asr_llm.evaluation.demands import Demand


def test_nothing_said_follows_nothing() -> None:
    assert not Demand.of("punctuation:no_comma", {}).followed(" \n")


def test_arguments_that_a_data_set_leaves_empty_are_none_at_all() -> None:
    padded = {"num_words": 4.0, "relation": "at least", "keywords": None}
    demand = Demand.of("length_constraints:number_words", padded)
    assert demand.arguments == {"num_words": 4.0, "relation": "at least"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("keywords:exist", {}, "unknown instruction 'keywords:exist'; expected one of keywords:ex"),
        ("count:items", {}, "count:items: lacks the argument num_items; expected num_items"),
        (
            "count:items",
            {"num_items": "many"},
            "count:items: num_items: found 'many'; expected a whole number",
        ),
        ("punctuation:no_comma", {"a": 1}, "no_comma: unknown argument a; expected none"),
        ("keywords:any", {"text": "a"}, "keywords:any: unknown argument text; expected keywords"),
        ("keywords:any", {"keywords": "a"}, "keywords:any: keywords: found 'a'; expected a list"),
        (
            "length_constraints:number_words",
            {"num_words": 3, "relation": "about"},
            "relation: found 'about'; expected 'less than', 'at least', 'at most' or 'exactly'",
        ),
    ],
)
def test_demands_that_cannot_be_checked(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        Demand.of(name, arguments)


def test_a_language_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    with pytest.raises(SuiteError, match="pip install langdetect"):
        Demand.of("language:response_language", {"language": "de"})
