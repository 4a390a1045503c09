"""Where listed phrases stand: on characters, and the same for all who ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.domain.check import check
from asr_llm.corpus.terms.phrases import PhraseFinder, fold, key
from asr_llm.corpus.terms.propose import General, propose
from asr_llm.evaluation.mentions import EntityFinder


@pytest.mark.parametrize(
    ("phrases", "text", "expected"),
    [
        # Before a full stop, a bracket, a quote, without a space.
        ("factor V|IgA|hepatitis A", "Low factor V. Has hepatitis A, (IgA)", None),
        ("mmol/L|H&E|C.F.R.|R.N.", "5 mmol/L. An h&e. 21 c.f.r. § 11. the R.N.", None),
        ("gout", "any gout?Yes gout.Then “gout”—and gout/tea 'gout' GOUT™", "gout|" * 5 + "GOUT"),
        # Case, apostrophes, dashes, white space, Unicode forms, invisible characters.
        ("Dr. Hall|Bell's palsy", "DR. HALL has Bell’s palsy, bell`s PALSY", None),
        ("CA-125|Sjögren|optic neuritis", "ca‑125 Sjo\u0308gren optic \u00a0\tneuritis", None),
        ("aspirin", "Ａｓｐｉｒｉｎ as\u00adpirin", "Ａｓｐｉｒｉｎ|as\u00adpirin"),
        ("ﬂu|Straße", "flu STRASSE", None),
        # What is no letter at an end, or inside.
        ("6-MP|α-GAL|§ 922|Codeine #4", "6-mp. (α-Gal) § 922; CODEINE #4! Doe", None),
        ("Doe v. Roe|Type 1", "Doe v. Roe, type 1.", None),
        ("§ 922", "§922 and §  922", "§922|§  922"),
        ("Na+|%|&", "Na+, 5 % & 6%", "Na+|%|&|%"),
        # What is joined by a hyphen, or a clitic.
        ("gout|CA-125", "gout-like gout's gout' post-gout CA-125-x", "gout|gout|gout|gout|CA-125"),
        ("mg", "25mg 25 mg mg5", "mg|mg"),
        # Another word.
        ("IgA|MP|CA|factor V|H", "IgA2 6-MP CA-125 factor V-2 H&E", ""),
        ("gout|Hall|can|R.N.", "gouts gouty O'Hall can't R.N.A", ""),
        ("2|Type 1", "1.2 10:2 3/2 2,500 Type 10 Type 1.5", ""),
        # The longest wins; none overlap.
        ("optic neuritis|neuritis", "optic neuritis neuritis", None),
        ("a b|b c d", "a b c d", "b c d"),
    ],
)  # fmt: skip
def test_find(phrases: str, text: str, expected: str | None) -> None:
    found = PhraseFinder(phrases.split("|")).find(text)
    assert all(text[one.start : one.end] for one in found)
    if expected is None:
        assert len(found) >= len(phrases.split("|"))
        assert {one.phrase for one in found} == set(phrases.split("|"))
    else:
        there = [text[one.start : one.end] for one in found]
        assert there == [e for e in expected.split("|") if e]


def test_of_two_phrases_of_one_key_the_first_is_found() -> None:
    finder = PhraseFinder(["Bell's palsy", "bell’s  PALSY"])
    assert [one.phrase for one in finder.find("BELL’S palsy")] == ["Bell's palsy"]
    assert key("bell’s  PALSY ") == key("Bell's palsy") == "bell's palsy"


@given(st.text())
def test_folding_maps_back_to_the_text(text: str) -> None:
    folded = fold(text)
    for i in range(len(folded.text)):
        start, end = folded.span(i, i + 1)
        assert 0 <= start < end <= len(text)


@given(st.text(min_size=1), st.sampled_from([" ", ". ", ", ", " (", "\n"]))
def test_a_phrase_by_itself_is_found(phrase: str, by: str) -> None:
    folded = key(phrase)
    if any(c.isalnum() for c in folded):
        assert PhraseFinder([phrase]).find(f"so{by}{phrase}{by}so")


WORDS = "gout Gout's gout-like gout. the CA-125 ca‑125 Bell’s Bell's palsy palsy-like 6-MP MP H&E"


@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=12).map(" ".join))
def test_scores_and_proposed_terms_agree(text: str) -> None:
    for candidate in propose([text], General(english=False)):
        finder = EntityFinder([{"label": "T", "pattern": candidate.term}])
        assert len(finder.find(text)) == candidate.count


def test_scores_and_the_check_of_a_domain_agree(tmp_path: Path) -> None:
    terms = [
        "gout",
        "IgA",
        "Bell’s palsy",
        "CA",
        "CA-125",
        "factor V",
        "6-MP",
        "H&E",
        "E",
        "Dr. Hall",
    ]
    text = ["A gout-like pain.", "He has IgA.", "Bell's palsy, ca‑125", "An h&e. DR. HALL"]
    (tmp_path / "terms").mkdir()
    (tmp_path / "domain.yaml").write_text("name: x\nlabels:\n  T: term\n", "utf-8")
    (tmp_path / "text.txt").write_text("\n".join(text), "utf-8")
    (tmp_path / "terms" / "t.tsv").write_text("\n".join(terms), "utf-8")
    (told,) = (p.message for p in check(tmp_path).warnings if "not in the text" in p.message)
    unused = [
        str(line)
        for line, term in enumerate(terms, start=1)
        if not any(EntityFinder([{"label": "T", "pattern": term}]).find(one) for one in text)
    ]
    assert unused == ["4", "6", "7", "9"]
    assert told == f"4 of 10 terms are not in the text (lines {', '.join(unused)})"


def test_fractions_in_one_character_or_three() -> None:
    found = PhraseFinder(["½ tablet"]).find("Take 1/2 tablet, 1⁄2 tablet, ½ tablet.")
    assert [one.phrase for one in found] == ["½ tablet"] * 3
