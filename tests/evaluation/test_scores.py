"""The scores.json dictionary and its table, on a small set counted by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.text.normalizers import normalize
from asr_llm.errors import AsrLlmError, ScoreError
from asr_llm.evaluation.entities import EntityFinder, Mention
from asr_llm.evaluation.scores import Blocks, base_first, score
from asr_llm.evaluation.table import Row, table

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


def figures(**arguments: Any) -> dict[str, Any]:
    return score(**arguments).scores


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
    return figures(**{**arguments, **changes})


def without_interval(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("low", "high")}


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
        # Draws of the utterances: 2/3, 1/7, or both.
        "low": pytest.approx(1 / 7),
        "high": pytest.approx(2 / 3),
    }
    assert systems["base"]["wer"]["normalized"]["errors"] == 2
    assert systems["adapted"]["wer"]["raw"]["errors"] == 1
    assert systems["adapted"]["wer"]["normalized"]["rate"] == 0.0
    # "He takes Lipitor." has 17 characters, u2 has 42; one full stop is gone.
    assert systems["adapted"]["cer"]["raw"]["words"] == 59
    assert systems["adapted"]["cer"]["raw"]["deletions"] == 1


def test_entities_by_hand() -> None:
    systems = scored()["systems"]
    raw = systems["base"]["entities"]["raw"]
    by_label, term_wer = raw.pop("by_label"), raw.pop("term_wer")

    def one(label: str, found: int, **words: int) -> dict[str, Any]:
        return {"label": label, "mentions": 1, "found": found, **words, "insertions": 0}

    # NE-CER: Lipitor → lip itor (2 of 7), Crohn's disease (0 of 15), aspirin → Aspirin (1 of 7).
    assert raw == {
        "mentions": 3,
        "found": 1,
        "partial": 0,
        "recall": 1 / 3,
        "eer": 2 / 3,
        "low": 0.5,
        "high": 1.0,
        "ne_wer": 0.5,
        "ne_errors": 2,
        "ne_words": 4,
        "ne_cer": pytest.approx(3 / 29),
        "bag_found": 2,
        "bag_recall": 2 / 3,
        "false_insertions": 0,
        "precision": 1.0,
        "by_term": {
            "aspirin": one("DRUG", 0, words=1, errors=1),
            "crohn's disease": one("CONDITION", 1, words=2, errors=0),
            "lipitor": one("DRUG", 0, words=1, errors=1),
        },
    }
    # Lipitor and aspirin of four words of terms; "itor" is inserted, but in no list.
    assert (term_wer["rate"], term_wer["errors"], term_wer["words"]) == (0.5, 2, 4)
    assert (term_wer["insertions"], term_wer["rate_with_insertions"]) == (0, 0.5)
    assert (term_wer["low"], term_wer["high"]) == (pytest.approx(1 / 3), 1.0)
    assert {label: (x["mentions"], x["found"], x["eer"]) for label, x in by_label.items()} == {
        "CONDITION": (1, 1, 0.0),
        "DRUG": (2, 0, 1.0),
    }
    assert (by_label["DRUG"]["bag_found"], by_label["DRUG"]["ne_words"]) == (1, 2)
    assert systems["base"]["entities"]["normalized"]["found"] == 2
    assert systems["adapted"]["entities"]["raw"]["eer"] == 0.0


def test_general_set() -> None:
    general = scored()["general"]
    assert general["base"]["wer"]["raw"]["errors"] == 1
    assert general["base"]["wer"]["normalized"]["errors"] == 0
    assert general["adapted"]["wer"]["normalized"]["rate"] == 0.25


def test_the_general_set_has_intervals_over_its_own_blocks() -> None:
    """Of two speakers, one word each, the adapter gets one wrong: draws of 0, 1/2 and 1."""
    said, wrong = {"g1": "sea", "g2": "sky"}, {"g1": "sea", "g2": "ski"}
    scores = scored(
        general={"base": (said, said), "adapted": (said, wrong)},
        general_blocks=Blocks({"g1": "ann", "g2": "bob"}),
    )
    figures_of = scores["general"]["adapted"]["wer"]["normalized"]
    assert (figures_of["rate"], figures_of["low"], figures_of["high"]) == (0.5, 0.0, 1.0)
    assert scores["comparison"]["general_wer"] == {
        "difference": 0.5, "low": 0.0, "high": 1.0, "p": None,
    }  # fmt: skip


def test_comparison_is_adapted_minus_base() -> None:
    comparison = scored()["comparison"]
    metrics = {"eer", "eer_normalized", "term_wer", "wer", "mcnemar", "general_wer"}
    assert set(comparison) == metrics
    # Two mentions are found by the second alone: p = 2 · (1/2)².
    assert comparison["mcnemar"] == {"base_only": 0, "adapted_only": 2, "p": 0.5}
    assert comparison["eer"]["difference"] == pytest.approx(-2 / 3)
    assert comparison["eer_normalized"]["difference"] == pytest.approx(-1 / 3)
    assert comparison["wer"]["difference"] == pytest.approx(-0.2)
    # Draws of the two utterances: -1/1, -2/3 or -1/2 for EER.
    assert comparison["eer"]["low"] == -1.0
    assert comparison["eer"]["high"] == -0.5


def test_one_block_for_all_has_no_interval() -> None:
    comparison = scored(blocks=Blocks({"u1": "anna", "u2": "anna", "u3": "eve"}))["comparison"]
    assert comparison["eer"] == {
        "difference": pytest.approx(-2 / 3),
        "low": None,
        "high": None,
        "p": None,
    }
    with pytest.raises(ScoreError, match="'u2' is in no block"):
        scored(blocks=Blocks({"u1": "anna"}))


def test_order_of_input_changes_nothing() -> None:
    def backwards(texts: Mapping[str, str]) -> dict[str, str]:
        return dict(sorted(texts.items(), reverse=True))

    again = scored(
        references=backwards(REFERENCES),
        systems={"adapted": backwards(ADAPTED), "base": backwards(BASE)},
        blocks=Blocks({"u2": "a", "u1": "b"}),
    )
    assert again == scored(blocks=Blocks({"u1": "b", "u2": "a"}))
    assert table(again) == table(scored())


def test_the_base_comes_first_the_others_as_given() -> None:
    assert base_first({"b": {}, "base": {}, "a": {}}) == ["base", "b", "a"]
    assert base_first(["b", "a"]) == ["b", "a"]


def test_a_single_system_without_entities() -> None:
    scores = figures(references=REFERENCES, systems={"other": BASE})
    assert scores["reference"]["mentions"] is None
    assert "entities" not in scores["systems"]["other"]
    assert scores["comparison"] == {} and scores["general"] == {}
    assert table(scores) == [Row("WER (normalized)", "2/10", "20.0%", "", "", "0.0 to 66.7")]


def test_two_systems_without_entities_are_compared_by_words_only() -> None:
    assert set(scored(finder=None, general=None)["comparison"]) == {"wer"}


def test_nothing_to_divide_by_is_none() -> None:
    scores = figures(references={"u": ""}, systems={"base": {"u": "uh"}}, finder=FINDER)
    base = scores["systems"]["base"]
    assert base["wer"]["raw"]["rate"] is None
    assert base["wer"]["raw"]["insertions"] == 1
    entities = base["entities"]["raw"]
    assert (entities["mentions"], entities["found"], entities["false_insertions"]) == (0, 0, 0)
    undefined = ("recall", "eer", "ne_wer", "ne_cer", "bag_recall", "precision", "low", "high")
    assert [entities[key] for key in undefined] == [None] * 8
    assert entities["by_label"] == entities["by_term"] == {}
    assert table(scores)[0] == Row("EER (raw)", "0/0", "–", "", "")


def test_white_space_does_not_hide_a_mention() -> None:
    references = {"u": "has  Crohn's \t disease"}
    scores = figures(references=references, systems={"base": references}, finder=FINDER)
    assert scores["systems"]["base"]["entities"]["raw"]["found"] == 1


def test_table_by_hand() -> None:
    assert table(scored()) == [
        Row("EER (raw)", "2/3 → 0/3", "66.7%", "0.0%", "-66.7", "-100.0 to -50.0"),
        Row("EER (raw) CONDITION", "0/1 → 0/1", "0.0%", "0.0%", "+0.0"),
        Row("EER (raw) DRUG", "2/2 → 0/2", "100.0%", "0.0%", "-100.0"),
        Row("EER (normalized)", "1/3 → 0/3", "33.3%", "0.0%", "-33.3", "-100.0 to +0.0"),
        Row("T-WER (normalized)", "1/4 → 0/4", "25.0%", "0.0%", "-25.0", "-100.0 to +0.0"),
        Row("WER domain (normalized)", "2/10 → 0/10", "20.0%", "0.0%", "-20.0", "-66.7 to +0.0"),
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
    scores = figures(
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


# Beside the strict figures ---------------------------------------------------------------


def test_false_insertions_and_the_bag_by_hand() -> None:
    """u1 has aspirin once too often and Lipitor never said; u2 has its term in another place."""
    found = figures(
        references={"u1": "Take aspirin now.", "u2": "Lipitor and then tea."},
        systems={"base": {"u1": "Take aspirin Aspirin or Lipitor now.", "u2": "tea and lipitor"}},
        finder=FINDER,
    )["systems"]["base"]["entities"]["normalized"]
    assert (found["mentions"], found["found"], found["bag_found"]) == (2, 1, 2)
    assert (found["false_insertions"], found["precision"]) == (2, 0.5)
    assert found["by_label"]["DRUG"]["false_insertions"] == 2


def test_a_mention_half_heard_is_partial() -> None:
    scored = score(
        references={"u": "She has Crohn's disease."},
        systems={"base": {"u": "She has crows disease."}},
        finder=FINDER,
    )
    assert scored.scores["systems"]["base"]["entities"]["raw"]["partial"] == 1
    assert scored.mentions == [
        {
            "system": "base",
            "utterance": "u",
            "label": "CONDITION",
            "text": "Crohn's disease",
            "start": 8,
            "end": 23,
            "raw": "partial",
            "normalized": "partial",
            "heard": "crows disease.",
        }
    ]


def test_biasing_by_hand() -> None:
    """B: aspirin (a hit), lipitor (substituted), aspirin (inserted); U: 4 words, tea inserted."""
    found = figures(
        references={"u": "Take aspirin and Lipitor every day"},
        systems={"base": {"u": "take aspirin tea and lip every day aspirin"}},
        biasing=["Aspirin", "Lipitor"],
    )["systems"]["base"]["biasing"]
    assert without_interval(found["b_wer"]) == {"rate": 1.0, "errors": 2, "words": 2}
    assert without_interval(found["u_wer"]) == {"rate": 0.25, "errors": 1, "words": 4}


def test_the_table_splits_errors_by_a_biasing_list() -> None:
    rows = table(scored(biasing=["aspirin", "Lipitor"]))
    assert [row[:4] for row in rows[-3:-1]] == [
        ("B-WER (listed words)", "1/2 → 0/2", "50.0%", "0.0%"),
        ("U-WER (all others)", "1/8 → 0/8", "12.5%", "0.0%"),
    ]


def test_biasing_words_of_each_utterance() -> None:
    found = figures(
        references={"a": "see Ann", "b": "see Ann"},
        systems={"base": {"a": "see Anna", "b": "see Anna"}},
        biasing={"a": ["Ann"]},
    )["systems"]["base"]["biasing"]
    assert without_interval(found["b_wer"]) == {"rate": 1.0, "errors": 1, "words": 1}
    assert without_interval(found["u_wer"]) == {"rate": 1 / 3, "errors": 1, "words": 3}


def test_annotated_mentions_need_no_finder() -> None:
    found = figures(
        references={"u": "He saw  Ann."},
        systems={"base": {"u": "He saw Ann"}},
        mentions={"u": [Mention(8, 11, "PERSON", "Ann")]},
    )["systems"]["base"]["entities"]["raw"]
    assert (found["mentions"], found["found"], found["false_insertions"]) == (1, 1, 0)


def test_few_blocks_and_no_blocks_are_warned_of() -> None:
    (unknown,) = scored()["warnings"]
    assert "speakers are unknown" in unknown
    scores = scored(blocks=Blocks({"u1": "a", "u2": "b"}))
    (few,) = scores["warnings"]
    assert few.startswith("2 speakers: intervals drawn from fewer than 6")
    assert scores["bootstrap"] == {"blocks": 2, "of": "speaker", "resamples": 1000, "seed": 0}
    alone = scored(blocks=Blocks({"u1": "a", "u2": "a"}))
    assert alone["warnings"] == ["1 speaker: no intervals; reliable ones need at least 6"]
    many = {f"u{i}": "a b" for i in range(6)}
    blocks = Blocks({i: i for i in many}, "recording")
    assert figures(references=many, systems={"base": many}, blocks=blocks)["warnings"] == []


def test_terms_that_nobody_said_are_warned_of() -> None:
    """Ten of them beside the one or two that were said: more than nine, and than what was."""
    blocks = Blocks({"u1": "a", "u2": "b"})
    for count, warned in ((9, False), (10, True)):
        wild = ADAPTED | {"u1": "He takes Lipitor" + " aspirin" * count}
        _, *more = scored(systems={"base": BASE, "adapted": wild}, blocks=blocks)["warnings"]
        assert bool(more) == warned
    (told,) = more
    assert told.startswith("adapted: 10 terms were falsely inserted, and only 3 found; ")
    assert "--biasing-strength" in told


def test_curly_apostrophes_are_warned_of_where_they_do_harm() -> None:
    texts = {"references": {"u": "I don’t, he can’t"}, "systems": {"a": {"u": "I don't"}}}
    for normalizer, warned in (("whisper-en", True), ("basic", False), ("medical-en", False)):
        told = [w for w in figures(**texts, normalizer=normalizer)["warnings"] if "curly" in w]
        assert bool(told) == warned
        assert not warned or told[0].startswith("curly apostrophes (the references: 2):")


def test_several_systems_are_each_compared_with_the_first() -> None:
    scores = scored(systems={"base": BASE, "adapted": ADAPTED, "third": BASE})
    assert set(scores["comparisons"]) == {"adapted", "third"}
    assert scores["comparison"] == scores["comparisons"]["adapted"]
    assert scores["comparisons"]["third"]["eer"]["difference"] == 0.0


def test_sclite_costs() -> None:
    """Five substitutions (5, or 20 by sclite) against three deletions and insertions (6, or 18)."""
    texts: dict[str, Any] = {
        "references": {"u": "p q r so far"},
        "systems": {"base": {"u": "so far x y z"}},
    }
    unit, sclite = (figures(**texts, costs=costs) for costs in ("unit", "sclite"))
    assert unit["systems"]["base"]["wer"]["raw"]["substitutions"] == 5
    found = sclite["systems"]["base"]["wer"]["raw"]
    assert (found["deletions"], found["hits"], found["insertions"]) == (3, 2, 3)
    assert sclite["alignment"] == "sclite costs (4, 3, 3)"


def test_mentions_are_carried_by_the_same_costs() -> None:
    """By sclite "so far" is aligned with itself; by unit costs it stands beside "y z"."""
    text = "p q r so far"
    texts: dict[str, Any] = {
        "references": {"u": text},
        "systems": {"base": {"u": "so far x y z"}},
        "mentions": {"u": [Mention(6, 12, "T", "so far")]},
    }
    for costs, expected in (("unit", 0), ("sclite", 1)):
        entities = figures(**texts, costs=costs)["systems"]["base"]["entities"]
        assert [entities[text]["found"] for text in ("raw", "normalized")] == [expected, expected]


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=4), st.booleans())
def test_figures_stay_within_their_bounds(pairs: list[tuple[str, str]], sclite: bool) -> None:
    references = {f"u{i}": reference for i, (reference, _) in enumerate(pairs)}
    hypotheses = {f"u{i}": hypothesis for i, (_, hypothesis) in enumerate(pairs)}
    scores = figures(
        references=references,
        systems={"base": hypotheses},
        finder=FINDER,
        biasing=["Lipitor", "disease"],
        costs="sclite" if sclite else "unit",
    )
    system = scores["systems"]["base"]
    for entities in system["entities"].values():
        assert entities["found"] + entities["partial"] <= entities["mentions"]
        assert entities["found"] <= entities["bag_found"] <= entities["mentions"]
        terms = entities["by_term"].values()
        assert sum(term["mentions"] for term in terms) == entities["mentions"]
        for key in ("bag_found", "false_insertions", "ne_errors", "ne_words", "partial"):
            assert entities[key] == sum(x[key] for x in entities["by_label"].values())
    sides = system["biasing"].values()
    for key in ("errors", "words"):
        assert sum(side[key] for side in sides) == system["wer"]["normalized"][key]


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=2, max_size=4))
def test_totals_are_those_of_the_utterances_added_up(pairs: list[tuple[str, str]]) -> None:
    def counts(chosen: list[tuple[str, str]]) -> dict[str, int]:
        system = figures(
            references={f"u{i}": reference for i, (reference, _) in enumerate(chosen)},
            systems={"base": {f"u{i}": heard for i, (_, heard) in enumerate(chosen)}},
            finder=FINDER,
            biasing=["Lipitor"],
        )["systems"]["base"]
        added = ("mentions", "found", "partial", "ne_errors", "ne_words", "bag_found")
        found = {
            f"{kind} {text} {key}": system[kind][text][key]
            for text in ("raw", "normalized")
            for kind, keys in (
                ("wer", ("errors", "words", "hits", "insertions")),
                ("cer", ("errors", "words")),
                ("entities", (*added, "false_insertions")),
            )
            for key in keys
        }
        return found | {side: split["errors"] for side, split in system["biasing"].items()}

    each = [counts([pair]) for pair in pairs]
    assert counts(pairs) == {key: sum(one[key] for one in each) for key in each[0]}


def test_an_output_of_insertions_alone() -> None:
    """Nothing said, three words heard, two of them a listed term and a word on the list."""
    system = figures(
        references={"a": "", "b": "Take tea."},
        systems={"base": {"a": "uh Lipitor um", "b": "Take tea."}},
        finder=FINDER,
        biasing=["Lipitor"],
    )["systems"]["base"]
    words = system["wer"]["normalized"]
    assert (words["rate"], words["insertions"], words["words"]) == (1.5, 3, 2)
    assert without_interval(system["biasing"]["b_wer"]) == {"rate": None, "errors": 1, "words": 0}
    assert without_interval(system["biasing"]["u_wer"]) == {"rate": 1.0, "errors": 2, "words": 2}
    entities = system["entities"]["raw"]
    assert (entities["false_insertions"], entities["precision"], entities["eer"]) == (1, 0.0, None)


def test_a_list_no_word_of_which_was_said_has_no_rate() -> None:
    found = scored(biasing=["zebra"])
    assert without_interval(found["systems"]["base"]["biasing"]["b_wer"]) == {
        "rate": None,
        "errors": 0,
        "words": 0,
    }


@pytest.mark.parametrize("normalizer", ["basic", "whisper-en", "medical-en"])
@pytest.mark.parametrize(
    "term", ["糖尿病", "السكري", "Sjögren", "naïve", "β-blocker", "COVID-19", "3.5"]
)
def test_any_script_and_mark_is_scored(term: str, normalizer: str) -> None:
    finder = EntityFinder([{"label": "T", "pattern": term}])
    said = {"u": f"It is {term}, and {term}."}
    right, wrong = (
        figures(references=said, systems={"a": heard}, finder=finder, normalizer=normalizer)
        for heard in (said, {"u": "It is tea and tea"})
    )
    for scores, found in ((right, 2), (wrong, 0)):
        for entities in scores["systems"]["a"]["entities"].values():
            assert (entities["mentions"], entities["found"]) == (2, found)
    assert right["systems"]["a"]["wer"]["normalized"]["errors"] == 0


def test_annotated_mentions_may_overlap() -> None:
    text = "in March 2020"
    mentions = {"u": [Mention(3, 13, "DATE", "March 2020"), Mention(9, 13, "YEAR", "2020")]}
    found = figures(
        references={"u": text}, systems={"a": {"u": "in march 2020"}}, mentions=mentions
    )["systems"]["a"]["entities"]
    assert [found[text]["found"] for text in ("raw", "normalized")] == [1, 2]


def test_nothing_said_and_nothing_heard() -> None:
    texts: dict[str, Any] = {"references": {"a": "", "b": "Lipitor"}}
    for heard, rate in (({"a": "", "b": ""}, 1.0), ({"a": "uh", "b": "Lipitor"}, 1.0)):
        system = figures(**texts, systems={"x": heard}, finder=FINDER)["systems"]["x"]
        assert system["wer"]["raw"]["rate"] == rate


@given(SENTENCES, SENTENCES)
def test_normalizing_twice_changes_no_figure(reference: str, hypothesis: str) -> None:
    once = {"references": {"u": reference}, "systems": {"a": {"u": hypothesis}}}
    again = {
        "references": {"u": normalize(reference, "basic")},
        "systems": {"a": {"u": normalize(hypothesis, "basic")}},
    }
    one, two = (figures(**texts)["systems"]["a"]["wer"]["normalized"] for texts in (once, again))
    assert one == two
