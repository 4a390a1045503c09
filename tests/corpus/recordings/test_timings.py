"""Word times that others made."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.recordings.alignment import Alignment, Unaligned
from asr_llm.corpus.recordings.timings import TimedWord, match, read_timings
from asr_llm.corpus.speech.synthesis import Word
from asr_llm.errors import DomainError

CTM = """;; a comment
visit 1 0.50 0.25 the 0.98
visit 1 0.10 0.40 take NA
visit 1 0.75 0.05 <eps>
talk A 1 0.5 Yes 1.0
"""
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.2
<exists>
2
"IntervalTier"
"words"
0
1.2
4
0
0.1
""
0.1
0.5
"take"
0.5
0.6
"sp"
0.6
1.2
"the"
"IntervalTier"
"phones"
0
1.2
1
0
1.2
"t"
"""


def test_ctm(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text(CTM, "utf-8")
    assert read_timings(tmp_path / "a.ctm") == {
        "visit": [TimedWord("take", 0.1, 0.5), TimedWord("the", 0.5, 0.75, 0.98)],
        "talk": [TimedWord("Yes", 1.0, 1.5, 1.0)],
    }


def test_textgrid_and_a_folder_of_them(tmp_path: Path) -> None:
    (tmp_path / "mfa").mkdir()
    (tmp_path / "mfa" / "visit.TextGrid").write_text(TEXTGRID, "utf-8")
    expected = {"visit": [TimedWord("take", 0.1, 0.5), TimedWord("the", 0.6, 1.2)]}
    assert read_timings(tmp_path / "mfa" / "visit.TextGrid") == expected
    assert read_timings(tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ctm", "visit 1 0.1\n", r"a\.ctm:1: expected 'recording channel start"),
        ("a.ctm", "visit 1 0.1 x the\n", r"a\.ctm:1: .*a time that is not a number"),
        ("a.ctm", "visit 1 0.1 -0.4 the\n", r"a\.ctm:1: .*times in seconds from 0"),
        ("a.ctm", "visit 1 nan 0.4 the\n", r"a\.ctm:1: .*a time that is not a number"),
        ("a.TextGrid", "nonsense", "cannot be read as a TextGrid"),
        ("a.TextGrid", TEXTGRID.replace('"words"', '"notes"'), "found notes, phones"),
        ("a.srt", "1", "unknown kind of file; expected a .ctm"),
    ],
)
def test_malformed_input_is_reported(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DomainError, match=message):
        read_timings(tmp_path / name)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match=r"no \.TextGrid or \.ctm in this folder"):
        read_timings(tmp_path)
    with pytest.raises(DomainError, match=r"a\.ctm: not found; expected a \.ctm"):
        read_timings(tmp_path / "a.ctm")


def test_the_transcripts_spelling_is_kept() -> None:
    timed = [TimedWord("take", 0.1, 0.5, 0.9), TimedWord("O'NEILL'S", 0.48, 1.0)]
    assert match("Take — O'Neill's.", timed) == Alignment(
        (Word("Take", 0.1, 0.5), Word("—", 0.5, 0.5), Word("O'Neill's.", 0.5, 1.0)),
        None,
        (0.9, None, None),
    )
    assert match("Take it.", timed) == Unaligned(
        "word 2 of the transcript is not the one that is timed there"
    )
    assert match("Take.", timed) == Unaligned("1 timed words more than the transcript has")
    assert match("", []) == Unaligned("no words")
    across = [TimedWord("a", 0.1, 0.9), TimedWord("b", 0.5, 1.0)]
    assert match("a b", across) == Unaligned("word 2 begins before the one before it has ended")


@given(st.lists(st.sampled_from(["a", "Tea,", "—", "B2"]), min_size=1))
def test_every_word_of_the_transcript_is_timed_in_order(words: list[str]) -> None:
    timed = [
        TimedWord(word.strip(",").upper(), float(i), i + 0.5)
        for i, word in enumerate(words)
        if word != "—"
    ]
    found = match(" ".join(words), timed)
    if not timed and "—" not in words:
        assert isinstance(found, Unaligned)
    else:
        assert isinstance(found, Alignment)
        assert [word.text for word in found.words] == words
        assert all(a.end <= b.start for a, b in zip(found.words, found.words[1:]))
