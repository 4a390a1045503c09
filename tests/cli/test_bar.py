"""What the command line shows where someone looks: bars, and lines above them."""

from __future__ import annotations

import io

import pytest

from asr_llm.cli.bar import Bar


class Terminal(io.StringIO):
    """Someone looks."""

    def isatty(self) -> bool:
        return True


def look(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


def use(bar: Bar) -> None:
    with bar as progress:
        bar.wait("loading mini")
        bar.restart()
        progress("transcribing", 1.0, 2.0)
        bar.echo("Good morning.\n")
        bar.echo("error: c.wav\n", err=True)
        progress("transcribing", 2.0, 2.0)


def test_a_line_takes_the_place_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = look(monkeypatch)
    monkeypatch.setattr("sys.stdout", terminal)
    use(Bar(of_audio=True))
    erased = "\x1b[2K"
    shown = terminal.getvalue()
    assert f"{erased}Good morning.\n" in shown
    assert f"{erased}error: c.wav\n" in shown
    assert shown.index("loading mini") < shown.index("transcribing") < shown.index("Good")
    assert "0:00:02 of 0:00:02" in shown.rpartition("error")[2]


def test_only_what_is_asked_for_goes_to_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, out = look(monkeypatch), io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    use(Bar(of_audio=True))
    assert out.getvalue() == "Good morning.\n"
    assert "Good morning" not in terminal.getvalue()


def test_a_log_gets_a_line_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for of_audio, expected in (
        (False, "transcribing: 20%\ntranscribing: 40%\ndecoding: 0%\n"),
        (
            True,
            "transcribing: 0:01:01 of 0:05:00, RTFx 1.0\n"
            "transcribing: 0:02:01 of 0:05:00, RTFx 1.0\n"
            "decoding: 0:00:01 of 0:05:00, RTFx 0.0\n",
        ),
    ):
        bar = Bar(of_audio=of_audio)
        with bar as progress:
            bar.wait("loading mini")
            bar.echo("Good morning.\n")
            began = now[0]
            for seconds in (0, 59, 61, 100, 120, 121):
                now[0] = began + seconds
                progress("transcribing", seconds, 300)
            progress("decoding", 1, 300)
            progress("decoding", 2, 300)
        assert capsys.readouterr() == ("Good morning.\n", expected)


def test_a_log_gets_the_end_of_what_it_has_begun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Bar() as progress:
        for seconds, what, done in (
            (1, "quick", 1), (2, "quick", 10), (61, "training", 1), (70, "training", 10),
            (71, "decoding", 4), (72, "decoding", 10), (73, "decoding", 10), (74, "brief", 10),
        ):  # fmt: skip
            now[0] = seconds
            progress(what, done, 10)
    shown = ["training: 10%", "training: 100%", "decoding: 40%", "decoding: 100%", "brief: 100%"]
    assert capsys.readouterr().err.splitlines() == shown
