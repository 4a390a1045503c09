"""The job behind ``asr-llm serve``: a model, an engine, an application, a web server."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from asr_llm.errors import CheckpointError, ServerError, number_of

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from asr_llm.model.adapter_folder import AdapterFolder
    from asr_llm.serving.app import Access, Served
    from asr_llm.serving.engine import Engine
    from asr_llm.serving.tls import Tls
    from asr_llm.transcription.options import Recogniser, TranscribeOptions
    from asr_llm.transcription.speech_llm import SpeechLLM

Say = Callable[[str], None]

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_LAST_ANSWERS = 5  # seconds to finish sending responses on shutdown


@dataclass(frozen=True)
class Door:
    """Address and access control.

    Args:
        host: an address of this machine; ``0.0.0.0`` accepts other machines.
        port: 0 picks a free one.
        tls: None: no encryption.
        key_file: API keys, one of which clients must send, see ``access.read_keys``.
        origins: web pages allowed by CORS, such as ``https://example.org``.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tls: Tls | None = None
    key_file: Path | None = None
    origins: tuple[str, ...] = ()

    def access(self) -> Access:
        """The access rules.

        Raises:
            ServerError: the keys cannot be read, or an origin is invalid.
        """
        from asr_llm.serving.access import parse_origin, read_keys
        from asr_llm.serving.app import Access

        keys = read_keys(self.key_file) if self.key_file is not None else ()
        return Access(keys, tuple(parse_origin(origin) for origin in self.origins))

    @property
    def is_open(self) -> bool:
        """Whether anyone who can reach the address may use the server."""
        try:
            private = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            private = self.host == "localhost"
        return not private and self.key_file is None


@dataclass(frozen=True)
class Load:
    """Limits on the work of a server.

    Args:
        places: maximum concurrent requests.
        max_megabytes, max_seconds: limits on a request's upload and its audio.
        timeout: seconds from the first byte of a request to its response.
        grace: seconds to finish open requests on shutdown.
    """

    places: int = 100
    max_megabytes: float = 100.0
    max_seconds: float | None = None
    timeout: float = 600.0
    grace: float = 30.0


