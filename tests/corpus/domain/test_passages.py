"""Folders of text: passages found in one pass, read from disk when they are wanted."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.domain.passages import Passages
from asr_llm.errors import DomainError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, "utf-8")
    return folder


def every(passages: Passages) -> list[str]:
    return [passages[i] for i in range(len(passages))]


def test_whole_sentences_as_many_as_fit(tmp_path: Path) -> None:
    text = "He came. She\nleft! “Who?” Nobody\nknew, and nobody asked.\n\nThen it rained."
    # 25 bytes: "He came. She\nleft!" is 18, with "“Who?”" (10 and a space) it would be 29.
    assert every(Passages(write(tmp_path, a=text), 25)) == [
        "He came. She left!",
        "“Who?”",
        "Nobody",  # no end of a sentence fits behind: cut at the line
        "knew, and nobody asked.",
        "Then it rained.",
    ]
    assert every(Passages(tmp_path, 1000)) == [" ".join(text.split())]


def test_a_long_line_without_sentences_is_cut_between_words(tmp_path: Path) -> None:
    assert every(Passages(write(tmp_path, a="aaa bbb ccc ddd eeeeeeeeeeee f"), 8)) == [
        "aaa bbb",
        "ccc ddd",
        "eeeeeeeeeeee",  # a word is left whole
        "f",
    ]


def test_files_below_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path, b="\ufeffSecond.", c=" \n\n ")
    write(tmp_path / "more", d="Third.")
    write(tmp_path, a="First.\n")
    (tmp_path / "notes.md").write_text("Not this.", "utf-8")
    found = Passages(tmp_path, 100)
    assert every(found) == ["First.", "Second.", "Third."]
    assert [found.size(i) for i in range(3)] == [6, 10, 6]


@given(
    st.lists(st.text("ab.!é\n ", max_size=40), min_size=1, max_size=4),
    st.integers(1, 60),
)
def test_no_word_is_lost_and_none_twice(texts: list[str], longest: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), **{f"f{i}": text for i, text in enumerate(texts)})
        words = " ".join(texts).split()
        if not words:
            with pytest.raises(DomainError, match=rf"no text in {len(texts)} .txt files"):
                Passages(folder, longest)
            return
        found = Passages(folder, longest)
        assert " ".join(every(found)).split() == words
        for passage in every(found):
            assert len(passage.encode()) <= longest or " " not in passage


def test_text_stays_on_disk(tmp_path: Path) -> None:
    found = Passages(write(tmp_path, a="First one. Second one."), 11)
    (tmp_path / "a.txt").write_text("FIRST ONE. SECOND ONE.", "utf-8")
    assert every(found) == ["FIRST ONE.", "SECOND ONE."]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DomainError, match=r"a\.txt cannot be read any more"):
        found[0]


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DomainError, match=r"latin\.txt:2: not UTF-8 text .* convert it"):
        Passages(tmp_path, 100)
