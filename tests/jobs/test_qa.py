"""`asr-llm ask` and `qa` on a tiny model: what is asked, and what is written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.decoding.answers import cascaded, likelihoods, option_log_probs
from asr_llm.decoding.prompts import collator, inference, splice
from asr_llm.errors import CheckpointError, RunError, SynthesisError
from asr_llm.evaluation.spoken_qa import Question, SuiteConfig, read_suite
from asr_llm.jobs import asking
from asr_llm.jobs import qa as job
from asr_llm.jobs.measurement import System
from asr_llm.model import checkpoints
from asr_llm.model.first_pass import FirstPass
from asr_llm.model.salm import SpanSALM
from asr_llm.sequences.spans import SpanSequence, Speech, Text
from asr_llm.sequences.tasks import Chat, message

CHAT = Chat("<u>", "</u><a>", "</a>")
SPEECH = Utterance("", "", np.ones(2000, np.float32))
ROWS = [
    {"id": "a", "passage": "Ann has a cat.", "question": "Who has a cat?", "answer": "Ann"},
    {"id": "b", "passage": "Bob sells tea.", "question": "What does Bob sell?", "answer": "tea"},
]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, ROWS)), "utf-8")
    path = tmp_path / "s.yaml"
    path.write_text("name: pets\nquestions: q.jsonl\nspoken: [question]\n", "utf-8")
    return path


def test_written_and_spoken_parts_by_turns() -> None:
    assert message(["Hear.", "Well?"], CHAT) == (Text("<u>Hear. Well?</u><a>"),)
    assert message([SPEECH, "Well?"], CHAT) == (
        Text("<u>"),
        Speech(SPEECH, 0, 2),
        Text(" Well?</u><a>"),
    )
    assert message(["Hear.", SPEECH], CHAT) == (
        Text("<u>Hear. "),
        Speech(SPEECH, 0, 2),
        Text("</u><a>"),
    )


def test_a_cascade_reads_long_speech_in_pieces() -> None:
    short, long = SPEECH, replace(SPEECH, samples=np.ones(32000, np.float32))
    first_pass = SimpleNamespace(write=lambda audios: [f"{len(audio)}" for audio in audios])
    shown = cascaded([long, short], cast(FirstPass, first_pass), longest=1.5)
    # Of even loudness, it is split as late as leaves a third of the limit.
    assert shown == ["24000 8000", "2000"]
    nothing = SimpleNamespace(write=lambda audios: ["" for _ in audios])
    assert cascaded([short], cast(FirstPass, nothing), longest=1.0) == [short]


def test_a_cascade_needs_a_first_pass(tiny: Path) -> None:
    loaded = asking.load(System("base", str(tiny)))
    assert asking.hear(loaded, [SPEECH], False) == [SPEECH]
    with pytest.raises(CheckpointError, match="has no first pass for a cascade; expected a"):
        asking.hear(loaded, [SPEECH], True)


def test_what_is_spoken_is_not_written_too(tiny: Path) -> None:
    model = checkpoints.load(tiny)
    question = Question("1", "Why?", ("so",), ("so", "thus"), passage="Because.")
    config = SuiteConfig(name="x", questions="q", scoring="choice", spoken=["passage"])
    sequence = job._prompt(question, {"passage": SPEECH}, config, model)
    written = "".join(span.text or "" for span in sequence)
    assert "Because." not in written
    assert "Why? \nA. so\nB. thus \nAnswer with the letter." in written
    assert [type(span) for span in sequence] == [Text, Speech, Text]


def test_qa_writes_every_answer(tiny: Path, suite: Path, tmp_path: Path) -> None:
    done = job.qa(suite, model=str(tiny), output=tmp_path / "out")
    rows = [json.loads(x) for x in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [(row["asked"], row["id"]) for row in rows] == [
        ("text", "a"), ("text", "b"), ("speech", "a"), ("speech", "b")
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == done.scores
    assert done.scores["systems"]["base"]["text"]["questions"] == 2
    few = "2 questions: intervals drawn from fewer than 6 are too narrow to rely on"
    assert done.scores["warnings"] == [few]
    with pytest.raises(RunError, match="not empty"):
        job.qa(suite, model=str(tiny), output=tmp_path / "out")


def test_only_what_is_spoken_is_made(suite: Path) -> None:
    told: list[tuple[str, float, float]] = []
    heard = job.speak(read_suite(suite), lambda *news: told.append(news))
    assert [list(spoken) for spoken in heard] == [["question"], ["question"]]
    assert told == [("speaking", 1, 2), ("speaking", 2, 2)]


def test_qa_with_choices(tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"question": "Which?", "choices": ["red", "blue", "green"], "answer": 2},
        {"question": "Which?", "choices": ["red", "blue"], "answer": "A"},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    done = job.qa(tmp_path / "m.jsonl", model=str(tiny), output=tmp_path / "out")
    assert done.scores["scoring"] == "choice"
    said = [json.loads(x)["said"] for x in (tmp_path / "out" / "answers.jsonl").open()]
    assert all(s in choices["choices"] for s, choices in zip(said, rows * 2))


def test_a_voice_that_is_not_there(tiny: Path, suite: Path) -> None:
    suite.write_text(suite.read_text() + "voices: [en-us+Nobody]\n", "utf-8")
    with pytest.raises(SynthesisError, match="no espeak-ng voice matches"):
        job.qa(suite, model=str(tiny))


def test_option_log_probs_are_those_of_the_next_token(tiny: Path) -> None:
    """In any company, and equal to what greedy decoding chooses."""
    model = checkpoints.load(tiny).eval()
    prompts = [message([SPEECH, "Which?"], model.chat), message(["Hear me. Which?"], model.chat)]
    options = list("ABC")
    together = option_log_probs(model, prompts, options)
    alone = [option_log_probs(model, [prompt], options)[0] for prompt in prompts]
    assert np.allclose(together, alone, atol=1e-4)
    assert np.exp(together).sum() < 2
    with pytest.raises(CheckpointError, match="the same token"):
        option_log_probs(model, prompts, ["A", "A"])


def test_likelihoods_are_those_of_writing_each_text(tiny: Path) -> None:
    """In any company, and equal to what scoring each text in full gives."""
    model = checkpoints.load(tiny).eval()
    prompts = [message([SPEECH, "Which?"], model.chat), message(["Hear me. Which?"], model.chat)]
    texts = [("the court", "metformin at bedtime", "she"), ("ten", "the appeal")]
    found = likelihoods(model, prompts, texts)
    for prompt, own, scores in zip(prompts, texts, found):
        assert scores == pytest.approx([_log_prob(model, prompt, text) for text in own], abs=1e-4)


def _log_prob(model: SpanSALM, prompt: SpanSequence, text: str) -> float:
    """By one pass over the prompt and the whole text."""
    ids = collator(model).encode(text)
    with inference(model):
        read = splice(model, [(*prompt, Text(text))])
        hidden = model.hidden_states(read.input_embeds, read.attention_mask)
        logits = model.causal_lm.lm_head(hidden[0, -1 - len(ids) : -1]).float().log_softmax(-1)
    return sum(float(row[token]) for row, token in zip(logits, ids))


def test_qa_by_likelihood(tiny: Path, tmp_path: Path) -> None:
    rows = [{"question": "Which?", "choices": ["red hen", "blue"], "answers": ["blue", "azure"]}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    options = job.QaOptions(scoring="likelihood")
    done = job.qa(tmp_path / "m.jsonl", model=str(tiny), options=options, output=tmp_path / "out")
    assert done.scores["scoring"] == "likelihood"
    said = [json.loads(x) for x in (tmp_path / "out" / "answers.jsonl").open()]
    assert all(row["right"] == (row["said"] == "blue") for row in said)
