"""Biasing lists: what is read, and what is said of lists that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.corpus.terms.biasing_list import (
    STRENGTH,
    BiasingList,
    check_strength,
    joined,
    make_list,
    read_phrases,
)
from asr_llm.errors import BiasingError


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_phrases_terms_comments_and_blanks(tmp_path: Path) -> None:
    text = "\ufeff# names\nAnn  Lee\r\n\n  sotalol \nres judicata\trace joody cotta\n"
    path = write(tmp_path / "words.txt", text)
    assert read_phrases(path) == ["Ann Lee", "sotalol", "res judicata"]


def test_a_folder_of_terms(tmp_path: Path) -> None:
    write(tmp_path / "drug.tsv", "sotalol\n")
    write(tmp_path / "anatomy.tsv", "uvula\tyou view la\n")
    write(tmp_path / "notes.txt", "not these\n")
    assert read_phrases(tmp_path) == ["uvula", "sotalol"]


def test_file_and_words_without_doubles(tmp_path: Path) -> None:
    path = write(tmp_path / "words.txt", "sotalol\nuvula\nsotalol\n")
    expected = BiasingList(("sotalol", "uvula", "Ann Lee"))
    assert make_list(path, ["Ann  Lee", "uvula"]) == expected
    assert expected.nats == STRENGTH
    assert make_list(None, ["uvula"], 0.0) == BiasingList(("uvula",), 0.0)
    assert make_list(None, [], 1.0) == BiasingList((), 1.0)
    assert make_list(None) is None


SOTALOL, UVULA = BiasingList(("sotalol",), 2.0), BiasingList(("uvula", "sotalol"), 3.0)


@pytest.mark.parametrize(
    ("asked", "brought", "expected"),
    [
        (None, [], ()),
        (None, [SOTALOL, UVULA], (SOTALOL, UVULA)),
        (BiasingList(("Ann Lee",)), [], (BiasingList(("Ann Lee",), STRENGTH),)),
        # Each by its own strength, or all by the one that was asked for.
        (BiasingList(("Ann Lee",)), [UVULA], (BiasingList(("Ann Lee",), STRENGTH), UVULA)),
        (
            BiasingList(("Ann Lee",), 1.0),
            [UVULA],
            (BiasingList(("Ann Lee",), 1.0), BiasingList(("uvula", "sotalol"), 1.0)),
        ),
        (BiasingList((), 0.0), [UVULA], (BiasingList(("uvula", "sotalol"), 0.0),)),
        (BiasingList((), 1.0), [], ()),
    ],
)
def test_requested_list_joins_adapter_lists(
    asked: BiasingList | None, brought: list[BiasingList], expected: tuple[BiasingList, ...]
) -> None:
    assert joined(asked, brought) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"words\.txt: no phrases in it; expected a phrase on each line"),
        ("# only\n\n", "no phrases in it"),
        (b"RIFF\xff\xfe\x00", r"words\.txt:1: not UTF-8 text.*expected a text file"),
        ("sotalol\n?!\n", r"words\.txt:2: found a term without a letter or digit"),
        ("\tspoken form\n", r"words\.txt:1: found no term"),
        ("word " * 21, r"words\.txt:1: found 21 words; expected a term, of at most 20"),
        (None, r"words\.txt: No such file.*expected a text file with a phrase on each line"),
    ],
)
def test_files_that_are_no_lists(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        write(path, content)
    with pytest.raises(BiasingError, match=message):
        make_list(path)


@pytest.mark.parametrize("name", ["words.json", "domain.YAML"])
def test_other_formats_are_no_lists(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "name: sotalol\n")
    with pytest.raises(BiasingError, match=rf"{name}: found .*; expected a text file with a phr"):
        read_phrases(tmp_path / name)


def test_a_folder_without_terms(tmp_path: Path) -> None:
    with pytest.raises(BiasingError, match=r"no files in it that are lists \(\.tsv, "):
        read_phrases(tmp_path)


@pytest.mark.parametrize("word", ["", "...", " - "])
def test_words_that_are_none(word: str) -> None:
    with pytest.raises(BiasingError, match=r"--bias: found .* has no letter or digit"):
        make_list(None, ["uvula", word])


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_strengths_that_are_none(strength: float) -> None:
    with pytest.raises(BiasingError, match=f"strength {strength:g}; expected a number from 0"):
        BiasingList(("uvula",), strength)


def test_a_strength_needs_words() -> None:
    with pytest.raises(BiasingError, match="requires --biasing-list, --bias or an adapter"):
        check_strength(make_list(None, [], 1.0), [])
    check_strength(make_list(None, [], 1.0), [SOTALOL])
    check_strength(make_list(None, ["uvula"], 1.0), [])
    check_strength(None, [])
    check_strength(BiasingList((), 0.0), [])  # nothing is preferred, as asked
