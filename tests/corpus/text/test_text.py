"""Named normalisers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.text.normalizers import NORMALIZERS, _Search, groups, normalize, version
from asr_llm.errors import AsrLlmError

PIECES = "five hundred oh grams mg um (a b) [c Dr. and point half 2 can't"


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
        # A space is missing after punctuation.
        ("any fever?Yes", "any fever yes"),
        ("um...yeah um…yeah", "um yeah um yeah"),
        ("worse,You A+and GP@Han", "worse you a and gp han"),
        ('he said:"No"and left;then(late)came', "he said no and left then late came"),
        ("fever？Yes ¿qué?¡no!", "fever yes qué no"),
        ("No.5, v.2 and 38°C", "no 5 v 2 and 38 c"),
        ("vitamins A,B", "vitamins a b"),
        ("AT&T", "at t"),
        # None is: single letters, digits, plurals, marks of letters.
        ("the G.P. in I.T., A&E, e.g. the U.S.A", "the gp in it ae eg the usa"),
        ("1.5, 10:30, 1,000,000", "1.5 1030 1000000"),
        ("1,2 in 2019,2020", "1 2 in 2019 2020"),
        ("tablet(s)", "tablets"),
        ("don`t, don´t, don’t", "don't don't don't"),
        ("हिन्दी", "हिन्दी"),
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
    for function in (normalize, groups):
        with pytest.raises(
            AsrLlmError, match="unknown normalizer 'whisper'; expected one of: none, b"
        ):
            function("x", "whisper")
    with pytest.raises(AsrLlmError, match="unknown normalizer 'whisper'"):
        version("whisper")
    assert list(NORMALIZERS) == ["none", "basic", "whisper-en", "medical-en"]


def test_versions_are_stated() -> None:
    assert version("none") == "none 1"
    assert version("basic") == "basic 2"
    for name in ("whisper-en 2", "medical-en 3"):
        assert re.fullmatch(
            rf"{name} \(whisper_normalizer \d+\.\d+\.\d+\)", version(name.split()[0])
        )


def grouped(text: str, normalizer: str) -> list[tuple[str, str]]:
    """The groups, in words, after a check that they cut both sides without gaps."""
    words, normalized = text.split(), normalize(text, normalizer).split()
    found = groups(text, normalizer)
    assert [i for r, _ in found for i in r] == list(range(len(words)))
    assert [i for _, r in found for i in r] == list(range(len(normalized)))
    assert all(r for r, _ in found) or not words
    return [
        (" ".join(words[a.start : a.stop]), " ".join(normalized[b.start : b.stop]))
        for a, b in found
    ]


@pytest.mark.parametrize(
    ("normalizer", "text", "expected"),
    [
        ("none", "a  B,\n", [("a", "a"), ("B,", "B,")]),
        ("basic", "Co-trimoxazole — now", [("Co-trimoxazole", "co trimoxazole"), ("—", "")]),
        ("medical-en", "five hundred milligrams", [("five hundred", "500"), ("milligrams", "mg")]),
        ("medical-en", "500mg um uh-huh", [("500mg", "500 mg"), ("um", ""), ("uh-huh", "mhm")]),
        ("medical-en", "two grams a", [("two grams", "2 g"), ("a", "a")]),
        ("medical-en", "Dr. O'Neill's", [("Dr.", "doctor"), ("O'Neill's", "o neill is")]),
        ("medical-en", "COVID-19 日本 مرحبا", [("COVID-19", "covid 19"), ("日本", "日本")]),
        ("medical-en", "beta-blocker", [("beta-blocker", "beta blocker")]),
        ("whisper-en", "twenty five dollars", [("twenty five dollars", "$25")]),
        ("whisper-en", "Oh, mm, I'm", [("Oh,", "0"), ("mm,", ""), ("I'm", "i am")]),
        ("basic", "", []),
        ("basic", "— …", [("—", ""), ("…", "")]),
    ],
)
def test_groups_by_hand(normalizer: str, text: str, expected: list[tuple[str, str]]) -> None:
    assert grouped(text, normalizer)[: len(expected)] == expected


def test_a_long_bracket_is_one_group_and_the_rest_is_not() -> None:
    before, inside, after = (" ".join(f"{w}{c}" for c in "abcdefghijklmnop") for w in "xyz")
    found = grouped(f"{before} ({inside}) {after}", "medical-en")
    assert found == [
        *((w, w) for w in before.split()),
        (f"({inside})", ""),
        *((w, w) for w in after.split()),
    ]


def test_a_normalizer_that_is_not_local_leaves_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = {**NORMALIZERS, "joined": lambda text: "+".join(text.split())}
    monkeypatch.setattr("asr_llm.corpus.text.normalizers.NORMALIZERS", joined)
    assert groups("a b " * 25, "joined") == [(range(50), range(1))]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES.split())),
    st.sampled_from(list(NORMALIZERS)),
)
def test_groups_cut_both_sides_where_rules_meet(words: list[str], normalizer: str) -> None:
    grouped(" ".join(words), normalizer)


@given(st.text(), st.sampled_from(list(NORMALIZERS)))
def test_groups_cut_both_sides_of_any_text(text: str, normalizer: str) -> None:
    grouped(text, normalizer)


@given(st.text())
def test_basic_is_grouped_word_by_word(text: str) -> None:
    assert groups(text, "basic") == [] or all(len(words) == 1 for words, _ in groups(text, "basic"))


def test_groups_take_time_by_the_word() -> None:
    """Counted in calls of the normaliser: an hour of speech is about 10,000 words."""
    calls = 0

    def counting(text: str) -> str:
        nonlocal calls
        calls += 1
        return re.sub(r"(\w+) and (\w+)", r"\1+\2", text)

    words = " ".join(f"w{i} x{i} and y{i}" for i in range(1000)).split()
    normalized = counting(" ".join(words)).split()
    assert len(_Search(words, normalized, counting).run()) == 2000
    assert calls < 20 * len(words)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_normalized_as_all_text_is(text: str) -> None:
    """The quick way and the way for all text, which a letter beyond ASCII forces, agree."""
    assert normalize(f"{text} é", "basic") == f"{normalize(text, 'basic')} é".strip()
