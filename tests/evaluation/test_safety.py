"""Safety words: 200 pairs of sentences judged by hand, and their counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import ScoreError
from asr_llm.evaluation.safety import safety_outcomes, safety_rows, summary
from asr_llm.evaluation.scores import Blocks, score

LINES = (Path(__file__).parent / "safety_pairs.tsv").read_text("utf-8").splitlines()
PAIRS = [line.split("\t") for line in LINES]


def test_there_are_200() -> None:
    assert len(PAIRS) >= 200
    assert len({(said, heard) for said, heard, _ in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(("said", "heard", "expected"), PAIRS)
def test_pairs_judged_by_hand(said: str, heard: str, expected: str) -> None:
    found = safety_outcomes(reference=said, hypothesis=heard)
    assert (" ".join(f"{o.kind}:{o.status}" for o in found) or "-") == expected


@given(st.lists(st.sampled_from([said for said, *_ in PAIRS]), max_size=6))
def test_a_text_keeps_its_own_words(sentences: list[str]) -> None:
    text = " ".join(sentences)
    assert all(o.status == "kept" for o in safety_outcomes(reference=text, hypothesis=text))


def test_counts_and_rows() -> None:
    outcomes = {
        "a": safety_outcomes(reference="No pain. Take 15 mg.", hypothesis="Pain. Take 15 mg."),
        "b": safety_outcomes(reference="My left knee.", hypothesis="My knee."),
        "c": safety_outcomes(reference="It hurts.", hypothesis="It never hurts."),
    }
    found = summary(o for one in outcomes.values() for o in one)
    assert {key: found[key] for key in ("said", "kept", "lost", "turned", "added")} == {
        "said": 3, "kept": 1, "lost": 1, "turned": 1, "added": 1,
    }  # fmt: skip
    assert found["rate"] == pytest.approx(2 / 3)
    assert found["by_kind"]["side"]["rate"] == 1.0
    assert found["by_kind"]["dose"]["rate"] is None
    rows = list(safety_rows("x", outcomes))
    assert [(row["utterance"], row["status"]) for row in rows] == [
        ("a", "turned"), ("c", "added"), ("b", "lost")
    ]  # fmt: skip
    assert (rows[0]["said"], rows[0]["heard"]) == ("no pain take", "pain take")


def test_systems_are_ranked_by_them() -> None:
    references = {str(i): "No pain in the left knee." for i in range(8)}
    heard = {"bad": "pain in the left knee", "good": "no pain in the left knee"}
    scored = score(
        references=references,
        systems={name: dict.fromkeys(references, text) for name, text in heard.items()},
        blocks=Blocks({i: i for i in references}),
        safety=True,
        sort="safety",
    )
    bad = scored.scores["systems"]["bad"]["safety"]
    assert (bad["said"], bad["turned"], bad["rate"], bad["low"]) == (16, 8, 0.5, 0.5)
    assert [row["system"] for row in scored.scores["leaderboard"]["rows"]] == ["good", "bad"]
    assert scored.scores["comparison"]["safety"]["difference"] == -0.5
    assert len(scored.safety) == 8
    with pytest.raises(ScoreError, match="give --safety too"):
        score(references=references, systems={"x": references}, sort="safety")
