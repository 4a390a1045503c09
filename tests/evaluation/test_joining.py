"""Ids that match, nearly match, and do not."""

from __future__ import annotations

from typing import Any

import pytest

from asr_llm.errors import ScoreError
from asr_llm.evaluation.joining import Joined, join
from asr_llm.evaluation.rows import Row


def joined(references: str, /, *, systems: dict[str, str], **given: Any) -> Joined:
    rows = {i: Row(i, f"said {i}") for i in references.split()}
    heard = {name: {i: f"heard {i}" for i in ids.split()} for name, ids in systems.items()}
    return join(rows, heard, **given)


def test_the_same_ids_in_another_order() -> None:
    found = joined("a b", systems={"x": "b a"})
    assert list(found.systems["x"].items()) == [("a", "heard a"), ("b", "heard b")]
    assert found.warnings == []


def test_common_subset() -> None:
    found = joined("a b c d", systems={"x": "a b c", "y": "b c d e", "z": "a b c d"}, common=True)
    assert list(found.rows) == ["b", "c"]
    assert all(list(texts) == ["b", "c"] for texts in found.systems.values())
    assert found.warnings == [
        "scored are the 2 of 4 utterances that all systems have; left out: 2 utterances (a, d): "
        "x lacks 1, y lacks 1",
        "system 'y': no reference for 1 utterance (e)",
    ]
    assert joined("a b", systems={"x": "a b"}, common=True).warnings == []
    with pytest.raises(ScoreError, match="no utterance has a hypothesis of every system"):
        joined("a b", systems={"x": "a", "y": "b"}, common=True)
    with pytest.raises(ScoreError, match="give only one"):
        joined("a", systems={"x": "a"}, common=True, allow_missing=True)


def test_ids_by_pattern() -> None:
    systems = {"x": "out/visit1-asr visit2.v3"}
    found = joined("visit1.wav visit2.wav", systems=systems, id_pattern=r"(visit\d)")
    assert found.systems["x"] == {"visit1": "heard out/visit1-asr", "visit2": "heard visit2.v3"}
    assert found.rows["visit1"] == Row("visit1", "said visit1.wav")
    assert joined("a1", systems={"x": "b1"}, id_pattern=r"\d").systems["x"] == {"1": "heard b1"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression"),
        ("visit", "'visit1' and 'visit2' of the references both become 'visit'"),
        (r"2", "found nothing in 'visit1' of the references"),
    ],
)
def test_a_pattern_that_does_not_work(pattern: str, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        joined("visit1 visit2", systems={"x": "visit1 visit2"}, id_pattern=pattern)


@pytest.mark.parametrize(
    ("references", "heard", "what"),
    [
        ("a b", "wavs/a.wav wavs/b.wav", "folders and suffixes of files"),
        ("r/a.flac r/b.flac", "a.json b.json", "folders and suffixes of files"),
        ("a b", "a_whisper b_whisper", "the ending '_whisper'"),
    ],
)
def test_stripped_parts_are_reported(references: str, heard: str, what: str) -> None:
    found = joined(references, systems={"x": heard})
    assert list(found.systems["x"].values()) == [f"heard {i}" for i in heard.split()]
    old, new = heard.split()[0], references.split()[0]
    assert found.warnings == [f"system 'x': ids matched without {what}, as {old!r} with {new!r}"]


def test_nothing_is_stripped_where_it_would_be_a_guess() -> None:
    with pytest.raises(ScoreError, match="Not one id is in both"):
        joined("a b", systems={"x": "1/a.wav 2/a.wav"})
    with pytest.raises(ScoreError, match="Not one id is in both"):
        joined("a b", systems={"x": "a-1 b-2"})
    with pytest.raises(ScoreError, match="no hypothesis for 1 utterance"):
        joined("a b", systems={"x": "a b.wav"})
