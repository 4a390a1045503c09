"""Which answers of a teacher are learned from."""

from __future__ import annotations

from collections import Counter

import pytest

from asr_llm.sequences.answers import Judged, unfit

SAID = "The patient was started on metoprolol for her blood pressure."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("A drug for high blood pressure.", None),
        ("patient, metoprolol, blood pressure", None),
        ("Le patient a commencé le métoprolol.", None),
        ("Yes.", None),
        ("", "empty"),
        (" …\n", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I am unable to do so.", "refusal"),
        ("As an AI language model, I have no views.", "refusal"),
        ("I don't have access to the text.", "refusal"),
        ("Please provide the text.", "refusal"),
        ("I can see a doctor at work.", None),
        # Seven runs of three words, "of the heart" twice: 2 of 7 are below three tenths.
        ("one of the heart two of the heart three", None),
        # Of six runs, "of the heart" twice: 2 of 6 are above.
        ("one of the heart two of the heart", "repetition"),
        ("no no no no", "repetition"),
        (SAID, "copy"),
        ("the PATIENT was started on metoprolol for her blood pressure!", "copy"),
        # Of 10 and 6 words 6 are shared in order: 2 * 6 / 16 is three quarters.
        ("The patient was started on metoprolol", "copy"),
        ("The patient was started on", None),  # 2 * 5 / 15
    ],
)
def test_what_is_fit_to_be_learned(answer: str, reason: str | None) -> None:
    assert unfit(answer, SAID) == reason


def test_the_share_is_told_by_prompt_and_reason() -> None:
    judged = Judged("d.txt", Counter(sum=3, about=1), Counter(about=1), Counter(copy=2, refusal=1))
    assert str(judged) == (
        "d.txt: kept 25% of the teacher's answers (sum 0 of 3, about 1 of 1; "
        "left out: copy 2, refusal 1)"
    )
    assert judged.record() == {
        "data": "d.txt",
        "share": 0.25,
        "asked": {"sum": 3, "about": 1},
        "kept": {"about": 1},
        "unfit": {"copy": 2, "refusal": 1},
    }
