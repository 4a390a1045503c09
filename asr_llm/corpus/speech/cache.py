"""The user's cache: everything in it can be regenerated.

Each kind of content (``spoken``, ``voices``, ``models``) has its own folder, with the tag of
https://bford.info/cachedir, so that backup tools skip it and ``clear`` deletes nothing else. The
content is derived from the user's text, so only the user can read it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from asr_llm.errors import AsrLlmError

VOICES = "voices"
"""Piper voices added by the user: ``clear`` keeps them unless named."""

MODELS = "models"
"""Composed models, which needed downloads: kept as well."""

_TAG = "CACHEDIR.TAG"
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of asr-llm.\n"


@dataclass(frozen=True)
class Entry:
    """The cached content of one kind: number of files, and their size in bytes."""

    kind: str
    count: int
    bytes: int


def folder(kind: str | None = None) -> Path:
    """The cache, or its folder for one kind; created if missing, with mode 0700.

    It is ``$ASR_LLM_CACHE``, else ``$XDG_CACHE_HOME/asr_llm``, else ``~/.cache/asr_llm``.

    Raises:
        AsrLlmError: the folder cannot be created.
    """
    path = location(kind)
    try:
        root = location()
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        if kind is not None and not (path / _TAG).exists():
            (path / _TAG).write_text(_SIGNATURE, "utf-8")
    except OSError as error:
        raise AsrLlmError(
            f"{path}: cannot make this cache folder ({error.strerror}); "
            "set ASR_LLM_CACHE to a folder that you may write to"
        ) from error
    return path


def location(kind: str | None = None) -> Path:
    """The path of ``folder(kind)``, without creating it."""
    home = os.environ.get("ASR_LLM_CACHE")
    if not home:
        caches = os.environ.get("XDG_CACHE_HOME")
        home = os.path.join(caches or "~/.cache", "asr_llm")
    path = Path(home).expanduser().absolute()
    return path if kind is None else path / kind


def entries() -> list[Entry]:
    """The cached kinds, in alphabetical order."""
    found = []
    for path in _kinds():
        files = [file for file in path.rglob("*") if file.is_file() and file != path / _TAG]
        found.append(Entry(path.name, len(files), sum(file.stat().st_size for file in files)))
    return found


def clear(kind: str | None = None) -> list[Entry]:
    """Delete one kind, or all except ``VOICES`` and ``MODELS``; return what was deleted.

    Raises:
        AsrLlmError: there is no such kind, or a file cannot be deleted.
    """
    present = entries()
    spared = (VOICES, MODELS)
    chosen = [e for e in present if (e.kind not in spared if kind is None else e.kind == kind)]
    if kind is not None and not chosen:
        known = ", ".join(entry.kind for entry in present) or "nothing"
        raise AsrLlmError(f"{location()}: nothing of kind {kind!r} is cached; there is: {known}")
    for entry in chosen:
        try:
            shutil.rmtree(location(entry.kind))
        except OSError as error:
            raise AsrLlmError(
                f"{error.filename}: cannot be deleted ({error.strerror}); delete it yourself"
            ) from error
    return chosen


def _kinds() -> list[Path]:
    root = location()
    if not root.is_dir():
        return []
    # A link is not ours: we make folders.
    return [p for p in sorted(root.iterdir()) if not p.is_symlink() and (p / _TAG).is_file()]
