"""Error responses, and the request log.

The log has route, status and time: nothing of the request's content.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_llm.errors import AudioError
from asr_llm.serving.api import ApiError
from asr_llm.serving.engine import BusyError, StoppingError, TooLongError
from asr_llm.serving.metrics import Metrics

_RETRY_SECONDS = 2
_GONE = 499  # status in the log if the client disconnected

Log = Callable[[str], None]


def api_error(error: Exception) -> ApiError:
    """Error response for an exception; internal errors reveal no details."""
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
            message = "the request timed out; send shorter audio, or try again later"
            return ApiError(504, message, "timeout")
    return ApiError(500, "internal server error; see the server's log", "internal_error")


def _without_path(message: str) -> str:
    """Strip the path from ``path: what is wrong``, because it is the server's own."""
    return message.partition(": ")[2]


def _answer(error: ApiError) -> Response:
    headers = {} if error.retry is None else {"retry-after": str(error.retry)}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.body, error.status, headers)


async def refused(request: Request, error: Exception) -> Response:
    """Respond to unknown paths and methods that are not allowed."""
    assert isinstance(error, HTTPException)
    return _answer(ApiError(error.status_code, error.detail.lower(), "not_found"))


class Guard:
    """Answers every error; logs and counts every request without user content."""

    def __init__(self, app: ASGIApp, log: Log, metrics: Metrics) -> None:
        self._app, self._log, self._metrics = app, log, metrics

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
            answer = api_error(error)
            if answer.status == 500:
                self._log(f"error: unexpected {type(error).__name__}")
            if not status:
                await _answer(answer)(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        what = f"{scope['method']} {route}" if route else "no such route"
        self._log(f"{what} {status} {seconds:.2f} s")
        self._metrics.answered(route or "none", status, seconds)
