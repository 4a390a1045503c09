"""Named normalisers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.text import NORMALIZERS, normalize
from asr_llm.errors import AsrLlmError


def test_none_changes_nothing() -> None:
    assert normalize("  Don't,\tthen! ") == "  Don't,\tthen! "
    assert normalize("  Don't,\tthen! ", "none") == "  Don't,\tthen! "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The patient, Mr. Smith, said: “No!”", "the patient mr smith said no"),
        ("don’t 'quote' the patients' o'clock", "don't quote the patients o'clock"),
        ("follow-up — co-trimoxazole and/or x", "follow up co trimoxazole and or x"),
        ("2.5 mg, 10,000 units.", "2.5 mg 10000 units"),
        ("U.S. v. Nixon, 42 U.S.C. § 1983", "us v nixon 42 usc 1983"),
        ("ﬁne Ｗｉｄｅ", "fine wide"),
        ("a\u00a0b\u2009c\n\td", "a b c d"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("snake_case $5 100%", "snakecase 5 100"),
        ("Größe naïve NAI\u0308VE", "größe naïve naïve"),
        ("...", ""),
        ("", ""),
    ],
)
def test_basic(text: str, expected: str) -> None:
    assert normalize(text, "basic") == expected


@given(st.text())
def test_basic_twice_is_basic_once(text: str) -> None:
    once = normalize(text, "basic")
    assert normalize(once, "basic") == once
    assert once == " ".join(once.split())


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(AsrLlmError, match="unknown normalizer 'whisper'; expected one of: none, b"):
        normalize("x", "whisper")
    assert list(NORMALIZERS) == ["none", "basic"]
