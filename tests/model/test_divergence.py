"""The divergence of a model that listens from its LLM that reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.decoding.prompts import collator
from asr_llm.model import checkpoints, lora
from asr_llm.recipe import LoraRecipe
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.spans import SpanSequence, Speech, Text, as_text

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

UTTERANCE = Utterance(
    "the court", "s", np.random.default_rng(1).standard_normal(9000).astype(np.float32)
)


def heard(answer: str, kl: float) -> SpanSequence:
    return Text("Say: "), Speech(UTTERANCE, 0, 8), Text("."), Text(answer, True, kl)


def read(answer: str) -> SpanSequence:
    return as_text(heard(answer, 0.0))


@pytest.fixture
def model(tiny: Path, enliven: Callable[[SpanSALM, float], SpanSALM]) -> SpanSALM:
    return enliven(checkpoints.load(tiny), 0.3)


def log_probs(model: SpanSALM, sequence: SpanSequence) -> torch.Tensor:
    """(N, V) of the tokens with loss of one sequence, computed plainly."""
    spliced = model.splice(collator(model)([sequence]))
    hidden = model.hidden_states(spliced.input_embeds, spliced.attention_mask)[0]
    targets = spliced.target_ids[0, 1:]
    return model.causal_lm.lm_head(hidden[:-1][targets >= 0]).log_softmax(-1).detach()


def test_the_divergence_by_hand() -> None:
    """Two tokens of the six with loss have a weight; they stand in another order in packed rows."""
    from asr_llm.model.salm import SpanSALM

    kl = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    ids = torch.ones(3, 3, dtype=torch.long)
    batch = Batch(ids, ids > 0, kl=kl, read=Batch(ids[:2], kl[[0, 2]] > 0))
    halves, quarters = [0.5, 0.5], [0.25, 0.75]
    expected = torch.tensor([halves, quarters]).log()  # what is read: the first row, then the third
    llm = SimpleNamespace(_expected=lambda read: expected)
    origin = torch.tensor([7, 4, 1, 2])  # row times three plus column
    logits = torch.tensor([halves, [0.9, 0.1], [0.1, 0.9], quarters]).log()
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    second = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    found = SpanSALM._divergence(llm, batch, logits, origin)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(0.5 * first + 2.0 * second)


@pytest.mark.parametrize("pack", [None, 200])
def test_weighted_and_summed_over_the_tokens_with_a_weight(
    model: SpanSALM, pack: int | None
) -> None:
    rows = [heard("metformin", 0.5), (Text("at bedtime", True),), heard("appeal the court", 2.0)]
    losses = model.losses(collator(model)([*rows, heard("case", 0.0)]), pack)
    total = 0.0
    for answer, weight in (("metformin", 0.5), ("appeal the court", 2.0)):
        said, written = log_probs(model, heard(answer, 0.0)), log_probs(model, read(answer))
        total += weight * float(F.kl_div(said, written, log_target=True, reduction="sum"))
    assert total > 0.1
    assert float(losses["kl"] * losses["tokens"]) == pytest.approx(total, rel=1e-4)


def test_who_reads_already_has_nothing_to_learn(model: SpanSALM) -> None:
    """Without speech, and with no adapter, both are the same model with the same prompt."""
    losses = model.losses(collator(model)([(Text("Say: the court."), Text("ap", True, 1.0))]))
    assert float(losses["kl"]) == pytest.approx(0, abs=1e-6)
    assert "kl" not in model.losses(collator(model)([(Text("Say: "), Text("ap", True))]))


def test_the_teacher_has_neither_adapter_nor_dropout(model: SpanSALM) -> None:
    before = log_probs(model, read("appeal"))
    lora.install(model, LoraRecipe(r=2, lora_dropout=0.5))
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.llm.train()
    wanted = {name for name, weight in model.named_parameters() if weight.requires_grad}
    batch = collator(model)([heard("appeal", 1.0)])
    assert batch.read is not None
    assert model._expected(batch.read).log_softmax(-1).allclose(before, atol=1e-5)
    assert model.llm.training
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == wanted
    assert not log_probs(model.eval(), read("appeal")).allclose(before, atol=0.1)


def test_the_gradient_reaches_projector_and_adapter_but_no_teacher(model: SpanSALM) -> None:
    lora.install(model, LoraRecipe(r=2))
    model.requires_grad_(False)
    for name, weight in model.named_parameters():
        weight.requires_grad_(".lora_" in name or name.startswith("perception.proj"))
    model.losses(collator(model)([heard("appeal", 1.0)]))["kl"].backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(".lora_B." in name for name in moved)
    assert any(name.startswith("perception.proj") for name in moved)
    assert all(".lora_" in name or name.startswith("perception.proj") for name in moved)
