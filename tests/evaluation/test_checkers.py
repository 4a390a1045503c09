"""Checkers of instructions: each on a text that does what is asked, and on one that does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.evaluation.checkers import CHECKERS, items_in
from asr_llm.evaluation.demands import Demand

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["park", "dog"]}, "Dogs run in a Park.", "Dogs run."),
    ("keywords:any", {"keywords": ["doctor", "nurse"]}, "A nurse does.", "A judge does."),
    ("keywords:frequency", {"keyword": "yes", "frequency": 2}, "Yes, yes!", "Yes."),
    (
        "keywords:frequency",
        {"keyword": "yes", "frequency": 2, "relation": "less than"},
        "Yes.",
        "Yes, yes.",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["apple"]}, "Pineapple.", "An Apple."),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3}, "Eleven even", "one two"),
    ("order:keywords", {"keywords": ["A", "B", "C"]}, "a, b and c", "b, a, c"),
    ("order:keywords", {"keywords": ["red", "blue"]}, "red then blue", "red"),
    ("count:items", {"num_items": 3}, "apples, pears, and plums.", "apples and pears"),
    ("count:items", {"num_items": 2}, "Here are two pets:\n1. a cat\n2. a dog", "1. a cat"),
    ("length_constraints:number_words", {"num_words": 3}, "It's well-known, no?", "Paris, France"),
    (
        "length_constraints:number_words",
        {"num_words": 1, "relation": "exactly"},
        "Paris.",
        "It is Paris.",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "exactly"},
        "Dr. Ho took 2.5 mg. He slept!",
        "He slept.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First.\n\n“Then, last.",
        "Then.\n\nFirst.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "To [name].", "To him."),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\np. s. Call", "Steps."),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "**a**\n* b"),
    ("detectable_format:comma_list", {"num_items": 3}, "a, b, and c.", "a\nb, c, d"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a*"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a Section 2 b",
        "Section 1 a",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "a: 1}"),
    ("detectable_format:title", {}, "<<Rain>>\nIt falls.", "<<>> It falls."),
    ("combination:two_responses", {}, "a ****** b", "a ****** a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Who?"}, "who? Ann", "Ann. Who?"),
    ("startend:start_checker", {"starter": "I think"}, "I think, so.", "So I think."),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, "A. Any questions", "Any more?"),
    ("startend:quotation", {}, '"Athens"', 'It is "Athens".'),
    ("change_case:english_capital", {}, "IT IS 5.", "It is."),
    ("change_case:english_lowercase", {}, "it is 5.", "It is."),
    ("change_case:capital_word_frequency", {"capital_frequency": 2}, "NO and NO", "NO and no"),
    ("punctuation:no_comma", {}, "Yes; no.", "Yes, no."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "done", "not_done"), CASES)
def test_what_is_followed_and_what_is_not(
    name: str, arguments: dict[str, Any], done: str, not_done: str
) -> None:
    demand = Demand.of(name, arguments)
    assert demand.followed(done)
    assert not demand.followed(not_done)


def test_every_checker_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(CHECKERS) - {"language:response_language"}


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("red", ["red"]),
        ("red, green and blue", ["red", "green", "blue"]),
        ("The colors are: red, green, and blue.", ["red", "green", "blue"]),
        ("Sure:\nred\ngreen", ["red", "green"]),
        ("1. red\n2. green\n\nGood colors.", ["1. red", "2. green"]),
        ("", []),
    ],
)
def test_items_of_a_list(text: str, items: list[str]) -> None:
    assert items_in(text) == items


@given(st.lists(st.sampled_from(["cat", "dog", "red hen"]), min_size=2, max_size=6))
def test_a_list_is_counted_however_it_is_written(items: list[str]) -> None:
    demand = Demand.of("count:items", {"num_items": len(items)})
    written = [", ".join(items), "\n".join(f"* {x}" for x in items), "\n".join(items)]
    assert all(demand.followed(text) for text in written)
