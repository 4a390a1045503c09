"""The web server: OpenAI's transcription interface on an engine. Needs the extra ``serve``.

What a request says is for its answer only: the log has the route, the status and the time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_llm.corpus.biasing_list import BiasingList
from asr_llm.errors import AudioError
from asr_llm.transcription import api
from asr_llm.transcription.api import ApiError, Asked
from asr_llm.transcription.engine import BusyError, Engine, StoppingError, TooLongError
from asr_llm.transcription.options import TranscribeOptions
from asr_llm.transcription.transcript import Segment, Transcript
from asr_llm.transcription.turns import Job
from asr_llm.transcription.uploads import received

_RETRY_SECONDS = 2
_TO_READ = 10.0  # seconds to fetch the last events in
_GONE = 499  # what the log calls the status of a request whose client is gone

Log = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What a request may take: ``max_bytes`` of upload, ``timeout`` in seconds from its start."""

    max_bytes: int = 100_000_000
    timeout: float = 600.0


def create_app(
    engine: Engine,
    models: Mapping[str, TranscribeOptions],
    limits: Limits,
    log: Log = lambda line: None,
) -> FastAPI:
    """The application.

    Args:
        models: the options of each that a request may name.
        log: told a line for each request, and what went wrong inside.
    """
    since = int(time.time())
    app = FastAPI(title="asr-llm", openapi_url=None)  # its pages would load from the network
    app.add_middleware(_Guard, log=log)
    app.add_exception_handler(HTTPException, _refused)

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(request: Request) -> Response:
        return await _transcribe(request, engine, models, limits)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [api.model_object(name, since) for name in models]}

    @app.get("/v1/models/{name:path}")
    async def get_model(name: str) -> dict[str, Any]:
        _known(name, models)
        return api.model_object(name, since)

    @app.get("/health")
    async def health() -> Response:
        content = {
            "status": "ready" if engine.ready else "stopping",
            "requests": engine.taken,
            "places": engine.places,
        }
        return JSONResponse(content, 200 if engine.ready else 503)

    return app


async def _transcribe(
    request: Request, engine: Engine, models: Mapping[str, TranscribeOptions], limits: Limits
) -> Response:
    deadline = asyncio.get_running_loop().time() + limits.timeout
    async with AsyncExitStack() as held:
        held.enter_context(engine.place())
        async with asyncio.timeout_at(deadline):
            form = await held.enter_async_context(received(request, limits.max_bytes))
            asked = api.parse(form.fields)
            options = _options(asked, models, engine)
            inbox = _Inbox()
            on_segment = inbox.segment if asked.stream else None
            job = engine.submit(form.path, options, on_segment)
            held.callback(job.cancel)
            job.result.add_done_callback(inbox.end)
            first = await _unless_gone(request, inbox.next())
            if first is not None:  # it has begun well: errors from now on are events
                return _Stream(
                    held.pop_all(), _events(request, job, inbox, first, deadline), deadline
                )
        transcript = await asyncio.wrap_future(job.result)
    return _respond(asked, transcript)


def _respond(asked: Asked, transcript: Transcript) -> Response:
    if asked.stream:
        return Response(_event(api.done(transcript)) + _END, media_type=_EVENTS)
    body = api.body(asked, transcript)
    return PlainTextResponse(body) if isinstance(body, str) else JSONResponse(body)


def _options(
    asked: Asked, models: Mapping[str, TranscribeOptions], engine: Engine
) -> TranscribeOptions:
    """What a request is to be transcribed by."""
    options = _known(asked.model, models)
    if asked.words and not engine.tells_words:
        message = "this model has no CTC head to tell when a word is said; expected 'segment'"
        raise ApiError(400, message, "unsupported_parameter", "timestamp_granularities")
    biasing = BiasingList(asked.phrases) if asked.phrases else None
    return replace(options, biasing=biasing, word_timestamps=asked.words)


def _known(name: str, models: Mapping[str, TranscribeOptions]) -> TranscribeOptions:
    if name not in models:
        message = f"no model {name!r}; expected one of {', '.join(models)}"
        raise ApiError(404, message, "model_not_found", "model")
    return models[name]


