"""The web page at ``/``: three files from this server that load nothing else."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

PATHS = {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}
"""The files and their media types."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

router = APIRouter()


def _add(path: str, media_type: str) -> None:
    name = path.removeprefix("/") or "index.html"
    content = (resources.files("asr_llm.serving") / "web" / name).read_bytes()

    @router.get(path)
    async def get() -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)


for _path, _media_type in PATHS.items():
    _add(_path, _media_type)
