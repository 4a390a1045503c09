"""Where something may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.errors import RunError
from asr_llm.files import check_file, check_writable, new_folder


def test_a_new_folder_is_new_or_empty(tmp_path: Path) -> None:
    assert new_folder(str(tmp_path)) == tmp_path
    assert new_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").write_text("x", "utf-8")
    with pytest.raises(RunError, match="is not empty; expected a new or empty folder"):
        new_folder(tmp_path)
    with pytest.raises(RunError, match="mine is a file; expected a folder"):
        new_folder(tmp_path / "mine")
    with pytest.raises(RunError, match=r"b cannot be created: .*mine is a file; choose another"):
        new_folder(tmp_path / "mine" / "a" / "b")


def test_whether_a_folder_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / "there" / "a" / "b")
    check_file(tmp_path / "there" / "c" / "report.html", "--report")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_what_cannot_be_written_is_refused() -> None:
    nowhere = Path("/proc/nowhere")  # not even root can create a file there
    with pytest.raises(RunError, match=r"^/proc/nowhere/a cannot be created; choose .* -o$"):
        new_folder(nowhere / "a")
    with pytest.raises(RunError, match=r"^/proc/nowhere cannot be created; .* with --report$"):
        check_file(nowhere / "a.html", "--report")
    with pytest.raises(RunError, match=r"^/proc is a folder; expected a file for --report"):
        check_file(Path("/proc"), "--report")


def test_a_report_replaces_reports_only(tmp_path: Path) -> None:
    for name in ("page.html", "mine.tsv"):
        (tmp_path / name).write_text("x", "utf-8")
    check_file(tmp_path / "page.html", "--report")
    for name in ("mine.tsv", "report"):
        with pytest.raises(RunError, match=rf"{name}: expected a name for --report .* in \.html"):
            check_file(tmp_path / name, "--report")
