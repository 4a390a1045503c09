"""Reading suites of instructions, and judging answers to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asr_llm.errors import SuiteError
from asr_llm.evaluation.demands import Demand
from asr_llm.evaluation.instructions import Prompt, judge, read_instructions, summarize

ROOT = Path(__file__).parents[2]
THREE = Demand("count:items", {"num_items": 3})
UPPER = Demand("change_case:english_capital")
ROW = {
    "key": 7,
    "prompt": "Name three fruits. ",
    "instruction_id_list": ["count:items"],
    "kwargs": [{"num_items": 3, "relation": None}],
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_the_published_layout(tmp_path: Path) -> None:
    (tmp_path / "7.wav").touch()
    suite = read_instructions(write(tmp_path / "closed.jsonl", ROW | {"audio_path": "7.wav"}))
    assert (suite.config.name, suite.config.variants) == ("closed", ["standard"])
    (one,) = suite.instructions
    assert (one.id, one.audio, one.superseded) == ("7", tmp_path / "7.wav", None)
    assert one.prompt == Prompt("Name three fruits.", (THREE,))


def test_the_suite_of_the_project_is_whole() -> None:
    suite = read_instructions(ROOT / "eval" / "instructions.yaml")
    prompts = [one.prompt for one in suite.instructions]
    kinds = {demand.kind for prompt in prompts for demand in prompt.demands}
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 150
    assert kinds == {"count", "format", "include", "exclude", "case", "length", "order"}
    assert all(one.superseded for one in suite.instructions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": " "}, r"q\.jsonl:1: no 'prompt'"),
        ({"instruction_id_list": []}, r"q\.jsonl:1: no 'instruction_id_list'"),
        ({"kwargs": []}, r"q\.jsonl:1: 'kwargs': expected a list of 1 objects"),
        ({"kwargs": [{}]}, r"q\.jsonl:1: count:items: lacks the argument num_items"),
        ({"audio": "n.wav"}, r"q\.jsonl:1: audio: .*n\.wav is not there"),
        ({"superseded": {"prompt": "x"}}, r"q\.jsonl:1: no 'instruction_id_list'"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        read_instructions(write(tmp_path / "q.jsonl", ROW | change))


def test_suites_that_do_not_fit_their_instructions(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="nothing there"):
        read_instructions(tmp_path / "s.yaml")
    suite = tmp_path / "s.yaml"
    suite.write_text("name: a\ninstructions: q.jsonl\nvariants: [corrected]\n", "utf-8")
    with pytest.raises(SuiteError, match=r"q\.jsonl is not there"):
        read_instructions(suite)
    write(tmp_path / "q.jsonl", ROW)
    with pytest.raises(SuiteError, match="corrected: no instruction has 'superseded'"):
        read_instructions(suite)
    (tmp_path / "a.wav").touch()
    write(tmp_path / "q.jsonl", ROW | {"audio": "a.wav"})
    with pytest.raises(SuiteError, match="corrected: '7' is a recording; expected standard or"):
        read_instructions(suite)
    with pytest.raises(SuiteError, match="unknown variant 'loud'; expected one of standard, noisy"):
        read_instructions(suite, ["loud"])
    assert read_instructions(suite, ["noisy"]).config.variants == ["noisy"]
    with pytest.raises(SuiteError, match="key '7' is given twice"):
        read_instructions(write(tmp_path / "q.jsonl", ROW, ROW))
    with pytest.raises(SuiteError, match=r"q\.jsonl: no instructions"):
        read_instructions(write(tmp_path / "q.jsonl"))


def test_loose_forgives_what_stands_around_the_answer() -> None:
    prompt = Prompt("", (UPPER, Demand("keywords:existence", {"keywords": ["rome"]})))
    assert judge("ROME", prompt).strict == (True, True)
    around = judge("Sure!\nROME\nAnything else?", prompt)
    assert (around.strict, around.loose) == ((False, True), (True, True))
    assert judge("**Rome**", prompt).loose == (False, True)
    assert judge("", prompt).loose == (False, False)


@pytest.mark.parametrize(
    ("said", "followed"),
    [
        ("Use the words a boat and a sail.", False),
        ("use the word boat and sale", False),  # misheard
        ("The boat has a sail.", True),
        ("boat, sail", True),
    ],
)
def test_an_echo_follows_nothing(said: str, followed: bool) -> None:
    words = Demand("keywords:existence", {"keywords": ["boat", "sa"]})
    prompt = Prompt("Use the words boat and sail.", (words,))
    verdict = judge(said, prompt)
    assert (verdict.strict, verdict.loose, verdict.echoed) == (
        (followed,),
        (followed,),
        not followed,
    )
    longer = judge(said, Prompt("Please do.", (words,)), asked="Use the words boat and sail.")
    assert longer.echoed != followed
    repeat = Demand("combination:repeat_prompt", {"prompt_to_repeat": "Use"})
    assert judge(said, Prompt(prompt.text, (words, repeat))).strict[0]


def test_what_was_taken_back() -> None:
    prompt, earlier = Prompt("", (THREE,)), Prompt("", (Demand("count:items", {"num_items": 2}),))
    assert judge("a, b, c", prompt, earlier).superseded is False
    assert judge("a, b", prompt, earlier).superseded is True
    assert judge("a, b", prompt).superseded is None


def test_figures_by_hand() -> None:
    prompts = [Prompt("", (THREE, UPPER)), Prompt("", (UPPER,))]
    text = [judge("A, B, C", prompts[0], prompts[1]), judge("HI", prompts[1])]
    speech = [judge("a, b, c", prompts[0], prompts[1]), judge("Hi\nHI", prompts[1])]
    found = summarize(prompts, text, speech)
    assert found["text"]["prompt"]["strict"]["share"] == 1.0
    strict, loose = (found["speech"][x] for x in ("prompt", "instruction"))
    assert (strict["strict"]["count"], strict["loose"]["count"]) == (0, 1)
    assert (loose["strict"]["count"], loose["strict"]["of"], loose["loose"]["count"]) == (1, 3, 2)
    assert loose["mean"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert found["speech"]["kinds"]["count"]["share"] == 1.0
    assert (found["speech"]["kinds"]["case"]["count"], found["gap"]["prompt"]["difference"]) == (
        0,
        -1.0,
    )
    assert found["gap"]["instruction"]["difference"] == pytest.approx(-2 / 3)
    assert (found["text"]["superseded"]["share"], found["speech"]["superseded"]["share"]) == (1, 0)
