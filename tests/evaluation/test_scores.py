"""The scores.json dictionary and its table, on a small set counted by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import AsrLlmError, ScoreError
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.scores import Row, score, table

FINDER = EntityFinder(
    [
        {"label": "DRUG", "pattern": "Lipitor"},
        {"label": "DRUG", "pattern": "aspirin"},
        {"label": "CONDITION", "pattern": "Crohn's disease"},
    ]
)
# 10 words; Lipitor, Crohn's disease, aspirin.
REFERENCES = {
    "u1": "He takes Lipitor.",
    "u2": "She has Crohn's disease and takes aspirin.",
}
# Raw: Lipitor. → lip itor (1 S, 1 I), aspirin. → Aspirin (1 S). All three mentions but Crohn's
# disease are missed. Normalised: aspirin is found and no error.
BASE = {
    "u1": "He takes lip itor",
    "u2": "She has Crohn's disease and takes Aspirin",
}
# Raw: only the full stop of u1 is gone. Everything found.
ADAPTED = {
    "u1": "He takes Lipitor",
    "u2": "She has Crohn's disease and takes aspirin.",
}
GENERAL = {"g1": "The sea was calm"}


def scored(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "references": REFERENCES,
        "systems": {"base": BASE, "adapted": ADAPTED},
        "finder": FINDER,
        "general": {
            "base": (GENERAL, {"g1": "the sea was calm"}),
            "adapted": (GENERAL, {"g1": "The sea is calm"}),
        },
    }
    return score(**{**arguments, **changes})


def test_reference_and_names() -> None:
    scores = scored()
    assert scores["reference"] == {"utterances": 2, "words": 10, "mentions": 3}
    assert scores["normalizer"] == "basic"
    assert scores["alignment"] == "unit costs"
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_word_errors_by_hand() -> None:
    systems = scored()["systems"]
    assert systems["base"]["wer"]["raw"] == {
        "rate": 0.3,
        "errors": 3,
        "words": 10,
        "substitutions": 2,
        "deletions": 0,
        "insertions": 1,
        "hits": 8,
    }
    assert systems["base"]["wer"]["normalized"]["errors"] == 2
    assert systems["adapted"]["wer"]["raw"]["errors"] == 1
    assert systems["adapted"]["wer"]["normalized"]["rate"] == 0.0
    # "He takes Lipitor." has 17 characters, u2 has 42; one full stop is gone.
    assert systems["adapted"]["cer"]["raw"]["words"] == 59
    assert systems["adapted"]["cer"]["raw"]["deletions"] == 1


def test_entities_by_hand() -> None:
    systems = scored()["systems"]
    assert systems["base"]["entities"]["raw"] == {
        "mentions": 3,
        "found": 1,
        "recall": 1 / 3,
        "eer": 2 / 3,
        "by_label": {
            "CONDITION": {"mentions": 1, "found": 1, "recall": 1.0, "eer": 0.0},
            "DRUG": {"mentions": 2, "found": 0, "recall": 0.0, "eer": 1.0},
        },
    }
    assert systems["base"]["entities"]["normalized"]["found"] == 2
    assert systems["adapted"]["entities"]["raw"]["eer"] == 0.0


def test_general_set() -> None:
    general = scored()["general"]
    assert general["base"]["wer"]["raw"]["errors"] == 1
    assert general["base"]["wer"]["normalized"]["errors"] == 0
    assert general["adapted"]["wer"]["normalized"]["rate"] == 0.25


def test_comparison_is_adapted_minus_base() -> None:
    comparison = scored()["comparison"]
    assert set(comparison) == {"eer", "eer_normalized", "wer"}
    assert comparison["eer"]["difference"] == pytest.approx(-2 / 3)
    assert comparison["eer_normalized"]["difference"] == pytest.approx(-1 / 3)
    assert comparison["wer"]["difference"] == pytest.approx(-0.2)
    # Draws of the two utterances: -1/1, -2/3 or -1/2 for EER.
    assert comparison["eer"]["low"] == -1.0
    assert comparison["eer"]["high"] == -0.5


def test_one_block_for_all_has_no_interval() -> None:
    comparison = scored(blocks={"u1": "anna", "u2": "anna", "u3": "eve"})["comparison"]
    assert comparison["eer"] == {
        "difference": pytest.approx(-2 / 3),
        "low": None,
        "high": None,
        "p": None,
    }
    with pytest.raises(ScoreError, match="'u2' is in no block"):
        scored(blocks={"u1": "anna"})


def test_order_of_input_changes_nothing() -> None:
    def backwards(texts: Mapping[str, str]) -> dict[str, str]:
        return dict(sorted(texts.items(), reverse=True))

    again = scored(
        references=backwards(REFERENCES),
        systems={"adapted": backwards(ADAPTED), "base": backwards(BASE)},
        blocks={"u2": "a", "u1": "b"},
    )
    assert again == scored()
    assert table(again) == table(scored())


def test_a_single_system_without_entities() -> None:
    scores = score(references=REFERENCES, systems={"other": BASE})
    assert scores["reference"]["mentions"] is None
    assert "entities" not in scores["systems"]["other"]
    assert scores["comparison"] == {} and scores["general"] == {}
    assert table(scores) == [Row("WER domain (normalized)", "2/10", "20.0%", "", "")]


def test_two_systems_without_entities_are_compared_by_words_only() -> None:
    assert set(scored(finder=None)["comparison"]) == {"wer"}


def test_nothing_to_divide_by_is_none() -> None:
    scores = score(references={"u": ""}, systems={"base": {"u": "uh"}}, finder=FINDER)
    base = scores["systems"]["base"]
    assert base["wer"]["raw"]["rate"] is None
    assert base["wer"]["raw"]["insertions"] == 1
    assert base["entities"]["raw"] == {
        "mentions": 0,
        "found": 0,
        "recall": None,
        "eer": None,
        "by_label": {},
    }
    assert table(scores)[0] == Row("EER (raw)", "0/0", "–", "", "")


def test_white_space_does_not_hide_a_mention() -> None:
    references = {"u": "has  Crohn's \t disease"}
    scores = score(references=references, systems={"base": references}, finder=FINDER)
    assert scores["systems"]["base"]["entities"]["raw"]["found"] == 1


def test_table_by_hand() -> None:
    assert table(scored()) == [
        Row("EER (raw)", "2/3 → 0/3", "66.7%", "0.0%", "-66.7"),
        Row("EER (raw) CONDITION", "0/1 → 0/1", "0.0%", "0.0%", "+0.0"),
        Row("EER (raw) DRUG", "2/2 → 0/2", "100.0%", "0.0%", "-100.0"),
        Row("EER (normalized)", "1/3 → 0/3", "33.3%", "0.0%", "-33.3"),
        Row("WER domain (normalized)", "2/10 → 0/10", "20.0%", "0.0%", "-20.0"),
        Row("WER general (normalized)", "0/4 → 1/4", "0.0%", "25.0%", "+25.0"),
    ]


def test_table_where_only_one_system_has_a_general_set() -> None:
    rows = table(scored(general={"adapted": (GENERAL, GENERAL)}))
    assert rows[-1] == Row("WER general (normalized)", "– → 0/4", "–", "0.0%", "–")


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [
        ({"u1": "x"}, r"'base': no hypothesis for 1 utterance \(u2\)"),
        ({}, r"no hypothesis for 2 utterances \(u1, u2\)"),
        ({**BASE, "u3": ""}, r"no reference for 1 utterance \(u3\)"),
        ({**BASE, **dict.fromkeys("abcd", "")}, r"4 utterances \(a, b, c, …\)"),
    ],
)
def test_ids_must_match(hypotheses: dict[str, str], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        scored(systems={"base": hypotheses}, general=None)


def test_other_mistakes() -> None:
    with pytest.raises(ScoreError, match="0 references and 1 systems"):
        score(references={}, systems={"base": {}})
    with pytest.raises(ScoreError, match="2 references and 0 systems"):
        score(references=REFERENCES, systems={})
    with pytest.raises(ScoreError, match="unknown system 'bsae'; expected one of: base, adapted"):
        scored(general={"bsae": (GENERAL, GENERAL)})
    with pytest.raises(ScoreError, match="'base, general': no hypothesis"):
        scored(general={"base": (GENERAL, {})})
    with pytest.raises(AsrLlmError, match="basci"):
        scored(normalizer="basci")


VOCABULARY = ["He", "Lipitor", "lipitor.", "aspirin,", "Crohn's", "disease", "takes"]
SENTENCES = st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join)


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=4))
def test_labels_add_up_and_a_perfect_system_scores_zero(pairs: list[tuple[str, str]]) -> None:
    references = {f"u{i}": reference for i, (reference, _) in enumerate(pairs)}
    hypotheses = {f"u{i}": hypothesis for i, (_, hypothesis) in enumerate(pairs)}
    scores = score(
        references=references,
        systems={"base": hypotheses, "perfect": references},
        finder=FINDER,
    )
    for text in ("raw", "normalized"):
        entities = scores["systems"]["base"]["entities"][text]
        by_label = entities["by_label"].values()
        assert entities["mentions"] == scores["reference"]["mentions"]
        assert 0 <= entities["found"] <= entities["mentions"]
        for count in ("mentions", "found"):
            assert entities[count] == sum(label[count] for label in by_label)
        perfect = scores["systems"]["perfect"]
        assert perfect["wer"][text]["errors"] == perfect["cer"][text]["errors"] == 0
        assert perfect["entities"][text]["eer"] in (0.0, None)
