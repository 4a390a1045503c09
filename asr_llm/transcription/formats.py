"""Transcripts as text: one pure function per format.

========  ==============================================================================
``txt``   a line for each segment, as whisper writes it
``srt``   SubRip subtitles
``vtt``   WebVTT subtitles (https://www.w3.org/TR/webvtt1/)
``tsv``   whisper's: start, end, text; whole milliseconds; speaker, if there are several
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
"""Selects every format; ``ctm`` is skipped if words have no times."""

_ONE_EACH = ("srt", "vtt", "tsv")  # one transcript per file


def parse(asked: Iterable[str]) -> tuple[str, ...]:
    """Parse ``-f srt,vtt -f json`` into unique formats; ``all`` selects all of ``FORMATS``.

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
    """Whether ``all`` was requested: formats that are not possible are then skipped."""
    return ALL in _names(asked)


def _names(asked: Iterable[str]) -> list[str]:
    return [name.strip().lower() for some in asked for name in some.split(",")]


def check_printable(formats: tuple[str, ...], count: int) -> None:
    """Reject what cannot be separated on stdout: several formats, or several subtitle files.

    Args:
        count: number of transcripts to print.

    Raises:
        RunError: it cannot be printed.
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
    """Format a transcript in one of ``FORMATS``.

    Args:
        layout: of subtitles.

    Raises:
        RunError: ``ctm`` without word times, or ``rttm`` without speakers.
    """
    if fmt in _SUBTITLES:
        return _SUBTITLES[fmt](cues(transcript, layout))
    return _WRITERS[fmt](transcript)


def printed(transcript: Transcript, fmt: str, layout: Layout, *, several: bool) -> str:
    """Like ``render``; one of ``several`` plain texts is one line with the audio's name first.

    Raises:
        RunError: as ``render``.
    """
    if several and fmt == "txt":
        return f"{printable(transcript.path)}: {one_line(transcript.text)}\n"
    return render(transcript, fmt, layout)


def render_each(
    transcript: Transcript, formats: Iterable[str], layout: Layout | None = None
) -> tuple[dict[str, str | None], RunError | None]:
    """Format a transcript in several formats; None for one it does not allow, and why."""
    texts: dict[str, str | None] = {}
    problem = None
    for fmt in formats:
        try:
            texts[fmt] = render(transcript, fmt, layout)
        except RunError as error:
            texts[fmt], problem = None, error
    return texts, problem


def to_txt(transcript: Transcript) -> str:
    """One line per segment."""
    return "".join(map(txt_line, transcript.segments))


def txt_line(segment: Segment) -> str:
    """A segment in plain text, prefixed with its speaker if there are several."""
    return _named(segment.speaker, one_line(segment.text)) + "\n"


def _named(speaker: str | None, text: str) -> str:
    return text if speaker is None else f"{speaker}: {text}"


def to_tsv(transcript: Transcript) -> str:
    """A header, then start and end in whole milliseconds and the text of each segment.

    If there are several speakers, they have a fourth column.
    """
    several = any(segment.speaker is not None for segment in transcript.segments)
    rows = ["start\tend\ttext" + ("\tspeaker" if several else "")]
    for segment in transcript.segments:
        times = (round(1000 * segment.start), round(1000 * segment.end))
        speaker = [one_line(segment.speaker or "")] if several else []
        rows.append("\t".join((*map(str, times), one_line(segment.text), *speaker)))
    return "".join(row + "\n" for row in rows)


def to_srt(shown: Iterable[Cue]) -> str:
    """Cues as SubRip; arrows in the text are shortened, as in Whisper, because there are no
    escapes.
    """
    blocks = []
    for number, cue in enumerate(shown, start=1):
        text = _named(cue.speaker, "\n".join(cue.lines)).replace("-->", "->")
        blocks.append(f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def to_vtt(shown: Iterable[Cue]) -> str:
    """Cues as WebVTT, with escapes, and speakers as voices."""
    blocks = ["WEBVTT\n"]
    for cue in shown:
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        voice = "" if cue.speaker is None else f"<v {cue.speaker}>"
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{voice}{text}\n")
    return "\n".join(blocks)


def to_json(transcript: Transcript) -> str:
    """One line of JSON with Whisper's keys, times in seconds, and what produced the text.

    ``asr-llm score`` joins transcripts and references by ``id``. All keys are always present;
    unknown values are null or empty lists.
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
    """One line per word: recording, channel, start, duration, word, confidence.

    The channel is 1 if channels were mixed; channels follow one another, as sclite requires. The
    format has no escapes: characters that would mark a comment, an alternative or an optional word
    are removed.

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
        # A word that contains a space is still one word.
        text = "_".join(_nist(word.text))
        if text:
            times = f"{word.start:.3f} {max(0.0, word.end - word.start):.3f}"
            row = f"{recording} {channel} {times} {text}"
            rows.append(f"{row} {word.confidence:.3f}\n" if confident else f"{row}\n")
    return "".join(rows)


def to_rttm(transcript: Transcript) -> str:
    """One line per segment: recording, channel, start, duration, speaker.

    Raises:
        RunError: there are no speaker labels.
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
    """Words without NIST's special syntax: ``(word)``, ``{a / b}``, ``;;``."""
    for word in one_line(text).split():
        plain = re.sub(r"[(){}<>]", "", re.sub(";{2,}", ";", word))
        if plain not in ("", "@", "/"):
            yield plain


def _id(transcript: Transcript) -> str:
    """The name of the audio, without characters that would end an id."""
    return re.sub(r"[\s(){}<>;]+", "_", printable(transcript.path.stem))


def _clock(ms: int, mark: str) -> str:
    """Hours, minutes, seconds; ``mark`` precedes the milliseconds."""
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
"""Formats available for any transcript; also the file extensions."""
