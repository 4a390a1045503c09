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
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(RunError, match="is not empty; expected a new or empty folder"):
            new_folder(taken)