# Waiting and streaming ---------------------------------------------------------------------


class _Inbox:
    """What threads of the engine tell a coroutine: text as it becomes certain, and the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._begun = False

    def segment(self, segment: Segment) -> None:
        self._put(" " * self._begun + segment.text)
        self._begun = True

    def end(self, _: object) -> None:
        with suppress(RuntimeError):  # there is no loop any more
            self._put(None)

    async def next(self) -> str | None:
        """Text to come after what was before; None at the end."""
        return await self._queue.get()

    def _put(self, event: str | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)


async def _events(
    request: Request, job: Job, inbox: _Inbox, first: str, deadline: float
) -> AsyncGenerator[str, None]:
    """Server-sent events; the last but the end is the whole text, or an error."""
    try:
        text: str | None = first
        while text is not None:
            yield _event(api.delta(text))
            async with asyncio.timeout_at(deadline):
                text = await _unless_gone(request, inbox.next())
        yield _event(api.done(await asyncio.wrap_future(job.result)))
    except ClientDisconnect:
        return
    except Exception as error:
        yield _event(_told(error).body)
    yield _END


class _Stream(StreamingResponse):
    """Events, and what they need, let go when they have ended, however they end."""

    def __init__(
        self, held: AsyncExitStack, events: AsyncGenerator[str, None], deadline: float
    ) -> None:
        super().__init__(events, media_type=_EVENTS, headers={"cache-control": "no-cache"})
        self._held, self._events, self._deadline = held, events, deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held, aclosing(self._events):
            async with asyncio.timeout_at(self._deadline + _TO_READ):  # for one who does not read
                await super().__call__(scope, receive, send)


_EVENTS = "text/event-stream"
_END = "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


async def _unless_gone(request: Request, awaited: Awaitable[T]) -> T:
    """What is awaited.

    Raises:
        ClientDisconnect: the client was gone before it was there.
    """
    wanted, gone = asyncio.ensure_future(awaited), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([wanted, gone], return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise ClientDisconnect
        return wanted.result()
    finally:
        wanted.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# Errors and the log ------------------------------------------------------------------------


def _told(error: Exception) -> ApiError:
    """What to tell of an error; of one that is ours, no more than that."""
    match error:
        case ApiError():
            return error
        case BusyError():
            return ApiError(429, str(error), "rate_limit_exceeded", retry=_RETRY_SECONDS)
        case StoppingError():
            return ApiError(503, str(error), "stopping", retry=_RETRY_SECONDS)
        case TooLongError():
            return ApiError(413, str(error), "audio_too_long", "file")
        case AudioError():
            return ApiError(400, _without_path(str(error)), "invalid_audio", "file")
        case TimeoutError():
            message = "it took too long; expected shorter audio, or a server with less to do"
            return ApiError(504, message, "timeout")
    return ApiError(500, "something went wrong in the server; its log says what", "internal_error")


def _without_path(message: str) -> str:
    """Of ``path: what is wrong``, the latter: the path is ours, and tells nothing."""
    return message.partition(": ")[2]


def _answer(error: ApiError) -> Response:
    headers = {} if error.retry is None else {"retry-after": str(error.retry)}
    return JSONResponse(error.body, error.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    """What the routes refuse: a path that is none, a method that does not go with it."""
    assert isinstance(error, HTTPException)
    return _answer(ApiError(error.status_code, error.detail.lower(), "not_found"))


class _Guard:
    """Answers every error, and logs every request, by what says nothing of its user."""

    def __init__(self, app: ASGIApp, log: Log) -> None:
        self._app, self._log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            status = status or _GONE
        except Exception as error:
            told = _told(error)
            if told.status == 500:
                self._log(f"error: unexpected {type(error).__name__}")
            if not status:
                await _answer(told)(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", None)
            what = f"{scope['method']} {route}" if route else "no such route"
            self._log(f"{what} {status} {time.perf_counter() - start:.2f} s")
