"""Imports word times: CTM, Praat's TextGrid (Montreal Forced Aligner), Lhotse."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from asr_llm.corpus.recordings.alignment import Alignment, Unaligned, word_items
from asr_llm.corpus.speech.synthesis import Word
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.errors import DomainError, number_of
from asr_llm.text_files import TextFileError, ids_of, is_pipe, read_lines

_SLACK = 0.05  # seconds by which rounded times may overlap
_KINDS = "a .ctm, a .TextGrid or a folder of them, or Lhotse cuts (.jsonl, .jsonl.gz)"
_NOT_WORDS = {"", "sil", "sp", "spn", "<eps>", "<sil>"}


@dataclass(frozen=True)
class TimedWord(Word):
    """An imported word with times, and its confidence if given."""

    score: float | None = None


Timings = dict[str, list[TimedWord]]


def read_timings(path: str | Path) -> Timings:
    """Words in order of time, seconds from the start of their recording, by its name.

    Raises:
        DomainError: there is nothing at ``path``, or it is malformed; file and line are named.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file() and not is_pipe(path):
        raise DomainError(f"{path}: not found; expected {_KINDS}")
    return _read_file(path)


def _read_folder(folder: Path) -> Timings:
    """Names have as many folders as tell the recordings apart."""
    files = [path for path in folder.rglob("*") if path.suffix.lower() in (".textgrid", ".ctm")]
    if not files:
        raise DomainError(f"{folder}: no .TextGrid or .ctm in this folder; expected {_KINDS}")
    grids = [path for path in sorted(files) if path.suffix.lower() == ".textgrid"]
    names = ids_of(str(path.relative_to(folder)) for path in grids)
    found = {names[str(path.relative_to(folder))]: _read_textgrid(path) for path in grids}
    for path in sorted(set(files) - set(grids)):
        for name, words in _read_ctm(path).items():
            if name in found:
                raise DomainError(f"{path}: times {name} a second time; expected one of the two")
            found[name] = words
    return found


def _read_file(path: Path) -> Timings:
    if path.suffix.lower() == ".textgrid":
        return {path.stem: _read_textgrid(path)}
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_lhotse(path)
    if path.suffix.lower() == ".ctm" or is_pipe(path):
        return _read_ctm(path)
    raise DomainError(f"{path}: unknown kind of file; expected {_KINDS}")


def times_of(timings: Timings, source: str) -> list[TimedWord] | None:
    """The words of a recording by its path, matched by as many parts as the timings name."""
    parts = PurePath(source).with_suffix("").parts
    names = ("/".join(parts[i:]) for i in range(len(parts)))
    return next((timings[name] for name in names if name in timings), None)


def match(text: str, words: Iterable[TimedWord]) -> Alignment | Unaligned:
    """Transfer imported times to the words of a transcript.

    Words are compared without case and punctuation; the transcript's spelling is kept. A silent
    word ("—") is placed at the end of the previous one.
    """
    timed = [word for word in words if normalize(word.text, "basic")]
    matched: list[Word] = []
    scores: list[float | None] = []
    upcoming = iter(timed)
    for number, written in enumerate(text.split(), start=1):
        if not normalize(written, "basic"):
            end = matched[-1].end if matched else 0.0
            matched.append(Word(written, end, end))
            scores.append(None)
            continue
        found = next(upcoming, None)
        if found is None or normalize(found.text, "basic") != normalize(written, "basic"):
            return Unaligned(f"word {number} of the transcript is not the one that is timed there")
        earliest = matched[-1].end if matched else 0.0
        if found.start < earliest - _SLACK:
            return Unaligned(f"word {number} begins before the one before it has ended")
        start = max(found.start, earliest)
        matched.append(Word(written, start, max(start, found.end)))
        scores.append(found.score)
    if left := sum(1 for _ in upcoming):
        return Unaligned(f"{left} timed words more than the transcript has")
    if not matched:
        return Unaligned("no words")
    return Alignment(tuple(matched), None, tuple(scores))


def _read_ctm(path: Path) -> Timings:
    """``recording channel start duration word [confidence]``; ``;;`` begins a comment."""
    found: Timings = {}
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            recording, _, *times, word = fields[:5]
            start, duration = map(float, times)
            if not (0 <= start < math.inf and 0 <= duration < math.inf):
                raise ValueError
        except ValueError as error:
            raise DomainError(
                f"{path}:{number}: expected 'recording channel start duration word [confidence]', "
                f"times in seconds from 0; "
                f"found {number_of(len(fields), 'column')}, or a time that is not a number"
            ) from error
        if word.lower() not in _NOT_WORDS:
            timed = TimedWord(word, start, start + duration, _score(fields[5:6]))
            found.setdefault(recording, []).append(timed)
    return {name: sorted(words, key=lambda word: word.start) for name, words in found.items()}


def _score(field: list[str]) -> float | None:
    """A confidence, which a CTM may leave out or write as NA."""
    try:
        score = float(*field)
    except ValueError:
        return None
    return score if field and math.isfinite(score) else None


def _read_textgrid(path: Path) -> list[TimedWord]:
    """The one tier of words, in any encoding that Praat writes."""
    from praatio.utilities import textgrid_io
    from praatio.utilities.errors import PraatioException

    try:
        text = "\n".join([*_lines(path), ""])  # an interval ends with its line
        tiers = textgrid_io.parseTextgridStr(text, includeEmptyIntervals=False)
        found = {
            str(tier["name"]): [
                TimedWord(str(label), float(start), float(end))
                for start, end, label in tier["entries"]
            ]
            for tier in tiers["tiers"]
            if tier["class"] == "IntervalTier"
        }
    except (PraatioException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DomainError(f"{path}: cannot be read as a TextGrid ({error!r})") from error
    names = [name for name in found if "word" in name.lower()]
    if len(names) != 1:
        raise DomainError(
            f"{path}: expected one tier with 'word' in its name; found {', '.join(found)}"
        )
    words = [word for word in found[names[0]] if word.text.lower() not in _NOT_WORDS]
    for word in words:
        if not 0 <= word.start <= word.end < math.inf:
            raise DomainError(f"{path}: a word from {word.start:g} to {word.end:g} s; fix it")
    return words


def _lines(path: Path) -> list[str]:
    """Those of a text.

    Raises:
        DomainError: it is none; file and line are named.
    """
    try:
        return read_lines(path)
    except TextFileError as error:
        raise DomainError(str(error)) from error


def _read_lhotse(path: Path) -> Timings:
    from asr_llm.corpus.recordings.importers import read_manifest

    found: Timings = {}
    for cut in read_manifest(path):
        words = [
            TimedWord(item.symbol, cut.start + item.start, cut.start + item.end, item.score)
            for item in word_items(cut)
        ]
        found.setdefault(cut.recording_id, []).extend(words)
    return found
