"""Streamed responses as server-sent events. Needs the extra ``serve``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any, TypeAlias, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from asr_llm.transcription.transcript import Segment

EVENTS = "text/event-stream"
END = "data: [DONE]\n\n"
_TO_READ = 10.0  # seconds to fetch the last events

T = TypeVar("T")
Events: TypeAlias = "AsyncGenerator[dict[str, Any], None]"


def as_event(content: dict[str, Any]) -> str:
    """A server-sent event with that content."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


class Inbox:
    """Passes final segments and the end from engine threads to a coroutine.

    Raises:
        ClientDisconnect: the client disconnected before the first one.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Segment | None] = asyncio.Queue()
        self._first: Segment | None = None

    def segment(self, segment: Segment) -> None:
        """Add a final segment; from any thread."""
        self._put(segment)

    def end(self, _: object) -> None:
        """Signal the end; from any thread."""
        self._put(None)

    async def begun(self) -> bool:
        """Wait for the first segment; False if there is none."""
        self._first = await self._next()
        return self._first is not None

    async def segments(self, deadline: float) -> AsyncGenerator[Segment, None]:
        """All segments after ``begun``, until the end.

        Raises:
            TimeoutError: ``deadline``, in the loop's time, came first.
        """
        segment = self._first
        while segment is not None:
            yield segment
            async with asyncio.timeout_at(deadline):
                segment = await self._next()

    async def _next(self) -> Segment | None:
        return await _unless_gone(self._request, self._queue.get())

    def _put(self, segment: Segment | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._queue.put_nowait, segment)


class Stream(StreamingResponse):
    """Sends events, and releases their resources when they end, however they end."""

    def __init__(self, held: AsyncExitStack, events: Events, deadline: float) -> None:
        self._lines = _lines(events)
        super().__init__(self._lines, media_type=EVENTS, headers={"cache-control": "no-cache"})
        self._held, self._events, self._deadline = held, events, deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held, aclosing(self._events), aclosing(self._lines):
            async with asyncio.timeout_at(
                self._deadline + _TO_READ
            ):  # for a client that does not read
                await super().__call__(scope, receive, send)


async def _lines(events: Events) -> AsyncGenerator[str, None]:
    async for content in events:
        yield as_event(content)
    yield END


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
