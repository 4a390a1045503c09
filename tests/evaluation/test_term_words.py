"""Term word errors, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from asr_llm.evaluation.entities import EntityFinder, Mention
from asr_llm.evaluation.scores import score

FINDER = EntityFinder(
    [
        {"label": "DRUG", "pattern": "warfarin"},
        {"label": "DRUG", "pattern": "folic acid"},
        {"label": "CONDITION", "pattern": "atrial fibrillation"},
    ]
)


def term_wer(reference: str, hypothesis: str, **changes: Any) -> dict[str, Any]:
    given = {"references": {"a": reference}, "systems": {"x": {"a": hypothesis}}, "finder": FINDER}
    return score(**{**given, **changes}).scores["systems"]["x"]["entities"]["normalized"]


@pytest.mark.parametrize(
    ("hypothesis", "substitutions", "deletions", "insertions"),
    [
        ("He has atrial fibrillation and takes warfarin.", 0, 0, 0),
        ("he has a trial fibrillation and takes warfarin", 1, 0, 0),  # "a" is in no list
        ("he has fibrillation and takes war faring", 1, 1, 0),
        ("he has atrial fibrillation and takes warfarin warfarin", 0, 0, 1),
        ("he has atrial fibrillation and takes warfarin folic acid", 0, 0, 2),
        ("he has atrial fibrillation and takes warfarin acid", 0, 0, 0),  # no term by itself
        ("", 0, 3, 0),
    ],
)
def test_errors_on_words_of_terms(
    hypothesis: str, substitutions: int, deletions: int, insertions: int
) -> None:
    found = term_wer("He has atrial fibrillation and takes warfarin.", hypothesis)["term_wer"]
    assert (found["substitutions"], found["deletions"]) == (substitutions, deletions)
    assert (found["words"], found["insertions"]) == (3, insertions)
    assert found["rate"] == pytest.approx((substitutions + deletions) / 3)
    total = substitutions + deletions + insertions
    assert found["rate_with_insertions"] == pytest.approx(total / 3)


def test_by_label_and_by_term() -> None:
    found = term_wer(
        "Atrial fibrillation, so warfarin. Warfarin helps.",
        "a trial fibrillation so warfarin folic acid helps",
    )
    # Aligned: warfarin → folic, Warfarin → ... one is lost whatever the order; see the counts.
    drug, condition = found["by_label"]["DRUG"], found["by_label"]["CONDITION"]
    assert (condition["term_wer"]["errors"], condition["term_wer"]["words"]) == (1, 2)
    assert (drug["term_wer"]["errors"], drug["term_wer"]["words"]) == (1, 2)
    assert drug["term_wer"]["insertions"] == 1
    assert found["by_term"]["warfarin"] == {
        "label": "DRUG", "mentions": 2, "found": 1, "words": 2, "errors": 1, "insertions": 0,
    }  # fmt: skip


def test_without_a_list_insertions_are_unknown() -> None:
    found = term_wer(
        "Take warfarin.",
        "take take warfarin",
        finder=None,
        mentions={"a": [Mention(5, 13, "DRUG", "warfarin")]},
    )["term_wer"]
    assert (found["rate"], found["insertions"], found["rate_with_insertions"]) == (0.0, None, None)
