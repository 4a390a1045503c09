"""Whether a text covers what is heard."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asr_llm.decoding.coverage import letters_heard, stops_early

HEARD = len("goodmorningfeedthelevainatsixandletitdouble")


@pytest.mark.parametrize(
    ("text", "heard", "early"),
    [
        ("Good morning!", HEARD, True),
        ("Good morning. Feed the levain at six, and let it double.", HEARD, False),
        ("", HEARD, True),
        ("", 0, False),
        ("Yes.", 15, False),  # too little to be sure
        ("555 1234", len("fivefivefiveonetwothreefour"), False),  # digits are long when spoken
        ("$25,000", len("twentyfivethousanddollars"), False),
    ],
)
def test_most_of_the_letters_must_be_written(text: str, heard: int, early: bool) -> None:
    assert stops_early(text, heard) == early


def model(probabilities: list[list[list[float]]]) -> Any:
    """A model whose CTC head has three outputs: a, b and the blank."""
    return SimpleNamespace(
        ctc_head=object(),
        ctc_blank_id=2,
        ctc_log_probs=lambda encoded: torch.tensor(probabilities).log(),
        ctc_vocabulary=SimpleNamespace(decode=lambda ids: "".join("ab"[i] for i in ids)),
    )


def test_letters_are_collapsed_and_padding_is_not_heard() -> None:
    a, b, blank = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]
    spliced: Any = SimpleNamespace(encoded=None, encoded_lens=torch.tensor([5, 3]))
    rows = [[a, a, blank, a, b], [b, b, b, a, a]]
    assert letters_heard(model(rows), spliced) == [3, 1]


def test_a_head_that_is_unsure_or_silent_or_absent_hears_nothing() -> None:
    spliced: Any = SimpleNamespace(encoded=None, encoded_lens=torch.tensor([2, 2]))
    unsure, blank = [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]
    assert letters_heard(model([[unsure, unsure], [blank, blank]]), spliced) == [0, 0]
    assert letters_heard(SimpleNamespace(ctc_head=None), spliced) == [0, 0]  # type: ignore[arg-type]
