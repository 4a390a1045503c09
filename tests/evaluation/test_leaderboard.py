"""Ranks and tables, on counts made by hand."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from asr_llm.errors import ScoreError
from asr_llm.evaluation import comparison
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.leaderboard import records, standings, write
from asr_llm.evaluation.scores import Blocks, score

GROUPED = {str(i): [str(i)] for i in range(20)}
FINDER = EntityFinder([{"label": "DRUG", "pattern": "aspirin"}])


def counts(*errors: int) -> dict[str, tuple[float, float]]:
    return {i: (errors[k % len(errors)], 10) for k, i in enumerate(GROUPED)}


def scored(count: int = 3, /, **changes: Any) -> dict[str, Any]:
    references = {str(i): "Take one aspirin a day." for i in range(12)}
    names = ["good", "fair", "a-recogniser-with-a-long-name-that-goes-on-2024-11", "poor"]
    names += [f"system-{i}" for i in range(count)]
    wrong = {"good": 0, "fair": 1, names[2]: 6, "poor": 12}
    texts = {
        name: {i: "take one spring a day" if int(i) < wrong.get(name, 6) else t
               for i, t in references.items()}
        for name in names[:count]
    }  # fmt: skip
    given = {
        "references": references,
        "systems": texts,
        "finder": FINDER,
        "blocks": Blocks({i: i for i in references}),
        "headline": "normalized",
    }
    return score(**{**given, **changes}).scores


def test_systems_that_cannot_be_told_apart_share_a_rank() -> None:
    table = standings(
        {"worst": counts(5), "a": counts(1, 2), "b": counts(2, 1), "best": counts(0)}, GROUPED
    )
    assert [(row["system"], row["rank"]) for row in table] == [
        ("best", 1), ("a", 2), ("b", 2), ("worst", 4)
    ]  # fmt: skip
    assert [row["rate"] for row in table] == [0.0, 0.15, 0.15, 0.5]
    assert table[1]["low"] < 0.15 < table[1]["high"]


def test_no_ranks_with_too_few_blocks() -> None:
    table = standings({"a": counts(1), "b": counts(5)}, GROUPED, ranked=False)
    assert [row["rank"] for row in table] == [None, None]
    one = {"x": [*GROUPED]}
    table = standings({"b": counts(5), "a": counts(1)}, one)
    assert [(row["system"], row["rank"], row["low"]) for row in table] == [
        ("a", None, None), ("b", None, None)
    ]  # fmt: skip
    empty = dict.fromkeys(GROUPED, (0, 0))
    assert standings({"a": empty}, GROUPED)[0]["rate"] is None


@pytest.mark.parametrize("systems", [2, 3, 4, 50])
@pytest.mark.parametrize("sort", ["eer", "eer-raw", "wer", "term-wer:DRUG", "mean-wer", "cer-raw"])
def test_the_table_has_80_columns_and_cuts_nothing_away(systems: int, sort: str) -> None:
    scores = scored(systems, sort=sort)
    text = write(scores, "txt")
    assert max(map(len, text.splitlines())) <= 80
    squeezed = "".join(text.split())
    assert all(row["system"] in squeezed for row in records(scores)[:2])
    heading = text.splitlines()[0]
    assert all(name in heading for name in ("rank", "WER", "EER", "T-WER", "(95%)"))


def test_long_names_go_on_in_the_next_line() -> None:
    lines = write(scored(), "txt").splitlines()
    parts = [line[6:].split()[0] for line in lines[3:]]
    assert "".join(parts).startswith("a-recogniser-with-a-long-name-that-goes-on-2024-11")


def test_other_formats_have_the_same_figures() -> None:
    scores = scored()
    rows = json.loads(write(scores, "json"))["leaderboard"]["rows"]
    assert [row["system"][:4] for row in rows] == ["good", "fair", "a-re"]
    assert (rows[1]["by"], rows[1]["rate"], rows[1]["eer"]) == ("eer", 1 / 12, 1 / 12)
    assert (rows[2]["eer DRUG"], rows[2]["term_wer"]) == (0.5, 0.5)
    table = list(csv.DictReader(io.StringIO(write(scores, "csv"))))
    assert [row["eer"] for row in table] == [str(row["eer"]) for row in rows]
    markdown = write(scores, "md").splitlines()
    assert markdown[0].startswith("| rank | system | EER (95%) | EER raw | WER |")
    assert markdown[2].startswith("| 1 | good | 0.0 (0.0–0.0) | 0.0 |")
    assert "<td>a-recogniser-with-a-long" in write(scores, "html")


def test_sorted_by_one_figure_and_compared_with_the_best() -> None:
    scores = scored(4, sort="wer-raw", against="best")
    assert scores["leaderboard"]["by"] == "wer-raw"
    assert set(scores["comparisons"]) == {row["system"] for row in records(scores)} - {"good"}
    text = write(scores, "txt", against=True).partition("\n\n")[2]
    assert text.splitlines()[0].split()[:2] == ["against", "good"]
    assert max(map(len, text.splitlines())) <= 80
    poor = next(line for line in text.splitlines() if line.startswith("poor"))
    assert poor.split() == ["poor", "WER", "raw", "+60.0", "+60.0", "to", "+60.0", "0.002"]
    assert "against poor" in write(scored(4, against="poor"), "txt", against=True)


@pytest.mark.parametrize("sort", ["eer", "cer", "mean-wer-raw", "term-wer:DRUG", "wer"])
def test_comparisons_cover_terms_safety_and_the_ranking_figure(sort: str) -> None:
    texts = {str(i): "No pain, take one aspirin." for i in range(12)}
    heard = {i: "take one aspirin" if int(i) < 6 else text for i, text in texts.items()}
    systems = {"all": texts, "some": heard}
    scores = scored(references=texts, systems=systems, safety=True, sort=sort)
    told = comparison.cells(scores)
    heading = {"cer": "CER", "mean-wer-raw": "mean WER raw", "term-wer:DRUG": "T-WER DRUG"}
    first = [heading[sort]] if sort in heading else []
    assert {row[1] for row in told[1:]} == {*first, "EER", "T-WER", "WER", "safety"}
    by_figure = {row[1]: row[2:] for row in told[1:]}
    assert by_figure["T-WER"] == ["+0.0", "+0.0 to +0.0", "1.000"]
    # Of two safety words ("No pain", "one") each draw of twelve loses half of one on average.
    change, interval, p = by_figure["safety"]
    safety = scores["comparisons"]["some"]["safety"]
    assert change == f"{100 * 6 / scores['systems']['all']['safety']['said']:+.1f}"
    assert safety["low"] > 0 and " to " in interval and float(p) < 0.05


def test_every_format_has_the_comparison() -> None:
    scores = scored(4, against="best")
    name, change = "poor", scores["comparisons"]["poor"]["term_wer"]
    assert f"| {name} | EER | +100.0 | +100.0 to +100.0 | 0.002 |" in write(
        scores, "md", against=True
    )
    assert "<td>+100.0 to +100.0</td>" in write(scores, "html", against=True)
    assert json.loads(write(scores, "json"))["comparisons"] == scores["comparisons"]
    assert json.loads(write(scores, "json"))["against"] == scores["against"] == "good"
    rows = list(csv.DictReader(io.StringIO(write(scores, "csv", against=True))))
    by_name = {row["system"]: row for row in rows}
    assert by_name[name]["against"] == "good" and by_name["good"]["against"] == ""
    assert float(by_name[name]["term_wer_change"]) == change["difference"] == 1.0
    assert float(by_name[name]["term_wer_change_p"]) == change["p"]
    assert by_name["good"]["wer_change_low"] == ""
    assert "against" not in write(scores, "csv")


def test_two_systems_side_by_side_in_every_format() -> None:
    scores, pair = scored(4, against="good"), ("good", "fair")
    row = "| T-WER (normalized) | 0/12 → 1/12 | 0.0% | 8.3% | +8.3 | +0.0 to +25.0 | "
    assert row in write(scores, "md", pair=pair)
    assert "<td>0/12 → 1/12</td>" in write(scores, "html", pair=pair)
    rows = list(csv.DictReader(io.StringIO(write(scores, "csv", pair=pair))))
    assert [row["against"] for row in rows] == ["", "good", "", ""]


def test_systems_of_one_rate_keep_their_order_and_share_a_rank() -> None:
    given = {"zeta": counts(1), "best": counts(0), "Beta": counts(1), "alpha": counts(1)}
    table = standings(given, GROUPED)
    assert [(row["rank"], row["system"]) for row in table] == [
        (1, "best"), (2, "zeta"), (2, "Beta"), (2, "alpha")
    ]  # fmt: skip
    # Of one rate, but one of them so even that it alone can be told from the best.
    uneven = {"even": counts(2), "uneven": counts(*[0] * 19, 40), "best": counts(1)}
    ranks = {row["system"]: row["rank"] for row in standings(uneven, GROUPED)}
    assert ranks["even"] == ranks["uneven"] == ranks["best"] == 1


@pytest.mark.parametrize(
    ("asked", "by"),
    [("EER:drug", "eer:DRUG"), ("t-wer", "term-wer"), ("Mean_WER-raw", "mean-wer-raw")],
)
def test_figures_in_any_case(asked: str, by: str) -> None:
    assert scored(sort=asked)["leaderboard"]["by"] == by


def test_a_dash_for_a_rank_is_explained() -> None:
    few = scored(blocks=Blocks({str(i): str(i % 3) for i in range(12)}))
    line = "–: no ranks: 3 speakers are too few to tell systems apart; it takes 6 or more."
    assert write(few, "txt").endswith(f"\n{line}\n")
    assert f"\n\n{line}\n" in write(few, "md")
    assert f"<p>{line}</p>" in write(few, "html")
    assert "–" not in write(few, "csv") + write(scored(), "txt").replace("(0.0–", "")[:30]
    none = scored(references={str(i): "Hello." for i in range(12)})
    assert "fewer than two speakers have anything that is counted" in write(none, "txt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sort": "werr"}, "no figure is called 'werr'; expected one of: wer, cer"),
        ({"sort": "wer:DRUG"}, "no figure is called 'wer:DRUG'"),
        ({"sort": "eer:DRUGS"}, "no term in the references has the label 'DRUGS'; expected one of"),
        ({"sort": "eer", "finder": None}, "'eer' counts terms, and there are none; give --entit"),
        ({"against": "nobody"}, "no system is called 'nobody'; expected 'best', or one of: good"),
    ],
)
def test_invalid_rankings_are_rejected(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        scored(**given)


def test_each_recording_and_their_mean() -> None:
    references = {"a1": "one two", "a2": "three four", "b": "take aspirin"}
    heard = {"a1": "one two", "a2": "three", "b": "take spring"}
    scores = score(
        references=references,
        systems={"x": heard},
        finder=FINDER,
        recordings={"a1": "a", "a2": "a", "b": "b"},
    ).scores
    system = scores["systems"]["x"]
    assert system["by_recording"] == {
        "a": {"words": 4, "substitutions": 0, "deletions": 1, "insertions": 0, "wer": 0.25,
              "wer_raw": 0.25, "mentions": 0, "found": 0, "found_raw": 0},
        "b": {"words": 2, "substitutions": 1, "deletions": 0, "insertions": 0, "wer": 0.5,
              "wer_raw": 0.5, "mentions": 1, "found": 0, "found_raw": 0},
    }  # fmt: skip
    # Pooled it is 2 of 6.
    assert system["mean_over_recordings"] == {
        "recordings": 2, "wer": 0.375, "wer_raw": 0.375, "recall": 0.0,
    }  # fmt: skip
    assert scores["systems"]["x"]["wer"]["raw"]["rate"] == pytest.approx(1 / 3)
