"""The web server: OpenAI's transcription API on an engine. Needs the extra ``serve``.

Also ``/``, a web page, ``/health``, which says whether requests are accepted, and ``/metrics`` for
Prometheus. The content of requests is used only for the response.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.serving import api, page
from asr_llm.serving.access import Locked
from asr_llm.serving.api import ApiError, Asked
from asr_llm.serving.engine import Engine
from asr_llm.serving.metrics import Metrics
from asr_llm.serving.refusals import Guard, Log, api_error, refused
from asr_llm.serving.streaming import END, EVENTS, Events, Inbox, Stream, as_event
from asr_llm.serving.turns import Job
from asr_llm.serving.uploads import received
from asr_llm.transcription.options import TranscribeOptions
from asr_llm.transcription.transcript import Segment, Transcript


@dataclass(frozen=True)
class Limits:
    """Limits per request: ``max_bytes`` of upload, ``timeout`` in seconds from its start."""

    max_bytes: int = 100_000_000
    timeout: float = 600.0


@dataclass(frozen=True)
class Served:
    """A model that requests may name.

    Args:
        options: defaults for its requests.
        terms: its boosted words and phrases, to be marked in the text.
    """

    options: TranscribeOptions = TranscribeOptions()
    terms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """Who may use the server: holders of one of ``keys``, or anyone without keys.

    ``origins`` are web pages allowed by CORS: ``https://example.org``, or ``*``.
    """

    keys: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()


def create_app(
    engine: Engine,
    models: Mapping[str, Served],
    limits: Limits,
    log: Log = lambda line: None,
    access: Access = Access(),
) -> FastAPI:
    """Create the application.

    Args:
        log: called with a line per request, and with internal errors.
    """
    since = int(time.time())
    metrics = Metrics(engine)
    desk = _Desk(engine, models, limits, metrics)
    app = FastAPI(title="asr-llm", openapi_url=None)  # its docs would load scripts from elsewhere
    app.include_router(page.router)
    app.add_exception_handler(HTTPException, refused)
    if access.keys:
        app.add_middleware(Locked, keys=access.keys, unlocked={*page.PATHS, "/health"})
    app.add_middleware(Guard, log=log, metrics=metrics)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["retry-after"],
        )

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(request: Request) -> Response:
        return await desk.transcribe(request)

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        found = [api.model_object(name, since, engine.tells_words) for name in models]
        return {"object": "list", "data": found}

    @app.get("/v1/models/{name:path}")
    async def get_model(name: str) -> dict[str, Any]:
        desk.known(name)
        return api.model_object(name, since, engine.tells_words)

    @app.get("/health")
    async def health() -> Response:
        content = {
            "status": "ready" if engine.ready else "stopping",
            "requests": engine.taken,
            "places": engine.places,
        }
        return JSONResponse(content, 200 if engine.ready else 503)

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(metrics.text(), media_type=metrics.media_type)

    return app


class _Desk:
    """Accepts a request, has its audio transcribed, and responds."""

    def __init__(
        self, engine: Engine, models: Mapping[str, Served], limits: Limits, metrics: Metrics
    ) -> None:
        self._engine, self._models, self._limits = engine, models, limits
        self._metrics = metrics

    async def transcribe(self, request: Request) -> Response:
        deadline = asyncio.get_running_loop().time() + self._limits.timeout
        async with AsyncExitStack() as held:
            held.enter_context(self._engine.place())
            async with asyncio.timeout_at(deadline):
                form = await held.enter_async_context(received(request, self._limits.max_bytes))
                asked = api.parse(form.fields)
                inbox = Inbox(request)
                on_segment = inbox.segment if asked.stream else None
                job = self._engine.submit(form.path, self._options(asked), on_segment)
                held.callback(job.cancel)
                job.result.add_done_callback(inbox.end)
                if await inbox.begun():  # from now on errors are sent as events
                    said = self._streamed(asked, job, inbox.segments(deadline))
                    return Stream(held.pop_all(), said, deadline)
            transcript = await self._result(asked, job)
        return _respond(asked, transcript)

    def known(self, name: str) -> Served:
        """The model of that name."""
        if name not in self._models:
            message = (
                f"no model {name!r}; expected one of {', '.join(self._models)}, or another name "
                "given to the server with --alias NAME=MODEL"
            )
            raise ApiError(404, message, "model_not_found", "model")
        return self._models[name]

    def _options(self, asked: Asked) -> TranscribeOptions:
        """The options for a request."""
        options = self.known(asked.model).options
        if asked.words and not self._engine.tells_words:
            message = "this model has no CTC head to tell when a word is said; expected 'segment'"
            raise ApiError(400, message, "unsupported_parameter", "timestamp_granularities")
        biasing = BiasingList(asked.phrases) if asked.phrases else None
        return replace(options, biasing=biasing, word_timestamps=asked.words)

    async def _result(self, asked: Asked, job: Job) -> Transcript:
        transcript = await asyncio.wrap_future(job.result)
        self._metrics.heard(asked.model, transcript.duration)
        return transcript

    async def _streamed(self, asked: Asked, job: Job, segments: AsyncIterator[Segment]) -> Events:
        """Events for each segment; the last has the full text, or an error."""
        terms, number = self.known(asked.model).terms, 0
        try:
            async for segment in segments:
                for content in api.events(asked, number, segment, terms):
                    yield content
                number += 1
            yield api.done(asked, await self._result(asked, job))
        except ClientDisconnect:
            return
        except Exception as error:
            yield api_error(error).body


def _respond(asked: Asked, transcript: Transcript) -> Response:
    if asked.stream:
        return Response(as_event(api.done(asked, transcript)) + END, media_type=EVENTS)
    body = api.body(asked, transcript)
    return PlainTextResponse(body) if isinstance(body, str) else JSONResponse(body)
