"""Merges the transcripts of a call's channels into one, with speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asr_llm.corpus.recordings.audio import Source
from asr_llm.errors import AudioError
from asr_llm.transcription.transcript import Transcript


def together(
    parts: Sequence[Transcript | AudioError], sources: Sequence[Source]
) -> Transcript | AudioError:
    """Merge what was recognised in the ``sources`` of a file, in time order.

    Each of several channels is a speaker, ``channel1`` etc. If a channel cannot be read, the
    transcript is incomplete; if none can, the result is the error.
    """
    heard = [(source, part) for source, part in zip(sources, parts) if isinstance(part, Transcript)]
    if not heard:
        return parts[0]
    if len(parts) == 1 and sources[0].channel is None:
        return parts[0]
    segments = [
        replace(
            segment,
            channel=source.channel,
            speaker=f"channel{source.channel}" if len(parts) > 1 else None,
        )
        for source, part in heard
        for segment in part.segments
    ]
    return replace(
        heard[0][1],
        duration=max(part.duration for _, part in heard),
        segments=tuple(sorted(segments, key=lambda segment: segment.start)),
        note=_note(parts, sources),
        complete=all(isinstance(part, Transcript) and part.complete for part in parts),
    )


def _note(parts: Sequence[Transcript | AudioError], sources: Sequence[Source]) -> str | None:
    """Notes on the channels, merged if they are the same for all."""
    notes = [part.note if isinstance(part, Transcript) else str(part) for part in parts]
    if len(set(notes)) == 1:
        return notes[0]
    return "; ".join(
        f"channel {source.channel}: {note}" for source, note in zip(sources, notes) if note
    )
