"""A teacher: greedy or drawn, each answer once, whoever stands beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asr_llm.corpus.speech import cache
from asr_llm.model import checkpoints, lora
from asr_llm.recipe import LoraRecipe
from asr_llm.sequences.answers import AnswerOptions
from asr_llm.training import teacher as module
from asr_llm.training.teacher import Drawn, Teacher

ASKED = [f"Say {word}: " for word in ("court", "metformin", "the appeal at bedtime", "ten")]
GREEDY = AnswerOptions(max_tokens=6)
DRAWN = AnswerOptions(max_tokens=6, temperature=1.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def teacher(lively: Path) -> Teacher:
    return Teacher(lively, checkpoints.load(lively), None)


def forget() -> None:
    cache.clear(module.KIND)


def test_answers_are_written_once_and_listed(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = teacher(ASKED, GREEDY)
    assert len(set(said)) > 1  # it depends on what was asked
    (kept,) = cache.entries()
    assert (kept.kind, kept.count) == ("answers", 4)
    written: list[list[str]] = []
    real = module._answers
    monkeypatch.setattr(
        module, "_answers", lambda model, new, how: written.append(new) or real(model, new, how)
    )
    assert teacher([ASKED[2], ASKED[0]], GREEDY) == [said[2], said[0]]
    assert teacher([ASKED[1], ASKED[1]], GREEDY) == [said[1]] * 2
    assert not written
    teacher([*ASKED, "Say more: "], GREEDY)
    teacher(ASKED[:1], AnswerOptions(max_tokens=5))
    assert written == [["Say more: "], ASKED[:1]]


def test_an_answer_ends_or_is_cut_at_the_limit(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = teacher.model.chat.end
    (first,) = teacher.model.tokenizer.tokenizer(end, add_special_tokens=False)["input_ids"]
    assert not any(said.endswith(end) for said in teacher(ASKED, GREEDY))
    forget()
    head = teacher.model.causal_lm.lm_head
    bias = torch.zeros(len(head.weight))
    bias[first] = 1e4
    head.register_forward_hook(lambda layer, given, out: out + bias)
    assert teacher(ASKED, GREEDY) == [end] * 4


def test_draws_differ_by_seed_and_not_by_company(teacher: Teacher) -> None:
    together = teacher(ASKED, DRAWN)
    forget()
    assert [teacher([message], DRAWN)[0] for message in reversed(ASKED)][::-1] == together
    other = teacher(ASKED, DRAWN.model_copy(update={"seed": 2}))
    assert all(a != b for a, b in zip(together, other))
    assert teacher(ASKED, GREEDY) != together


def test_the_noise_draws_from_the_distribution() -> None:
    """At temperature 2 the odds of 16 to 4 to 1 become 4 to 2 to 1."""
    scores = torch.tensor([[16.0, 4.0, 1.0]]).log().expand(700, 3)
    noisy = Drawn([str(i) for i in range(700)], AnswerOptions(temperature=2.0))(scores, scores)
    counts = Counter(noisy.argmax(-1).tolist())
    assert [counts[i] for i in range(3)] == pytest.approx([400, 200, 100], abs=40)


def test_the_adapter_in_training_keeps_silent(
    teacher: Teacher, lively: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = teacher(ASKED, GREEDY)
    forget()
    lora.install(teacher.model, LoraRecipe(r=2))
    for name, weight in teacher.model.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(weight)
    assert teacher(ASKED, GREEDY) == before


def test_another_checkpoint_answers(
    teacher: Teacher,
    other_tiny: Path,
    enliven: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []
    teacher.say = told.append
    other = teacher(ASKED, GREEDY, str(other_tiny))
    assert told == [f"asking the LLM of {other_tiny} 4 questions"]
    assert teacher(ASKED, GREEDY) != other
    assert teacher(ASKED, GREEDY, str(other_tiny)) == other
    assert cache.entries()[0].count == 8
