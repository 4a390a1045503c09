"""Where something may be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.errors import RunError
from asr_llm.files import new_folder


def test_a_new_folder_is_new_or_empty(tmp_path: Path) -> None:
    assert new_folder(str(tmp_path)) == tmp_path
    assert new_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").write_text("x", "utf-8")
    for taken, why in ((tmp_path, "is not empty"), (tmp_path / "mine", "is a file")):
        with pytest.raises(RunError, match=f"{why}; expected a new or empty folder"):
            new_folder(taken)
    with pytest.raises(RunError, match=r"b cannot be created: .*mine is a file; choose another"):
        new_folder(tmp_path / "mine" / "a" / "b")
