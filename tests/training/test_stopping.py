"""Ctrl-C and SIGTERM in training; that the step is kept is in test_train and test_resume."""

from __future__ import annotations

import signal

import pytest

from asr_llm.training.stopping import Stop


def test_asking_again_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [100.0], list[str]()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    stop = Stop(said.append)
    stop.on_train_start(None, None)
    try:
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        now[0] += 0.5
        signal.raise_signal(signal.SIGTERM)
        now[0] += 1.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert len(said) == 1
