"""Templates filled from term lists: exact, deterministic, even."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.domain.templates import expand, find_problem, is_malformed, slots
from asr_llm.errors import DomainError

DRUGS = ["aspirin", "heparin", "metoprolol"]


def test_single_slot_uses_every_term_once() -> None:
    sentences = expand(["take {DRUG} now"], {"DRUG": DRUGS}, {}, 3, seed=7)
    assert sorted(sentences) == ["Take aspirin now", "Take heparin now", "Take metoprolol now"]


def test_same_arguments_give_the_same_sentences_and_another_seed_others() -> None:
    arguments = (["{DRUG} {dose}."], {"DRUG": DRUGS}, {"dose": ["daily", "twice daily", "weekly"]})
    assert expand(*arguments, 6, seed=1) == expand(*arguments, 6, seed=1)
    assert expand(*arguments, 6, seed=1) != expand(*arguments, 6, seed=2)


def test_repeats_only_after_every_sentence_is_made() -> None:
    sentences = expand(["{DRUG}!"], {"DRUG": DRUGS}, {}, 7, seed=1)
    assert set(Counter(sentences).values()) == {2, 3}
    assert len(set(sentences[:3])) == len(set(sentences[3:6])) == 3


def test_no_slots_and_no_templates() -> None:
    assert expand(["hello there."], {}, {}, 2, seed=1) == ["Hello there.", "Hello there."]
    assert expand([], {"DRUG": DRUGS}, {}, 5, seed=1) == []
    assert expand(["hello"], {}, {}, 0, seed=1) == []


def test_a_label_twice_in_a_template_is_two_terms() -> None:
    for sentence in expand(["{DRUG} and {DRUG}"], {"DRUG": DRUGS}, {}, 6, seed=3):
        first, second = sentence.lower().split(" and ")
        assert first != second
    assert expand(["{DRUG} and {DRUG}"], {"DRUG": ["aspirin"]}, {}, 1, seed=3) == [
        "Aspirin and aspirin"
    ]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("aspirin", "She took an aspirin."),
        ("statin", "She took a statin."),
        ("ECG", "She took an ECG."),
        ("MRI", "She took an MRI."),
        ("UTI", "She took a UTI."),
        ("CT scan", "She took a CT scan."),
        ("ulcer", "She took an ulcer."),
        ("uninsured driver", "She took an uninsured driver."),
        ("unilateral claim", "She took a unilateral claim."),
        ("ureteral stent", "She took a ureteral stent."),
        ("honest mistake", "She took an honest mistake."),
    ],
)
def test_article_agrees_with_the_term(term: str, expected: str) -> None:
    assert expand(["she took a {X}."], {"X": [term]}, {}, 1, seed=1) == [expected]
    assert expand(["she took an {X}."], {"X": [term]}, {}, 1, seed=1) == [expected]


def test_article_at_the_start_keeps_its_capital() -> None:
    assert expand(["A {X} is given."], {"X": ["infusion"]}, {}, 1, seed=1) == [
        "An infusion is given."
    ]


def test_first_letter_is_upper_case_after_a_quote() -> None:
    assert expand(['"{x}," he said.'], {}, {"x": ["well"]}, 1, seed=1) == ['"Well," he said.']


def test_slots_and_braces() -> None:
    assert slots("{LATIN_TERM} of {side} and {side}") == ["LATIN_TERM", "side", "side"]
    assert not is_malformed("{LATIN_TERM} of {side}")
    for template in ("{DRUG", "DRUG}", "{}", "{two words}", "{{DRUG}}"):
        assert is_malformed(template)


def test_unfillable_templates_are_reported() -> None:
    assert find_problem("{DRUG} {dose}", {"DRUG": ["x"]}, {"dose": ["y"]}) is None
    with pytest.raises(DomainError, match=r"no terms for slot \{DRUG\}; add terms/drug\.tsv"):
        expand(["{DRUG}"], {"DRUG": []}, {}, 1, seed=1)
    with pytest.raises(DomainError, match=r"no words for slot \{dose\}; add it under 'fillers'"):
        expand(["{dose}"], {}, {}, 1, seed=1)
    with pytest.raises(DomainError, match="unmatched brace"):
        expand(["{dose"], {}, {"dose": ["x"]}, 1, seed=1)


@settings(max_examples=50, deadline=None)
@given(
    num_drugs=st.integers(1, 12),
    num_templates=st.integers(1, 5),
    count=st.integers(0, 60),
    seed=st.integers(0, 1000),
)
def test_counts_are_even_and_sentences_distinct(
    num_drugs: int, num_templates: int, count: int, seed: int
) -> None:
    drugs = [f"drug{i}" for i in range(num_drugs)]
    templates = [f"No. {i}: {{DRUG}} {{dose}}" for i in range(num_templates)]
    doses = [f"dose{i}" for i in range(5)]
    sentences = expand(templates, {"DRUG": drugs}, {"dose": doses}, count, seed)
    possible = num_drugs * num_templates * 5
    assert len(sentences) == count
    assert len(set(sentences)) == min(count, possible)
    if count <= possible:
        by_template = Counter(sentence.split()[1] for sentence in sentences)
        assert len(by_template) == min(num_templates, count)
        assert max(by_template.values(), default=0) - min(by_template.values(), default=0) <= 1
    if count <= possible // 2:
        by_drug = Counter(dict.fromkeys(drugs, 0))
        by_drug.update(sentence.split()[2] for sentence in sentences)
        assert max(by_drug.values()) - min(by_drug.values()) <= 1
