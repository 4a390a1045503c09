"""Transcripts as text: one writer for each format, a pure function.

========  ==============================================================================
``txt``   a line for each segment, as whisper writes it
``srt``   SubRip subtitles
``vtt``   WebVTT subtitles (https://www.w3.org/TR/webvtt1/)
``tsv``   whisper's: start, end, text; whole milliseconds
``json``  whisper's keys and more, in one line, so that several files are JSON lines
``ctm``   NIST's timed words: recording channel start duration word [confidence]
``trn``   NIST's text (recording)
``rttm``  NIST's who speaks when; of separate channels only, and no part of ``all``
========  ==============================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asr_llm.errors import RunError
from asr_llm.files import printable
from asr_llm.transcription.subtitles import Cue, Layout, cues, one_line
from asr_llm.transcription.transcript import Segment, Transcript, Word
from asr_llm.version import __version__

ALL = "all"
"""Stands for every format; ``ctm`` is left out where words have no times."""

_ONE_EACH = ("srt", "vtt", "tsv")  # a file of these holds one transcript


def parse(asked: Iterable[str]) -> tuple[str, ...]:
    """The formats of ``-f srt,vtt -f json``, each once; ``all`` is every one of ``FORMATS``.

    Raises:
        RunError: there is no such format.
    """
    names = _names(asked)
    for name in names:
        if name != ALL and name not in _WRITERS and name not in _SUBTITLES:
            expected = ", ".join((*FORMATS, "rttm", ALL))
            raise RunError(f"no output format {name!r}; expected one of {expected}")
    if ALL in names:
        names = [*FORMATS, *(name for name in names if name != ALL)]
    return tuple(dict.fromkeys(names))


def are_all(asked: Iterable[str]) -> bool:
    """Whether ``all`` is among what was asked for: then what is not possible is left out."""
    return ALL in _names(asked)


def _names(asked: Iterable[str]) -> list[str]:
    return [name.strip().lower() for some in asked for name in some.split(",")]


def check_printable(formats: tuple[str, ...], count: int) -> None:
    """Refuse what cannot be told apart on stdout: several formats, or several subtitle files.

    Args:
        count: how many transcripts will be printed.

    Raises:
        RunError: it cannot.
    """
    if len(formats) > 1:
        raise RunError(
            f"{len(formats)} formats ({', '.join(formats)}) cannot be printed together; "
            "give one, or a folder with -o DIR"
        )
    if count > 1 and formats[0] in _ONE_EACH:
        raise RunError(
            f"{count} transcripts as {formats[0]} cannot be printed together; give a "
            "folder with -o DIR"
        )


def render(transcript: Transcript, fmt: str, layout: Layout | None = None) -> str:
    """A transcript in one of ``FORMATS``.

    Args:
        layout: of subtitles.

    Raises:
        RunError: it is to be a ``ctm`` and words have no times, or an ``rttm`` and nothing tells
            speakers apart.
    """
    if fmt in _SUBTITLES:
        return _SUBTITLES[fmt](cues(transcript, layout))
    return _WRITERS[fmt](transcript)


def printed(transcript: Transcript, fmt: str, layout: Layout, *, several: bool) -> str:
    """As ``render``; of ``several``, plain text is one line with the audio's name before it.

    Raises:
        RunError: as ``render``.
    """
    if several and fmt == "txt":
        return f"{printable(transcript.path)}: {one_line(transcript.text)}\n"
    return render(transcript, fmt, layout)


def render_each(
    transcript: Transcript, formats: Iterable[str], layout: Layout | None = None
) -> tuple[dict[str, str | None], RunError | None]:
    """A transcript in several formats; None in place of one it does not allow, and why."""
    texts: dict[str, str | None] = {}
    problem = None
    for fmt in formats:
        try:
            texts[fmt] = render(transcript, fmt, layout)
        except RunError as error:
            texts[fmt], problem = None, error
    return texts, problem


def to_txt(transcript: Transcript) -> str:
    """A line for each segment."""
    return "".join(map(txt_line, transcript.segments))


def txt_line(segment: Segment) -> str:
    """What a segment is in plain text, after its speaker where there are several."""
    return _named(segment.speaker, one_line(segment.text)) + "\n"


def _named(speaker: str | None, text: str) -> str:
    return text if speaker is None else f"{speaker}: {text}"


def to_tsv(transcript: Transcript) -> str:
    """A header, then start and end in whole milliseconds and the text of each segment."""
    rows = ["start\tend\ttext"]
    for segment in transcript.segments:
        times = (round(1000 * segment.start), round(1000 * segment.end))
        rows.append("\t".join((*map(str, times), one_line(segment.text))))
    return "".join(row + "\n" for row in rows)


def to_srt(shown: Iterable[Cue]) -> str:
    """Cues as SubRip; an arrow in the text is shortened, as by whisper: it has no escapes."""
    blocks = []
    for number, cue in enumerate(shown, start=1):
        text = _named(cue.speaker, "\n".join(cue.lines)).replace("-->", "->")
        blocks.append(f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def to_vtt(shown: Iterable[Cue]) -> str:
    """Cues as WebVTT, with its escapes, and speakers as its voices."""
    blocks = ["WEBVTT\n"]
    for cue in shown:
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        voice = "" if cue.speaker is None else f"<v {cue.speaker}>"
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{voice}{text}\n")
    return "\n".join(blocks)


def to_json(transcript: Transcript) -> str:
    """One line of JSON with whisper's keys, times in seconds, and what made the text.

    By its ``id`` a transcript meets its reference in ``asr-llm score``. Keys are there whether
    or not something is known; if not, they are null or an empty list.
    """
    adapter = {"name": transcript.adapter, "sha256": transcript.adapter_sha256}
    content = {
        "id": printable(transcript.path.stem),
        "path": printable(transcript.path),
        "text": transcript.text,
        "segments": [_segment(i, segment) for i, segment in enumerate(transcript.segments)],
        "language": "en",
        "duration": transcript.duration,
        "model": {
            "name": transcript.model,
            "sha256": transcript.model_sha256,
            "asr_llm": __version__,
        },
        "adapter": None if transcript.adapter is None else adapter,
        "note": transcript.note,
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "words": [
            {"word": w.text, "start": w.start, "end": w.end, "probability": w.confidence}
            for w in segment.words
        ],
        "confidence": segment.confidence,
        "guards": [{"found": guard.found, "done": guard.done} for guard in segment.guards],
        "speaker": segment.speaker,
    }


def to_ctm(transcript: Transcript) -> str:
    """A line for each word: recording, channel, start, duration, word, and its confidence.

    The channel is 1 where channels were mixed; one channel comes after the other, as sclite wants
    it. The format has no escapes: what it would take for a comment, for an alternative or for an
    optional word is left out of the words.

    Raises:
        RunError: the words of a segment have no times.
    """
    recording = _id(transcript)
    words: list[tuple[int, Word]] = []
    for segment in transcript.segments:
        if segment.text.strip() and not segment.words:
            raise RunError(
                f"{transcript.path}: no ctm: the words at {segment.start:.1f} to "
                f"{segment.end:.1f} s have no times; get them with --word-timestamps"
            )
        words += [(segment.channel or 1, word) for word in segment.words]
    confident = all(word.confidence is not None for _, word in words)
    rows = []
    for channel, word in sorted(words, key=lambda both: both[0]):
        # A word that was written with a space in it is one word all the same.
        text = "_".join(_nist(word.text))
        if text:
            times = f"{word.start:.3f} {max(0.0, word.end - word.start):.3f}"
            row = f"{recording} {channel} {times} {text}"
            rows.append(f"{row} {word.confidence:.3f}\n" if confident else f"{row}\n")
    return "".join(rows)


def to_rttm(transcript: Transcript) -> str:
    """A line for each segment: recording, channel, start, duration, and who speaks.

    Raises:
        RunError: nothing tells speakers apart.
    """
    recording, rows = _id(transcript), []
    for segment in transcript.segments:
        if segment.speaker is None:
            raise RunError(
                f"{transcript.path}: no rttm: the speakers are unknown; it needs a "
                "recording with one speaker per channel, and --channels separate"
            )
        times = f"{segment.start:.3f} {max(0.0, segment.end - segment.start):.3f}"
        rows.append(
            f"SPEAKER {recording} {segment.channel or 1} {times} <NA> <NA> {segment.speaker} "
            "<NA> <NA>\n"
        )
    return "".join(rows)


def to_trn(transcript: Transcript) -> str:
    """The text and, in brackets, the recording; as in ``to_ctm`` there are no escapes."""
    return " ".join([*_nist(transcript.text), f"({_id(transcript)})"]) + "\n"


def _nist(text: str) -> Iterator[str]:
    """Words without what NIST's formats read as their own: ``(word)``, ``{a / b}``, ``;;``."""
    for word in one_line(text).split():
        plain = re.sub(r"[(){}<>]", "", re.sub(";{2,}", ";", word))
        if plain not in ("", "@", "/"):
            yield plain


def _id(transcript: Transcript) -> str:
    """The name of the audio, without what would end an id."""
    return re.sub(r"[\s(){}<>;]+", "_", printable(transcript.path.stem))


def _clock(ms: int, mark: str) -> str:
    """Hours, minutes, seconds; ``mark`` stands before the milliseconds."""
    seconds, rest = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"


_SUBTITLES: dict[str, Callable[[Iterable[Cue]], str]] = {"srt": to_srt, "vtt": to_vtt}
_WRITERS: dict[str, Callable[[Transcript], str]] = {
    "txt": to_txt,
    "tsv": to_tsv,
    "json": to_json,
    "ctm": to_ctm,
    "trn": to_trn,
    "rttm": to_rttm,
}
FORMATS = ("txt", "srt", "vtt", "tsv", "json", "ctm", "trn")
"""Names of the formats that any transcript has, which are the files' extensions too."""
