"""Access control: API keys, and the origins that browsers may send requests from."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from asr_llm.errors import ServerError
from asr_llm.serving.api import ApiError

_MOST_BYTES = 1_000_000


def read_keys(path: Path) -> tuple[str, ...]:
    """Read API keys from a file, one per line; blank lines and comments (``# ``) are skipped.

    Raises:
        ServerError: it cannot be read, has no key, or a key that no header can hold. The message
            never contains a key.
    """
    expected = "expected a key on each line; make one with: openssl rand -hex 32"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        lines = content.decode("utf-8-sig").replace("\r", "\n").split("\n")
    except OSError as error:
        raise ServerError(f"{path}: cannot be read ({error.strerror}); {expected}") from error
    except UnicodeDecodeError as error:
        raise ServerError(f"{path}: no text; {expected}") from error
    if len(content) > _MOST_BYTES:
        raise ServerError(f"{path}: larger than 1 MB; {expected}")
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("# ")]
    for number, key in enumerate(keys, start=1):
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ServerError(
                f"{path}: key {number} has spaces, or characters that are not ASCII; {expected}"
            )
    if not keys:
        raise ServerError(f"{path}: no key in it; {expected}")
    return tuple(dict.fromkeys(keys))


def parse_origin(given: str) -> str:
    """Parse an origin as browsers send it: ``https://example.org``, with a port if any.

    Raises:
        ServerError: it is not an origin.
    """
    if given == "*":
        return given
    try:
        parts = urlsplit(given)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:  # invalid port
        parts, port = urlsplit(""), ""
    whole = f"{parts.scheme}://{parts.netloc}".lower()
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        whole = ""
    if not whole or given.lower().rstrip("/") != whole:
        raise ServerError(
            f"--cors-origin is {given!r}; expected the scheme, host and port of a web page, such "
            "as https://example.org or http://localhost:3000, or '*' for every page"
        )
    default = {"http": ":80", "https": ":443"}[parts.scheme]
    return whole.removesuffix(port) if port == default else whole


class Locked:
    """Admits requests with one of the keys, as ``Authorization: Bearer KEY``.

    Args:
        unlocked: paths that need no key.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str], unlocked: Collection[str]) -> None:
        self._app, self._unlocked = app, unlocked
        self._keys = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise ApiError, before the body is read, unless the key is known."""
        if scope["type"] == "http" and scope["path"] not in self._unlocked:
            kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not self._known(key.strip()):
                message = "unknown API key; expected the header 'Authorization: Bearer KEY'"
                raise ApiError(401, message, "invalid_api_key")
        await self._app(scope, receive, send)

    def _known(self, key: str) -> bool:
        """Constant-time check: every key is compared in full."""
        given = _digest(key.encode())
        return sum(hmac.compare_digest(given, own) for own in self._keys) > 0


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()
