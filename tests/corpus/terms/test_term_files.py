"""Lists of terms, as spreadsheets and editors leave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.corpus.terms import files as module
from asr_llm.corpus.terms.files import (
    TermRow,
    has_capitals,
    label_of,
    other_files,
    read_term_rows,
    term_files,
)
from asr_llm.corpus.text.lines import Problem


def read(path: Path, content: str | bytes) -> tuple[list[TermRow], list[str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems: list[Problem] = []
    rows = read_term_rows(path, problems)
    return rows, [str(problem).removeprefix(f"{path}:") for problem in problems]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'dropper post\n"Presta, valve"\tpress tuh\n#10 bolt\n'),
        ("a.tsv", 'dropper  post\t\t\n"Presta, valve"\t"press tuh"\t\r\n# no term\n#10 bolt'),
        ("a.tsv.txt", 'dropper post\r"Presta, valve"\tpress tuh\r#10 bolt\r'),
        ("a.csv", 'Term,Spoken form\ndropper post,\n"Presta, valve",press tuh\n#10 bolt\n'),
        ("a.csv", 'dropper post;\n"Presta, valve";press tuh\n#10 bolt;;\n;;\n'),
        ("a.csv.txt", 'dropper post\n"Presta, valve",press tuh\n#10 bolt\n'),
        ("a.txt", "\ufeffdropper post\n\nPresta, valve\tpress tuh\n#10 bolt\n".encode("utf-16")),
    ],
)
def test_the_same_list(tmp_path: Path, name: str, content: str | bytes) -> None:
    content = content.replace(b"\xff\xfe\xff\xfe", b"\xff\xfe") if name == "a.txt" else content
    rows, problems = read(tmp_path / name, content)
    assert problems == []
    assert [(row.text, row.spoken) for row in rows] == [
        ("dropper post", None),
        ("Presta, valve", "press tuh"),
        ("#10 bolt", None),
    ]
    assert label_of(tmp_path / name) == "A"


def test_malformed_input_is_reported(tmp_path: Path) -> None:
    rows, problems = read(tmp_path / "a.tsv", 'rim\na\tb\tc\n"open\n\tx\n— \n6" rotor\n')
    assert rows == [TermRow("rim", None, 1), TermRow('6" rotor', None, 6)]
    assert problems == [
        "2: found 3 columns; expected term [TAB spoken form]; fix this line",
        "3: found a quote that is not closed on its line; close it, or remove it",
        "4: found no term; expected term [TAB spoken form]; fix this line",
        "5: found a term without a letter or digit, which nobody can say; spell it out",
    ]
    _, problems = read(tmp_path / "b.tsv", "?\n" * 30)
    assert len(problems) == 21
    assert problems[-1] == "21: 10 more lines that are not terms; fix them"


def test_no_list_is_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TERMS", 10)
    rows, problems = read(tmp_path / "a.tsv", "rim\n" * 11)
    assert rows == []
    assert problems == [" 11 lines; expected at most 10; take the part that matters"]


def test_which_files_of_a_folder_are_lists(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.csv", "c.tsv.txt", "notes.txt", "d.xlsx", ".e.tsv", "~$d.tsv"):
        (tmp_path / name).write_text("x\n")
    assert [path.name for path in term_files(tmp_path)] == ["a.csv", "b.tsv", "c.tsv.txt"]
    assert [path.name for path in other_files(tmp_path)] == ["d.xlsx", "notes.txt"]
    for name in ("b.tsv", "a.csv", "c.tsv.txt"):
        (tmp_path / name).unlink()
    assert [path.name for path in term_files(tmp_path)] == ["notes.txt"]
    assert term_files(tmp_path / "none") == []
    assert has_capitals(Path("Drug.TSV"))
    assert not has_capitals(Path("drug.TSV"))
