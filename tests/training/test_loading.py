"""What a loader's process says, and what it keeps to itself."""

from __future__ import annotations

import pytest

from asr_llm.training.loading import _unless_left


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), BrokenPipeError(), EOFError()])
def test_a_main_process_that_is_gone_is_no_news(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    _unless_left(type(error), error, None)
    assert capsys.readouterr().err == ""


def test_other_errors_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("odd")
    except ValueError as error:
        _unless_left(type(error), error, error.__traceback__)
    assert "ValueError: odd" in capsys.readouterr().err