def serve(
    recogniser: Recogniser,
    options: TranscribeOptions,
    door: Door = Door(),
    load: Load = Load(),
    *,
    aliases: Sequence[str] = (),
    say: Say,
) -> None:
    """Serve transcription until SIGTERM or Ctrl-C, then finish open requests for ``grace`` seconds.

    A second signal stops at once.

    Args:
        recogniser: each of its adapters is offered as its own model.
        options: defaults for requests.
        aliases: other names of models, such as ``whisper-1=small``.
        say: called with the address, each request, and the end.

    Raises:
        ServerError: the extra ``serve`` is not installed, the address is unavailable, or keys,
            certificates, origins or aliases are invalid.
        CheckpointError: the model or an adapter does not load, or two have the same name.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ServerError(
            f"no {', '.join(missing)}, which the server needs; install it: pip install "
            "'asr-llm[serve]'"
        )
    access = door.access()
    if door.tls is not None:
        door.tls.check()
    parse_aliases(aliases, _names(recogniser))
    listening = _bind(door.host, door.port)
    with listening:
        from asr_llm.serving.app import Limits, create_app
        from asr_llm.serving.engine import Engine
        from asr_llm.transcription.speech_llm import SpeechLLM

        loaded = SpeechLLM.of(recogniser, options)
        models = with_former(with_aliases(served(loaded, recogniser.adapters), aliases))
        engine = Engine(loaded, places=load.places, max_seconds=load.max_seconds)
        limits = Limits(round(load.max_megabytes * 1e6), load.timeout)
        app = create_app(engine, models, limits, say, access)
        if door.is_open:
            say(
                f"warning: anyone who can reach {door.host} can use this server; "
                "--api-key-file requires a key"
            )
        url = _url(door, listening.getsockname()[1])
        begun = f"Serving {', '.join(models)} at {url}/v1; stop with Ctrl-C"
        _run(_config(app, door.tls), engine, listening, load.grace, begun, say)


def served(model: SpeechLLM, adapters: Sequence[AdapterFolder] = ()) -> dict[str, Served]:
    """The models that clients may name: the base, and each adapter.

    All compute confidence, which ``verbose_json`` includes and which costs 1% of the time.

    Args:
        adapters: folders of the loaded adapters.

    Raises:
        CheckpointError: an adapter has the name of the base.
    """
    from asr_llm.serving.app import Served

    base = _base_name(model.name, model.adapters)
    plain = replace(model.options, adapters=(), confidence=True, word_timestamps=False)
    found = {base: Served(plain)}
    for name, folder in zip(model.adapters, adapters, strict=True):
        terms = folder.biasing.phrases if folder.biasing is not None else ()
        found[name] = Served(replace(plain, adapters=(name,)), terms)
    return found


def _names(recogniser: Recogniser) -> list[str]:
    """The names of ``served``, before the model is loaded."""
    from asr_llm.model.adapters import names_of

    adapters = names_of([adapter.path for adapter in recogniser.adapters])
    return [_base_name(recogniser.model, adapters), *adapters]


def _base_name(model: str, adapters: Collection[str]) -> str:
    path = Path(model)
    base = path.resolve().name if path.is_dir() else model
    if base in adapters:
        raise CheckpointError(
            f"the model and an adapter are both called {base!r}; expected a name for each: "
            "rename a folder"
        )
    return base


def with_former(models: Mapping[str, Served]) -> dict[str, Served]:
    """Let ``mini`` mean ``small``: it was the default model, and programs still name it."""
    found = dict(models)
    if "small" in found:
        found.setdefault("mini", found["small"])
    return found


def with_aliases(models: Mapping[str, Served], aliases: Sequence[str]) -> dict[str, Served]:
    """Add each ``NAME=MODEL`` of ``aliases`` as another name of a model; see ``parse_aliases``."""
    asked = parse_aliases(aliases, models)
    return {**models, **{name: models[of] for name, of in asked.items()}}


def parse_aliases(aliases: Sequence[str], models: Collection[str]) -> dict[str, str]:
    """The model of each other name.

    Raises:
        ServerError: one is malformed, there is no such model, or the name is taken.
    """
    found: dict[str, str] = {}
    for alias in aliases:
        name, _, of = (part.strip() for part in alias.partition("="))
        if not (name and of):
            raise ServerError(f"--alias is {alias!r}; expected NAME=MODEL, as whisper-1=small")
        if of not in models:
            known = ", ".join(models)
            raise ServerError(f"--alias {alias}: no model {of!r} here; expected one of {known}")
        if name in found or name in models:
            raise ServerError(f"--alias {alias}: {name!r} is taken; expected another name")
        found[name] = of
    return found


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet."""
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


def _url(door: Door, port: int) -> str:
    scheme = "http" if door.tls is None else "https"
    host = f"[{door.host}]" if ":" in door.host else door.host
    return f"{scheme}://{host}:{port}"


def _config(app: FastAPI, tls: Tls | None) -> uvicorn.Config:
    import uvicorn

    from asr_llm.serving.connections import PatientProtocol

    encrypted = {} if tls is None else {f"ssl_{key}": value for key, value in vars(tls).items()}
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
        **encrypted,
    )


def _run(
    config: uvicorn.Config,
    engine: Engine,
    listening: socket.socket,
    grace: float,
    begun: str,
    say: Say,
) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Rejects new requests while finishing open ones."""

        until: float | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            say(begun)  # signals are handled from now on

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            engine.stop()
            self.should_exit = self.until is not None  # the second time
            self.until = self.until or time.monotonic() + grace

        async def on_tick(self, counter: int) -> bool:
            over = self.until is not None and (not engine.taken or time.monotonic() > self.until)
            if over or await super().on_tick(counter):
                if engine.taken:
                    say(f"Cancelling {number_of(engine.taken, 'request')}")
                engine.close()
                return True
            return False

    Server(config).run(sockets=[listening])
    engine.close()
    engine.join()
    say("Stopped")
