"""Uploads: multipart forms with a file. Needs the extra ``serve``."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from asr_llm.serving.api import ApiError

_MOST_FIELDS = 1000
_MOST_TEXT = 1_000_000  # bytes of all fields except the file, which are held in memory
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1")
_PATIENCE = 20.0  # longest pause of a client, in seconds
_SLOWEST = 1000.0  # bytes per second; a phone call in Opus has three times as many


@dataclass(frozen=True)
class Form:
    """The fields of a request; ``path`` is our temporary file."""

    fields: list[tuple[str, str]]
    path: Path


@asynccontextmanager
async def received(request: Request, max_bytes: int) -> AsyncIterator[Form]:
    """Parse a request's form; its file is private to this user and deleted at the end.

    Raises:
        ApiError: it is not a form, has no file or several, exceeds ``max_bytes``, or comes too
            slowly.
        ClientDisconnect: the client disconnected before it was complete.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise ApiError(400, "the body is not a form; expected multipart/form-data", "invalid_body")
    if options.get(b"charset", b"utf-8").lower() not in _CHARSETS:  # some take hours to decode
        raise ApiError(400, "the form's charset is not known; expected utf-8", "invalid_body")
    parser = _Parser(
        request.headers, _limited(request, max_bytes), max_files=1, max_fields=_MOST_FIELDS
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the form cannot be read: {error.message}", "invalid_body") from None
    handle, name = tempfile.mkstemp(prefix="asr-llm-")  # readable only by this user
    try:
        with os.fdopen(handle, "wb") as target:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            upload = form.get("file")
            unnamed = isinstance(upload, UploadFile) and not (upload.filename or upload.size)
            if not isinstance(upload, UploadFile) or unnamed or len(files) > 1:
                raise ApiError(
                    400,
                    "file is missing; expected an audio file in the field 'file'",
                    "missing_required_parameter",
                    "file",
                )
            await asyncio.to_thread(_copy, upload.file, target)
        fields = [(key, value) for key, value in form.multi_items() if isinstance(value, str)]
        yield Form(fields, Path(name))
    finally:
        with suppress(OSError):
            os.unlink(name)
        await form.close()


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target)


class _Parser(MultiPartParser):
    """Starlette's parser, with a limit on what is held in memory."""

    text_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self.text_bytes += end - start
            if self.text_bytes > _MOST_TEXT:
                raise MultiPartException(
                    f"its text is longer than {_MOST_TEXT / 1e6:g} MB; expected the audio as a "
                    "file, with a filename"
                )
        super().on_part_data(data, start, end)


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body, with limits on its size and speed."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and float(told) > max_bytes:
        raise _too_large(max_bytes)
    loop, chunks = asyncio.get_running_loop(), request.stream()
    begun, so_far = loop.time(), 0
    while True:
        latest = min(begun + so_far / _SLOWEST, loop.time()) + _PATIENCE
        try:
            async with asyncio.timeout_at(latest):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise _too_slow(so_far, loop.time() - begun) from None
        if chunk is None:
            return
        so_far += len(chunk)
        if so_far > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> ApiError:
    message = (
        f"the upload is larger than {max_bytes / 1e6:g} MB; expected less: send it as flac or "
        "mp3, or in parts"
    )
    return ApiError(413, message, "file_too_large", "file")


def _too_slow(so_far: int, seconds: float) -> ApiError:
    message = (
        f"the upload is too slow: {so_far} bytes came in {seconds:.0f} s; expected at least "
        f"{_SLOWEST:g} a second and no pause of {_PATIENCE:g} s: try again over a faster "
        "connection, or send a smaller file"
    )
    return ApiError(408, message, "upload_too_slow", "file")
