"""Behaviour imitation: speech behind a prompt, and what a teacher answered to its transcript."""

from __future__ import annotations

from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import DomainError, RecipeError
from asr_llm.recipe import Recipe
from asr_llm.sequences.answers import AnswerOptions
from asr_llm.sequences.examples import Examples
from asr_llm.sequences.sources import Folders, ImitateSource
from asr_llm.sequences.spans import SpanSequence, Speech, Text, as_text
from asr_llm.sequences.tasks import Chat

CHAT = Chat("<u>", "</u><a>", "</a>")
ABOUT = {"about": "What is this about? {text} Be brief."}


class Teacher:
    """Answers from a table; remembers what it was asked."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.asked = answers, [("", AnswerOptions(), "")][:0]

    def __call__(
        self, messages: Many[str], options: AnswerOptions, teacher: str | None = None
    ) -> list[str]:
        self.asked += [(message, options, teacher or "") for message in messages]
        return [
            next((said for word, said in self.answers.items() if word in message), "A thing.</a>")
            for message in messages
        ]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("Ann sat, and slept.\nIt rained.\n", "utf-8")
    return path


def make(data: Path, asked: Teacher | None, **keys: Any) -> Examples:
    source = ImitateSource.model_validate({"data": str(data), "prompts": ABOUT} | keys)
    made = source.examples(CHAT, Folders(teach=asked))
    assert made is not None
    return made


def sequence(source: Examples, i: int, seed: int = 1) -> SpanSequence:
    made = source.item(i).make(np.random.default_rng(seed))
    assert made is not None
    return made


def test_speech_takes_the_place_of_the_transcript(lines: Path) -> None:
    teacher = Teacher(Ann="A nap.</a>", rained="The weather, as it")
    source = make(lines, teacher, weight=0.3)
    assert [message for message, _, _ in teacher.asked] == [
        "<u>What is this about? Ann sat, and slept. Be brief.</u><a>",
        "<u>What is this about? It rained. Be brief.</u><a>",
    ]
    assert (source.count, source.weight) == (2, 0.3)
    for i, (said, answer) in enumerate(
        [("Ann sat, and slept.", "A nap.</a>"), ("It rained.", "The weather, as it")]
    ):
        made = sequence(source, i)
        head, speech, tail, written = made
        assert isinstance(speech, Speech)
        assert (head, tail) == (Text("<u>What is this about? "), Text(" Be brief.</u><a>"))
        assert (speech.start, speech.utterance.text) == (0, said)
        assert speech.num_frames == -(-len(speech.utterance.samples) // 1280)
        assert written == Text(answer, loss=True)
        # What the LLM reads in its place is what the teacher was asked.
        assert as_text(made) == (Text(teacher.asked[i][0]), written)


def test_answers_that_are_not_fit_are_left_out_and_counted(lines: Path) -> None:
    source = make(lines, Teacher(Ann="I'm sorry, I can't.</a>"))
    assert source.count == 1
    assert sequence(source, 0)[-1] == Text("A thing.</a>", loss=True)
    assert source.judged is not None
    assert source.judged.record() == {
        "data": str(lines),
        "share": 0.5,
        "asked": {"about": 2},
        "kept": {"about": 1},
        "unfit": {"refusal": 1},
    }


def test_no_answer_is_fit(lines: Path) -> None:
    with pytest.raises(DomainError, match=r"kept 0% .*left out: empty 2.*name a 'teacher'"):
        make(lines, Teacher(Ann="</a>", rained="</a>"))


def test_nobody_to_ask(lines: Path) -> None:
    with pytest.raises(RecipeError, match="needs an LLM to ask"):
        make(lines, None)


def test_a_text_is_asked_some_of_the_prompts_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("".join(f"Line {i}.\n" for i in range(60)), "utf-8")
    prompts = {name: f"{name}: {{text}}" for name in "abc"}
    asked = []
    for _ in range(2):
        teacher = Teacher()
        source = make(tmp_path / "t.txt", teacher, prompts=prompts, each=2)
        asked.append([message for message, _, _ in teacher.asked])
        assert source.count == 120
        assert source.judged is not None
        assert all(25 < count < 55 for count in source.judged.asked.values())
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == 120
    assert make(tmp_path / "t.txt", Teacher(), prompts=prompts, each=9).count == 180


def test_how_and_by_whom_is_the_teacher_s_business(lines: Path) -> None:
    teacher = Teacher()
    make(lines, teacher, answer={"max_tokens": 7, "temperature": 0.5}, teacher="other")
    options = AnswerOptions(max_tokens=7, temperature=0.5)
    assert [(how, who) for _, how, who in teacher.asked] == [(options, "other")] * 2


def test_segments_alternate_with_text_that_is_only_read(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("Ann sat, and slept.\nIt rained.\nOne, two, and three.\n", "utf-8")
    teacher = Teacher(Ann="A nap.</a>")
    source = make(lines, teacher, interleaved=1.0, augment=0.0, kl=0.5)
    assert ImitateSource(data="x", interleaved=0.1).needs_word_times
    assert not ImitateSource(data="x").needs_word_times
    for i, (kinds, answer) in {
        0: ({"-A---"}, "A nap.</a>"),  # two segments: speech, then text
        2: ({"-A----", "--A---"}, "A thing.</a>"),  # three: either first, the last is text
    }.items():
        found = set()
        for seed in range(8):
            made = sequence(source, i, seed)
            assert made[-1] == Text(answer, loss=True, kl=0.5)
            assert not any(span.loss for span in made[:-1] if isinstance(span, Text))
            assert as_text(made) == (Text(teacher.asked[i][0]), made[-1])
            found.add("".join("A" if isinstance(span, Speech) else "-" for span in made))
        assert found == kinds
    _, speech, text, *_ = sequence(source, 0)
    assert isinstance(speech, Speech)
    assert (speech.text, text) == ("Ann sat,", Text(" and slept."))
    whole = sequence(source, 1)  # one segment: nothing to alternate with
    assert [isinstance(span, Speech) for span in whole] == [False, True, False, False]


def test_words_of_neighbouring_spans_are_parted_once() -> None:
    one = Utterance("one", "x", np.zeros(1280, np.float32))
    two = Speech(one, 0, 1, "two")
    assert as_text((Speech(one, 0, 1), two, Text("\n"), two)) == (Text("one two\ntwo"),)
    assert as_text((Text("a", True), two, Text("b", True, 1.0))) == (
        Text("a", True),
        Text(" two"),
        Text("b", True, 1.0),
    )


def test_a_divergence_costs_reading_once_more(lines: Path) -> None:
    plain, both = (make(lines, Teacher(), kl=kl).item(1).cost for kl in (0.0, 1.0))
    # 10 characters take 10 / 15 s of 80 ms; the prompt has 36 characters, the answer 12.
    assert plain == pytest.approx(10 / 15 / 0.08 + 48 / 3 + 16)
    assert both - plain == pytest.approx((48 + 10) / 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"prompts": {"a": "no place"}}, r"\{text\} once in the prompt 'a'"),
        ({"prompts": {"a": "{text} {text}"}}, r"\{text\} once in the prompt 'a'"),
        ({"prompts": {}}, "at least 1 item"),
        ({"teacher": "small", "kl": 1.0}, "0 beside 'teacher'"),
        ({"each": 0}, "greater than 0"),
        ({"answer": {"temperature": -1}}, "greater than or equal to 0"),
    ],
)
def test_keys_that_mean_nothing(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImitateSource.model_validate({"data": "x"} | keys)


def test_a_teacher_is_not_trained() -> None:
    sources = [{"task": "imitate", "data": "replay", "kl": 1.0}]
    Recipe.model_validate({"sources": sources, "train": ["lora", "projector"]})
    with pytest.raises(ValidationError, match="it would change its own teacher"):
        Recipe.model_validate({"sources": sources, "train": ["llm"]})
