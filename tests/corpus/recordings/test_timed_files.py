"""Word times written for other programs, and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.corpus.recordings.timed_files import write_ctm, write_textgrids
from asr_llm.corpus.recordings.timings import TimedWord, read_timings, times_of
from asr_llm.errors import DomainError

GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n1\n"IntervalTier"\n'
    '"words"\n0\n2\n1\n0.5\n1\n"vélo"\n'
)


def cut(name: str, start: float, *words: tuple[str, float, float, float | None]) -> object:
    from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
    from lhotse.supervision import AlignmentItem

    items = [AlignmentItem(text, begin, length, score) for text, begin, length, score in words]
    recording = Recording(name, [AudioSource("file", [0], f"{name}.wav")], 16000, 80000, 5.0)
    supervision = SupervisionSegment(
        "s", name, 0.0, 2.0, text=" ".join(w[0] for w in words), alignment={"word": items}
    )
    return MonoCut(f"{name}-{start}", start, 2.0, 0, [supervision], recording=recording)


def test_both_are_read_back(tmp_path: Path) -> None:
    cuts = [
        cut("talk", 2.0, ("true.", 0.25, 0.5, None)),
        cut("talk", 0.0, ("Out", 0.5, 0.25, 0.5), ("—", 0.75, 0.0, None), ("of", 0.75, 0.25, 1.0)),
        cut("../up", 0.0, ("—", 0.0, 0.0, None), ("Vélo", 0.0, 0.5, 0.9)),
    ]
    write_ctm(cuts, tmp_path / "a.ctm")
    assert (tmp_path / "a.ctm").read_text("utf-8").splitlines() == [
        "talk 1 0.500 0.250 Out 0.5000",
        "talk 1 0.750 0.000 —",
        "talk 1 0.750 0.250 of 1.0000",
        "talk 1 2.250 0.500 true.",
        "_up 1 0.000 0.000 —",
        "_up 1 0.000 0.500 Vélo 0.9000",
    ]
    write_textgrids(cuts, tmp_path / "grids")
    assert read_timings(tmp_path / "grids") == {
        "talk": [
            TimedWord("Out —", 0.5, 0.75),
            TimedWord("of", 0.75, 1.0),
            TimedWord("true.", 2.25, 2.75),
        ],
        "_up": [TimedWord("— Vélo", 0.0, 0.5)],
    }
    assert sorted(read_timings(tmp_path / "a.ctm")) == ["_up", "talk"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_timings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.TextGrid").write_bytes(GRID.replace("\n", "\r\n").encode(encoding))
    assert read_timings(tmp_path / "a.TextGrid") == {"a": [TimedWord("vélo", 0.5, 1.0)]}
    (tmp_path / "a.ctm").write_bytes("x 1 0.5 0.5 vélo\r".encode(encoding))
    assert read_timings(tmp_path / "a.ctm") == {"x": [TimedWord("vélo", 0.5, 1.0)]}


@pytest.mark.parametrize(("name", "line"), [("a.ctm", 2), ("a.TextGrid", 15)])
def test_other_encodings_are_named(tmp_path: Path, name: str, line: int) -> None:
    text = GRID if name.endswith("Grid") else "x 1 0 1 a\nx 1 1 1 vélo\n"
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DomainError, match=rf"{name}:{line}: not UTF-8 text; save it as UTF-8"):
        read_timings(tmp_path / name)


def test_equal_names_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    for speaker, word in (("ann", "un"), ("bob", "deux")):
        (tmp_path / speaker).mkdir()
        (tmp_path / speaker / "1.textgrid").write_text(GRID.replace("vélo", word), "utf-8")
    (tmp_path / "more.CTM").write_text("talk 1 0 1 trois\n")
    timings = read_timings(tmp_path)
    assert sorted(timings) == ["ann/1", "bob/1", "talk"]
    found = times_of(timings, "/data/bob/1.wav")
    assert found is not None and found[0].text == "deux"
    assert times_of(timings, "/data/eve/1.wav") is None
    (tmp_path / "again.ctm").write_text("talk 1 0 1 trois\n")
    with pytest.raises(DomainError, match=r"more\.CTM: times talk a second time"):
        read_timings(tmp_path)
