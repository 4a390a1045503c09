"""The job behind ``asr-llm serve``: a model, an engine, an application, a web server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from asr_llm.errors import CheckpointError, ServerError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from asr_llm.transcription.engine import Engine
    from asr_llm.transcription.options import TranscribeOptions
    from asr_llm.transcription.speech_llm import SpeechLLM

Say = Callable[[str], None]

_NEEDED = ("fastapi", "uvicorn", "python_multipart")
_LAST_ANSWERS = 5  # seconds to send what is being sent at the end


def serve(
    model: str = "mini",
    adapters: Sequence[str | Path] = (),
    *,
    say: Say,
    num_beams: int,
    host: str = "127.0.0.1",
    port: int = 8000,
    places: int = 100,
    max_megabytes: float = 100.0,
    max_seconds: float | None = None,
    timeout: float = 600.0,
    grace: float = 30.0,
) -> None:
    """Serve transcription until SIGTERM or Ctrl-C; then end what has begun, for ``grace`` seconds.

    A second signal ends it at once.

    Args:
        model: see ``SpeechLLM.load``.
        adapters: each is a model of its own to those who ask.
        say: told where it listens, each request, and the end.
        port: 0 takes one that is free.
        places: requests at a time.
        max_megabytes, max_seconds: of a request's upload, and of its audio.
        timeout: seconds from the first byte of a request to its answer.

    Raises:
        ServerError: the extra ``serve`` is not installed, or the address is not to be had.
        CheckpointError: the model or an adapter does not load, or two have the same name.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ServerError(
            f"no {', '.join(missing)} here, which the server needs; install it: "
            "pip install 'asr-llm[serve]'"
        )
    listening = _bind(host, port)
    with listening:
        from asr_llm.transcription.engine import Engine
        from asr_llm.transcription.server import Limits, create_app
        from asr_llm.transcription.speech_llm import SpeechLLM

        loaded = SpeechLLM.load(model, adapters, num_beams=num_beams, word_timestamps=True)
        models = settings(loaded)
        engine = Engine(loaded, places=places, max_seconds=max_seconds)
        app = create_app(engine, models, Limits(round(max_megabytes * 1e6), timeout), say)
        url = _url(host, listening.getsockname()[1])
        begun = f"Serving {', '.join(models)} at {url}/v1; stop with Ctrl-C"
        _run(app, engine, listening, grace, say, begun)


def settings(model: SpeechLLM) -> dict[str, TranscribeOptions]:
    """What clients may name as a model, with its options: the base by its name, and each adapter.

    All tell how sure they are: ``verbose_json`` has it, and it costs a hundredth of the time.

    Raises:
        CheckpointError: an adapter is called as the base is.
    """
    path = Path(model.name)
    base = path.resolve().name if path.is_dir() else model.name
    if base in model.adapters:
        raise CheckpointError(
            f"the model and an adapter are both called {base!r}; expected a name for each: "
            "rename a folder"
        )
    plain = replace(model.options, adapters=(), confidence=True, word_timestamps=False)
    return {base: plain} | {name: replace(plain, adapters=(name,)) for name in model.adapters}


def _bind(host: str, port: int) -> socket.socket:
    """A socket of that address; it does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise ServerError(
            f"cannot listen at port {port} of {host} ({error.strerror}); expected an address of "
            "this machine with a free port: choose others with --host and --port"
        ) from error
    return made


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _run(
    app: FastAPI, engine: Engine, listening: socket.socket, grace: float, say: Say, begun: str
) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Refuses requests by an answer while it ends those that have begun."""

        until: float | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            say(begun)  # signals are heard from now on

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            engine.stop()
            self.should_exit = self.until is not None  # the second time
            self.until = self.until or time.monotonic() + grace

        async def on_tick(self, counter: int) -> bool:
            over = self.until is not None and (not engine.taken or time.monotonic() > self.until)
            if over or await super().on_tick(counter):
                if engine.taken:
                    say(f"Cutting off {engine.taken} requests")
                engine.close()
                return True
            return False

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
    )
    Server(config).run(sockets=[listening])
    engine.close()
    engine.join()
    say("Stopped")
