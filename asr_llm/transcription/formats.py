"""Transcripts as text or JSON, and into files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asr_llm import __version__
from asr_llm.errors import RunError
from asr_llm.transcription.transcript import Segment, Transcript

FORMATS = ("txt", "json")
"""Names of the formats, which are the files' extensions too."""


def render(transcript: Transcript, fmt: str) -> str:
    """A transcript in one of ``FORMATS``, ending in a new line.

    Raises:
        RunError: there is no such format.
    """
    check_format(fmt)
    return to_txt(transcript) if fmt == "txt" else to_json(transcript)


def to_txt(transcript: Transcript) -> str:
    """The text in one line."""
    return transcript.text + "\n"


def to_json(transcript: Transcript) -> str:
    """JSON with the keys whisper uses, the times in seconds, and what made the text."""
    content = {
        "text": transcript.text,
        "segments": [
            {"id": i} | _segment(segment) for i, segment in enumerate(transcript.segments)
        ],
        "language": "en",
        "duration": transcript.duration,
        "model": {"name": transcript.model, "asr_llm": __version__},
        "adapter": transcript.adapter,
        "note": transcript.note,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _segment(segment: Segment) -> dict[str, Any]:
    """Times, text, and what else is known; words as whisper has them."""
    found: dict[str, Any] = {"start": segment.start, "end": segment.end, "text": segment.text}
    if segment.confidence is not None:
        found["confidence"] = segment.confidence
    if segment.words:
        found["words"] = [
            {"word": w.text, "start": w.start, "end": w.end, "confidence": w.confidence}
            for w in segment.words
        ]
    return found


def check_format(fmt: str) -> None:
    """Refuse a format that is none of ``FORMATS``.

    Raises:
        RunError: there is no such format.
    """
    if fmt not in FORMATS:
        raise RunError(f"no output format {fmt!r}; expected one of {', '.join(FORMATS)}")


def check_names(paths: Iterable[str | Path], fmt: str) -> None:
    """Refuse inputs whose transcripts would overwrite each other, before any is made.

    Names that differ only in case count as the same, as they do on many disks.

    Raises:
        RunError: two inputs would be written to the same file, or there is no such format.
    """
    check_format(fmt)
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        name = file_name(path, fmt)
        other = seen.setdefault(name.casefold(), path)
        if other is not path:
            raise RunError(
                f"{other} and {path} would both be written to {name}; "
                "expected inputs of different names: rename one, or use a folder for each"
            )


def file_name(path: Path, fmt: str) -> str:
    """``talk.mp3`` becomes ``talk.txt``."""
    return f"{path.stem}.{fmt}"


def write(transcript: Transcript, fmt: str, folder: str | Path) -> Path:
    """Write ``<name of the audio>.<fmt>`` into a folder, whole or not at all.

    Raises:
        RunError: it cannot be written, or there is no such format.
    """
    content = render(transcript, fmt)
    target = Path(folder) / file_name(transcript.path, fmt)
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(content, "utf-8")
        os.replace(part, target)
    except OSError as error:
        raise RunError(
            f"{target}: cannot be written ({error.strerror}); "
            "check the folder and its free space, or choose another with -o"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return target
