"""Reading suites of questions, and scoring answers to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import SuiteError
from asr_llm.evaluation.spoken_qa import Question, Scoring, is_right, read_suite, summarize

ROOT = Path(__file__).parents[2]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_the_common_layouts(tmp_path: Path) -> None:
    rows = [
        {"question": "Who?", "answer": "Ann"},
        {"id": 7, "question": "Where?", "answers": ["Rome", "Roma"], "context": "She is in Rome."},
        {
            "question_id": "t",
            "question": "What?",
            "answer": {"value": "tea", "aliases": ["Tea", "cha"]},
        },
        {"id": "m", "question": "2+2?", "choices": ["3", "4", "5", "6"], "answer": 1},
        {"id": "l", "question": "1+1?", "options": ["one", "two"], "answer": "B", "audio": "l.wav"},
    ]
    (tmp_path / "l.wav").touch()
    write(tmp_path / "q.jsonl", rows)
    (tmp_path / "s.yaml").write_text("name: q\nquestions: q.jsonl\n", "utf-8")
    suite = read_suite(tmp_path / "s.yaml")
    assert (suite.config.name, suite.config.scoring) == ("q", "contains")
    assert suite.questions == (
        Question("1", "Who?", ("Ann",)),
        Question("7", "Where?", ("Rome", "Roma"), passage="She is in Rome."),
        Question("t", "What?", ("tea", "Tea", "cha")),
        Question("m", "2+2?", ("4",), ("3", "4", "5", "6")),
        Question("l", "1+1?", ("two",), ("one", "two"), audio=tmp_path / "l.wav"),
    )
    assert read_suite(write(tmp_path / "mmlu.jsonl", rows[3:])).config.scoring == "choice"
    (tmp_path / "list.json").write_text(json.dumps(rows[:3]), "utf-8")
    assert read_suite(tmp_path / "list.json").questions == suite.questions[:3]
    with pytest.raises(SuiteError, match=r"2 of 5 questions have choices \(the first: m\)"):
        read_suite(tmp_path / "q.jsonl")


def test_a_suite_says_how_it_is_asked(tmp_path: Path) -> None:
    write(tmp_path / "q.jsonl", [{"question": "Who?", "answer": "Ann"}])
    (tmp_path / "s.yaml").write_text(
        "name: mine\nquestions: q.jsonl\nscoring: exact\nspoken: [question]\n", "utf-8"
    )
    config = read_suite(tmp_path / "s.yaml").config
    assert (config.name, config.scoring, config.spoken) == ("mine", "exact", ["question"])


def test_the_suite_of_the_project_is_whole() -> None:
    suite = read_suite(ROOT / "eval" / "extractive.yaml")
    assert len(suite.questions) == 200
    assert all(answer in q.passage for q in suite.questions for answer in q.answers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no questions; expected a JSON object"),
        ('{"question": "x"\n', r"q\.jsonl:1: not JSON"),
        ('{"answer": "x"}', r"q\.jsonl:1: no 'question'"),
        ('\n{"question": "x"}', r"q\.jsonl:2: no 'answer' and no 'answers'"),
        ('{"question": "x", "answer": "y", "choices": ["a", "b"]}', "none of the 2 choices"),
        ('{"question": "x", "answer": "y", "choices": ["y"]}', r"q\.jsonl:1: found 1 choices"),
        (
            '{"question": "x", "answer": "y", "audio": "n.wav"}',
            r":1: audio: .*n\.wav is not there",
        ),
        ('{"question": "x", "answer": "y", "id": 1}\n' * 2, "id '1' is given twice"),
        (
            '{"question": "x", "answer": "z", "choices": ' + json.dumps(["z"] * 11) + "}",
            "at most 10",
        ),
    ],
)
def test_malformed_input_is_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.jsonl").write_text(text, "utf-8")
    with pytest.raises(SuiteError, match=message):
        read_suite(tmp_path / "q.jsonl")


def test_suites_that_do_not_fit_their_questions(tmp_path: Path) -> None:
    with pytest.raises(
        SuiteError, match=r"found a folder; expected a file: a suite \(\.yaml\) or q"
    ):
        read_suite(tmp_path)
    with pytest.raises(SuiteError, match="nothing there"):
        read_suite(tmp_path / "s.yaml")
    suite = tmp_path / "s.yaml"
    suite.write_text("name: a\nquestions: q.jsonl\nscoring: choice\n", "utf-8")
    with pytest.raises(SuiteError, match=r"q\.jsonl is not there"):
        read_suite(suite)
    write(tmp_path / "q.jsonl", [{"question": "x", "answer": "y", "choices": ["a", "b"]}])
    with pytest.raises(SuiteError, match="the answer is none of the 2 choices"):
        read_suite(suite)
    suite.write_text("name: a\nquestion: q.jsonl\n", "utf-8")
    with pytest.raises(SuiteError, match="did you mean 'questions'"):
        read_suite(suite)


@pytest.mark.parametrize(
    ("said", "scoring", "right"),
    [
        ("It is New York, I think.", "contains", True),
        ("new york", "exact", True),
        ("It is New York.", "exact", False),
        ("Newer York", "contains", False),
        ("York New", "contains", False),
        ("NYC", "contains", True),
        ("NYC", "choice", True),
        ("", "contains", False),
    ],
)
def test_right_and_wrong(said: str, scoring: Scoring, right: bool) -> None:
    assert is_right(said, Question("1", "Where?", ("New York", "N.Y.C", "NYC")), scoring) == right


@given(st.text("ab .,", max_size=8), st.text("ab .,", min_size=1, max_size=8))
def test_what_is_exact_is_contained(said: str, answer: str) -> None:
    question = Question("1", "?", (answer,))
    if any(c in "ab" for c in answer) and is_right(said, question, "exact"):
        assert is_right(said, question, "contains")
        assert is_right(f"well {said} then", question, "contains")


def test_figures_by_hand() -> None:
    found = summarize({"text": [True, True, True, False], "speech": [True, False, False, False]})
    assert (found["text"]["accuracy"], found["text"]["right"]) == (0.75, 3)
    assert (found["speech"]["accuracy"], found["speech"]["questions"]) == (0.25, 4)
    assert found["gap"]["difference"] == -0.5
    assert found["gap"]["low"] <= -0.5 <= found["gap"]["high"]
    assert found["text"]["low"] <= 0.75 <= found["text"]["high"]
    certain = summarize({"text": [True] * 5, "speech": [False] * 5})
    assert (certain["gap"]["low"], certain["gap"]["high"]) == (-1.0, -1.0)
