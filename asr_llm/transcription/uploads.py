"""Forms that clients send, with a file in them. Needs the extra ``serve``."""

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
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from asr_llm.transcription.api import ApiError

_MOST_FIELDS = 1000


@dataclass(frozen=True)
class Form:
    """What a request brought; ``path`` is a file of ours."""

    fields: list[tuple[str, str]]
    path: Path


@asynccontextmanager
async def received(request: Request, max_bytes: int) -> AsyncIterator[Form]:
    """The form of a request, with its file in one that no other user can read, for as long.

    Raises:
        ApiError: it is no form, has no file or several, or more than ``max_bytes``.
        ClientDisconnect: whoever sent it was gone before it was there.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(400, "the body is no form; expected multipart/form-data", "invalid_body")
    stream = _limited(request, max_bytes)
    parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=_MOST_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the form cannot be read: {error.message}", "invalid_body") from None
    handle, name = tempfile.mkstemp(prefix="asr-llm-")  # for the user's own eyes
    try:
        with os.fdopen(handle, "wb") as target:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            upload = form.get("file")
            if not isinstance(upload, UploadFile) or len(files) > 1:
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


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body, as far as it may go."""
    too_large = ApiError(
        413,
        f"the upload is larger than {max_bytes / 1e6:g} MB; expected less: send it as flac or "
        "mp3, or in parts",
        "file_too_large",
        "file",
    )
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > max_bytes:
        raise too_large
    so_far = 0
    async for chunk in request.stream():
        so_far += len(chunk)
        if so_far > max_bytes:
            raise too_large
        yield chunk
