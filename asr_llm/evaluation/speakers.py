"""Who said what: cpWER and tcpWER by meeteval, and a text per speaker to score.

Both sides are SegLST (.json) or STM, with session and speaker for each segment. A system names its
speakers freely; cpWER uses the assignment to reference speakers with the fewest errors (arXiv
2004.09249), and tcpWER also requires words to be recognised near the time they were said (arXiv
2307.11394). A term counts as found only for the speaker who said it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_llm.corpus.text.normalizers import normalize
from asr_llm.errors import ScoreError
from asr_llm.evaluation.nist import _segments as stm_segments
from asr_llm.evaluation.rows import Row, fail, json_rows, read_text

COLLAR = 5.0  # seconds, as in the CHiME challenges


@dataclass(frozen=True)
class Segment:
    """What one speaker said from ``start`` to ``end``, in seconds."""

    session: str
    speaker: str
    start: float
    end: float
    text: str


def read_segments(path: Path) -> list[Segment]:
    """Read SegLST (.json) or STM.

    Raises:
        ScoreError: unknown format or malformed; the message names file and row.
    """
    readers = {".json": _seglst_rows, ".stm": _stm_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        rttm = path.suffix.lower() == ".rttm"
        found = "RTTM, which has no words" if rttm else "no speakers' segments"
        fail(path, found, "SegLST (.json) or STM (.stm) with --speakers")
    segments = []
    for place, row in reader(path):
        try:
            segments.append(
                Segment(
                    str(row["session_id"]),
                    str(row["speaker"]),
                    float(row["start_time"]),
                    float(row["end_time"]),
                    str(row["words"]),
                )
            )
        except (KeyError, TypeError, ValueError):
            fail(place, "no segment", "session_id, speaker, start_time, end_time and words")
    if not segments:
        fail(path, "nothing in it", "segments, each with a session and a speaker")
    return segments


def _seglst_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        for number, row in json_rows(read_text(path)):
            yield f"{path}, item {number}", row
    except json.JSONDecodeError as error:
        fail(
            f"{path}:{error.lineno}",
            f"no JSON (from column {error.colno} on)",
            "a list of segments (SegLST)",
        )


def _stm_rows(path: Path) -> Iterator[tuple[str, Any]]:
    for segment in stm_segments(path):
        if not segment.ignored:
            yield (
                segment.place,
                {
                    "session_id": segment.recording,
                    "speaker": segment.speaker,
                    "start_time": segment.start,
                    "end_time": segment.end,
                    "words": segment.text,
                },
            )


def rows_of(reference: Sequence[Segment]) -> dict[str, Row]:
    """All that each speaker said in a session as one row, with id ``session/speaker``."""
    keys = dict.fromkeys((s.session, s.speaker) for s in reference)
    return {
        f"{session}/{speaker}": Row(
            id=f"{session}/{speaker}",
            text=_text(reference, session, speaker),
            speaker=speaker,
        )
        for session, speaker in keys
    }


def attribute(
    *,
    reference: Sequence[Segment],
    hypothesis: Sequence[Segment],
    normalizer: str,
    collar: float = COLLAR,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Assign a system's speakers to those of the reference; return texts and the ``speakers``
    block.

    Returns:
        The text of the speaker that cpWER assigns, by the ids of ``rows_of`` ("" for none); and
        ``cpwer`` and ``tcpwer`` on normalised text, with ``rate``, ``errors``, ``words``,
        ``substitutions``, ``deletions``, ``insertions``, and the number of speakers ``missed``,
        ``false`` and ``scored``.

    Raises:
        ScoreError: meeteval is not installed, or the sessions differ.
    """
    meeteval = _meeteval()
    sessions = {segment.session for segment in reference}
    if sessions != {segment.session for segment in hypothesis}:
        found = sorted({s.session for s in hypothesis})[:3]
        raise ScoreError(
            f"sessions differ: found {', '.join(found)}; expected "
            f"{', '.join(sorted(sessions)[:3])} as in the reference ({len(sessions)} in all)"
        )
    said, heard = (
        meeteval.io.SegLST([_seglst(segment, normalizer) for segment in side])
        for side in (reference, hypothesis)
    )
    cp = meeteval.wer.cpwer(said, heard)
    tcp = meeteval.wer.tcpwer(said, heard, collar=collar)
    texts = {
        f"{session}/{speaker}": _text(hypothesis, session, heard_as)
        for session, one in cp.items()
        for speaker, heard_as in one.assignment
        if speaker is not None
    }
    combine = meeteval.wer.combine_error_rates
    return texts, {
        "cpwer": _counts(combine(cp)),
        "tcpwer": _counts(combine(tcp)) | {"collar": collar},
    }


def _seglst(segment: Segment, normalizer: str) -> dict[str, Any]:
    return {
        "session_id": segment.session,
        "speaker": segment.speaker,
        "start_time": segment.start,
        "end_time": segment.end,
        "words": normalize(segment.text, normalizer),
    }


def _counts(found: Any) -> dict[str, Any]:
    return {
        "rate": found.error_rate,
        "errors": found.errors,
        "words": found.length,
        "substitutions": found.substitutions,
        "deletions": found.deletions,
        "insertions": found.insertions,
        "missed": found.missed_speaker,
        "false": found.falarm_speaker,
        "scored": found.scored_speaker,
    }


def _text(segments: Sequence[Segment], session: str, speaker: str | None) -> str:
    mine = [s for s in segments if (s.session, s.speaker) == (session, speaker)]
    return " ".join(" ".join(s.text for s in sorted(mine, key=lambda s: s.start)).split())


def _meeteval() -> Any:
    try:
        import meeteval
    except ImportError as error:
        raise ScoreError(
            "--speakers needs meeteval, which is not installed; run: pip install "
            "'asr-llm[speakers]'"
        ) from error
    return meeteval
