"""Reports files of a domain folder that are not read, so that nothing is skipped silently."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from asr_llm.corpus.recordings.audio_kinds import SUFFIXES
from asr_llm.corpus.recordings.manifests import LAYOUTS
from asr_llm.corpus.text.lines import Problem
from asr_llm.errors import number_of

SPLITS = ("train", "dev", "test")
_FILES = ("domain.yaml", "text.txt", "templates.yaml", "entities.jsonl")
_FOLDERS = ("terms", *SPLITS)
_DOCUMENTS = ("readme", "license", "licence", "notice", "changelog", "citation")
_NAMED = 5  # files named in a message; the rest are counted


def name_problems(folder: Path) -> list[Problem]:
    """Entries of a domain folder that are of the wrong kind, or of no known name."""
    return [
        problem for entry in _visible(folder.iterdir()) if (problem := _problem_of(folder, entry))
    ]


def _problem_of(folder: Path, entry: Path) -> Problem | None:
    if entry.name in _FOLDERS:
        if entry.is_dir():
            return None
        return Problem(str(entry), None, "error", "a file; expected a folder", "move it away")
    if entry.name in _FILES:
        return None  # read, and reported there
    near = difflib.get_close_matches(entry.name.lower(), [*_FILES, *_FOLDERS], n=1, cutoff=0.8)
    stem = entry.name.lower().split(".")[0]
    if not near:
        near = [name for name in _FILES if name.split(".")[0] == stem]
    fix = f"did you mean {near[0]!r}?" if near else "remove it if it is not meant to be read"
    return Problem(str(entry), None, "warning", "unknown name, ignored", fix)


def split_problems(folder: Path, listed: Iterable[Path]) -> list[Problem]:
    """Files of ``train``, ``dev`` or ``test`` that are neither read nor audio."""
    if not folder.is_dir():
        return []
    known = {"text.txt", *LAYOUTS}
    audio = set(listed)
    left = [
        path
        for path in _visible(folder.rglob("*"))
        if path.suffix.lower() not in SUFFIXES
        and not (path.parent == folder and path.name in known)
        and not path.name.endswith((".aligned.jsonl.gz", ".aligned.ctm", ".aligned.TextGrid"))
        and path.absolute() not in audio
        and not path.is_dir()
    ]
    if not left:
        return []
    message = f"{number_of(len(left), 'file')} not read ({named([path.name for path in left])})"
    fix = f"expected text.txt, audio, and one of {', '.join(LAYOUTS)}"
    return [Problem(str(folder), None, "warning", message, fix)]


def audio_of(folder: Path) -> set[Path]:
    """The recordings in a folder and its subfolders."""
    found = folder.rglob("*") if folder.is_dir() else ()
    return {p.absolute() for p in _visible(found) if p.suffix.lower() in SUFFIXES}


def named(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _visible(entries: Iterable[Path]) -> list[Path]:
    """Without the files that editors, systems and authors leave next to data."""
    hidden = (".", "~$")
    return sorted(
        path
        for path in entries
        if not path.name.startswith(hidden) and not path.name.lower().startswith(_DOCUMENTS)
    )
