"""What an audit says of a term, worked out by hand."""

from __future__ import annotations

import re

import pytest

from asr_llm.evaluation.audit import AuditedTerm, Listed, hides_its_sound, judge
from asr_llm.evaluation.audit_report import render
from asr_llm.evaluation.entities import Mention, MentionOutcome

LISTED = [
    Listed("tea", "DRINK"),
    Listed("green tea", "DRINK"),
    Listed("CPAP", "DEVICE"),
    Listed("BNP", "LAB", "bee en pee"),
]


def times(term: Listed, *heard: str) -> list[MentionOutcome]:
    """What became of a term each time, by what was heard."""
    mention = Mention(0, len(term.text), term.label, term.text)
    return [MentionOutcome("u", mention, text == term.text, text) for text in heard]


def judged() -> dict[str, AuditedTerm]:
    tea, green, cpap, bnp = LISTED
    found = judge(
        LISTED,
        {
            "tea": times(tea, "tea", "tea", "tea", "Tea"),  # one in four is no risk
            "green tea": times(green, "green tea", "tea", "grin tea", "tea"),
            "CPAP": times(cpap, "", "see pap", "sea pap", "see pap"),
            "BNP": times(bnp, "BNP", "BNP", "b", "b"),
        },
        {
            "tea": times(tea, "tea", "tea", "tea", "tea"),
            "green tea": times(green, "green tea", "green tea", "green tea", "tea"),
            "CPAP": times(cpap, "CPAP", "CPAP", "sea pap", "pap"),
            "BNP": times(bnp, "BNP", "BNP", "b", "b"),
        },
        LISTED,
        ["Two teas.", "Tea and green tea, and tea.", "Green tea!"],
    )
    assert [term.text for term in found] == ["CPAP", "green tea", "BNP", "tea"]  # worst first
    return {term.text: term for term in found}


def test_misheard_terms_and_their_replacements() -> None:
    found = judged()
    assert (found["tea"].right, found["tea"].misheard, found["tea"].helps) == (3, False, ())
    assert found["green tea"].misheard and found["BNP"].misheard  # half of the times is a risk
    assert found["green tea"].heard == ("tea", "grin tea")
    assert found["green tea"].sounds_like == "tea"
    assert found["CPAP"].heard == ("see pap", "(nothing)", "sea pap")
    assert found["CPAP"].sounds_like is None and found["tea"].sounds_like is None


def test_suggested_remedies() -> None:
    found = judged()
    assert found["green tea"].helps == ("list",)  # right in three of four with one
    assert found["CPAP"].helps == ("spoken form", "list", "text")  # two of four
    assert found["BNP"].helps == ("text",)  # it has a spoken form
    assert (found["green tea"].right_with_list, found["CPAP"].right_with_list) == (3, 2)


def test_sentences_with_a_term() -> None:
    """A sentence counts once, and a term not within a longer one."""
    found = judged()
    assert {text: term.sentences for text, term in found.items()} == {
        "tea": 1,
        "green tea": 2,
        "CPAP": 0,
        "BNP": 0,
    }


@pytest.mark.parametrize("term", ["5-FU", "§ 1983", "BNP", "β-hCG", "naïve", "Type 2", "AT&T"])
def test_spelling_that_hides_the_sound(term: str) -> None:
    assert hides_its_sound(term)


@pytest.mark.parametrize("term", ["metoprolol", "Roe v. Wade", "St. John's wort", "I am", "X-ray"])
def test_spelling_that_tells_the_sound(term: str) -> None:
    assert not hides_its_sound(term)


def test_the_page() -> None:
    from dataclasses import asdict

    terms = [asdict(term) for term in judged().values()]
    terms[0] |= {"text": "<b>CPAP</b>"}
    page = render("shop: vocabulary audit", {"model": "mini", "voices": "en-us"}, terms)
    assert "3 of 4 terms are likely to be misheard" in page
    assert "<b>CPAP" not in page and "&lt;b&gt;CPAP" in page
    assert "green tea" in page.split("Recognised well")[0]
    assert "://" not in page
    assert not re.search(r"(?:src|href)=", page)
