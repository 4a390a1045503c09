"""Variants that are accepted, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.equivalences import Equivalences, Rule
from asr_llm.evaluation.scores import score

TSV = """\
# brand and generic
paracetamol\tacetaminophen\tTylenol
health care\thealthcare
check-up\tcheckup\tcheck up
"""
GLM = """\
;; compounds and contractions
* name "test.glm"
[HEALTHCARE] => [HEALTH CARE] / [ ] __ [ ] ;; one word
GONNA => GOING TO
I'D => {I WOULD / I HAD}
[%BCACK] => [@]
[TO] => [2] / [TIMES] __ [DAILY]
"""


def read(tmp_path: Path, name: str, content: str) -> Equivalences:
    (tmp_path / name).write_text(content, "utf-8")
    return Equivalences.read(tmp_path / name, "basic")


def test_all_variants_of_a_line_become_its_first(tmp_path: Path) -> None:
    accept = read(tmp_path, "v.tsv", TSV)
    assert accept("Tylenol, or acetaminophen?") == "paracetamol or paracetamol"
    assert accept("A Healthcare checkup.") == "a health care check up"
    # "check-up" is "check up" to the normaliser already: three rules and "healthcare" are left.
    assert [rule.name for rule in accept.rules] == [
        "acetaminophen = paracetamol", "tylenol = paracetamol", "healthcare = health care",
        "checkup = check up",
    ]  # fmt: skip


def test_rules_of_a_glm(tmp_path: Path) -> None:
    accept = read(tmp_path, "v.glm", GLM)
    assert accept("I'd like healthcare, I'm gonna") == "i would like health care i'm going to"
    assert accept("one bcack two") == "one two"
    assert accept("times to daily, to me") == "times 2 daily to me"
    assert Rule(("to",), ("2",), ("times",), ("daily",)) in accept.rules


def test_they_are_counted_and_change_normalised_figures_only(tmp_path: Path) -> None:
    references = {"a": "Take paracetamol.", "b": "Tylenol again and again."}
    heard = {"a": "take acetaminophen", "b": "paracetamol again"}
    finder = EntityFinder([{"label": "DRUG", "pattern": x} for x in ("paracetamol", "Tylenol")])
    scores = score(
        references=references,
        systems={"x": heard},
        finder=finder,
        equivalences=read(tmp_path, "v.tsv", TSV),
    ).scores
    assert scores["equivalences"] == {
        "rules": 4,
        "applied": {
            "acetaminophen = paracetamol": {"reference": 0, "x": 1},
            "tylenol = paracetamol": {"reference": 1, "x": 0},
        },
        "word_errors_without": {"x": 4},
    }
    system = scores["systems"]["x"]
    assert (system["wer"]["normalized"]["errors"], system["wer"]["raw"]["errors"]) == (2, 5)
    assert system["entities"]["normalized"]["found"] == 2
    assert system["entities"]["raw"]["found"] == 0
    plain = score(references=references, systems={"x": heard}).scores
    assert "equivalences" not in plain


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.tsv", "", "found nothing in it; expected the variants"),
        ("v.tsv", "a\tb\nalone\n", r"v.tsv:2: found one variant; expected two or more, with tabs"),
        ("v.tsv", "a\t\tb\n", r"v.tsv:1: found an empty variant; expected words between tabs"),
        ("v.tsv", "a\tb\nc\tb\n", r"v.tsv:2: found 'b', which becomes another thing at .*v.tsv:1"),
        ("v.glm", "* name x\n", "found no rule in it"),
        ("v.glm", "[A] -> [B]\n", r"v.glm:1: found no rule; expected \[OLD\] => \[NEW\]"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        read(tmp_path, name, content)


@given(st.text(alphabet="abc -", max_size=30))
def test_a_text_without_variants_is_only_normalised(text: str) -> None:
    accept = Equivalences("basic", (Rule(("tylenol",), ("paracetamol",)),))
    assert accept(text).split() == text.replace("-", " ").split()


CHOICES = """\
[HE'S] => {[HE IS] / [HE HAS]}
[UH] => {UH / @}
DR => [{DOCTOR / DRIVE}]
"""


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("he's gone", "he has gone", 0),
        ("he's gone", "he is gone", 0),
        ("he has gone", "he's gone", 0),
        ("he's gone", "he's gone", 0),
        ("he's gone", "he was gone", 1),
        ("he has gone and he is back", "he's gone and he's back", 0),
        ("he's gone and he's back", "he has gone and he is back", 0),
        ("uh yes", "yes", 0),
        ("yes", "uh yes", 0),
        ("elm dr", "elm drive", 0),
        ("elm drive", "elm dr", 0),
        ("ask dr drive", "ask doctor drive", 0),
        ("ask the dr now", "ask the now", 1),
    ],
)
def test_each_alternative_of_a_rule_counts_as_right(
    tmp_path: Path, said: str, heard: str, errors: int
) -> None:
    scores = score(
        references={"a": said},
        systems={"x": {"a": heard}},
        equivalences=read(tmp_path, "c.glm", CHOICES),
    ).scores
    assert scores["systems"]["x"]["wer"]["normalized"]["errors"] == errors


def test_terms_are_found_by_each_alternative(tmp_path: Path) -> None:
    scores = score(
        references={"a": "The dr said no", "b": "On Elm drive"},
        systems={"x": {"a": "the drive said no", "b": "on elm dr"}},
        finder=EntityFinder([{"label": "D", "pattern": x} for x in ("dr", "Elm drive")]),
        equivalences=read(tmp_path, "c.glm", CHOICES),
    ).scores
    terms = scores["systems"]["x"]["entities"]["normalized"]
    assert (terms["found"], terms["bag_found"], terms["false_insertions"]) == (2, 2, 0)
    assert scores["equivalences"]["applied"]["dr = doctor / drive"] == {"reference": 1, "x": 1}


@given(st.lists(st.sampled_from(["he's", "he", "is", "has", "uh", "dr", "drive"]), max_size=9))
def test_a_text_with_alternatives_is_itself(words: list[str]) -> None:
    he, uh = (
        Rule(("he's",), ("he", "is"), others=(("he", "has"),)),
        Rule(("uh",), ("uh",), others=((),)),
    )
    accept = Equivalences("basic", (he, uh, Rule(("dr",), ("doctor",), others=(("drive",),))))
    text = " ".join(words)
    assert accept.heard(text, text) == accept(text)
