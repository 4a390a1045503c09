"""The one reader of text: encodings, line ends, comments, quoted cells, bounds."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.text_files import (
    TextFileError,
    cells,
    ids_of,
    is_comment,
    is_open,
    no_file_of,
    numbered,
    read_lines,
    read_text,
)

LETTERS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)


@given(
    st.lists(LETTERS, min_size=1, max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_encodings_and_line_ends_make_no_difference(
    lines: list[str], encoding: str, end: str
) -> None:
    lines = [line.removeprefix("\ufeff") for line in lines]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(("".join(line + end for line in lines)).encode(encoding))
        assert read_lines(path) == lines
        path.write_bytes(end.join([*lines, "last"]).encode(encoding))
        assert read_lines(path) == [*lines, "last"]


def test_both_byte_orders(tmp_path: Path) -> None:
    for order, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        (tmp_path / "a.txt").write_bytes(mark + "naïve\rĲ\r\n".encode(order))
        assert read_text(tmp_path / "a.txt") == "naïve\nĲ\n"


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        (b"one\rtwo\r\ncaf\xe9\n", 3, "not UTF-8 text"),
        (b"\xef\xbb\xbfone\ncaf\xe9", 2, "not UTF-8 text"),
        (b"\xff\xfea\0\n\0\x00\xd8", 2, "not UTF-16 text"),
        ("ab\ncd".encode("utf-16-le"), 1, "UTF-16 without its byte order mark"),
        (b"fine\nbell\x07\n", 2, "control characters"),
        (b"\x1f\x8b\x08\0", 1, "not UTF-8 text"),
    ],
)
def test_binary_data_is_reported_by_line(
    tmp_path: Path, content: bytes, line: int, found: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(TextFileError) as caught:
        read_text(path)
    assert caught.value.line == line
    assert found in caught.value.found
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_dos_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\n\x1a")
    assert read_lines(tmp_path / "a.txt") == ["one"]
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one\r\ntwo"))
    assert read_lines(tmp_path / "a.gz") == ["one", "two"]
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one\r\ntwo" * 999)[:-9])
    with pytest.raises(TextFileError, match="cannot be unpacked"):
        read_text(tmp_path / "a.gz")


def test_bounds(tmp_path: Path) -> None:
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(TextFileError, match=r"more than 0 MB of text; expected less"):
        read_text(tmp_path / "bomb.gz", most=1000)
    with pytest.raises(TextFileError, match=r"more than 0 MB"):
        read_text(Path("/dev/zero"), most=1000)
    (tmp_path / "a.txt").write_text("a\n" * 11)
    with pytest.raises(TextFileError, match=r"a\.txt: 11 lines; expected at most 10; take"):
        read_lines(tmp_path / "a.txt", most_lines=10)
    with pytest.raises(TextFileError, match=r"nothing\.txt: No such file"):
        read_text(tmp_path / "nothing.txt")


def test_comments() -> None:
    kept = ["#11 blade", "#MeToo", " # indented", "a # b", "##"]
    assert [line for line in kept if is_comment(line)] == []
    assert all(map(is_comment, ["# why", "#", "#\tx"]))
    assert list(numbered(["# a", "", "b", " ", "#c"])) == [(3, "b"), (5, "#c")]


@pytest.mark.parametrize(
    ("line", "delimiter", "expected"),
    [
        ("a\tb", "\t", ["a", "b"]),
        ('"Lee, Ann"\t"6"" tube"', "\t", ["Lee, Ann", '6" tube']),
        ('6" tube\t"', "\t", ['6" tube', '"']),
        ('"so," he said "so"\tx', "\t", ['"so," he said "so"', "x"]),
        ('"a,b",c,', ",", ["a,b", "c", ""]),
        ('""', ",", [""]),
        ('"""x"""', ",", ['"x"']),
        ('"a\tb"\tc', "\t", ["a\tb", "c"]),
    ],
)
def test_cells(line: str, delimiter: str, expected: list[str]) -> None:
    assert cells(line, delimiter) == expected


@given(st.lists(st.text('ab,"\t ', min_size=1), min_size=1), st.sampled_from(",\t"))
def test_spreadsheet_quotes_round_trip(row: list[str], delimiter: str) -> None:
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in row]
    line = delimiter.join(quoted)
    assert cells(line, delimiter) == row


def test_open_quotes() -> None:
    assert is_open('"Lee\tx')
    assert not is_open('6" tube')
    assert not is_open('"""x"""')


def test_ids_are_told_apart_by_as_few_folders_as_do() -> None:
    given = ["x/a/1.wav", "x/b/1.wav", "y/b/1.wav", "z/2.wav", "w\\a\\3.flac", "1.wav"]
    assert list(ids_of(given).values()) == ["a/1", "x/b/1", "y/b/1", "2", "3", "1"]
    assert ids_of(["a.wav", "a.flac"]) == {"a.wav": "a", "a.flac": "a"}  # refused where it matters


def test_files_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("x")
    (folder / "own.txt").write_text("x")
    (folder / "link.txt").symlink_to("own.txt")
    (folder / "out.txt").symlink_to("../secret.txt")
    (folder / "loop.txt").symlink_to("loop.txt")
    os.mkfifo(folder / "pipe.txt")
    said = {path.stem: no_file_of(folder, path) for path in folder.iterdir()}
    assert said["own"] is said["link"] is None
    assert said["out"] == "a link that leads out of the folder"
    assert said["pipe"] == "a pipe or device, not a file"
    assert "cannot be read" in (said["loop"] or "")


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"\xef\xbb\xbfa\r\nb",))
    writer.start()
    assert read_lines(pipe) == ["a", "b"]
    writer.join()


@pytest.mark.parametrize(
    "head", [b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC\0", b"OggS\0", b"ID3\x04\0", b"\0\0\0 ftypM4A"]
)
def test_audio_is_named_as_such(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "words"
    path.write_bytes(head)
    with pytest.raises(TextFileError, match=r"words: this looks like audio; expected a text file$"):
        read_text(path)
    path.write_text("fLaC is a format")
    assert read_text(path) == "fLaC is a format"
