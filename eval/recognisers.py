"""What scripts compare on audio in memory: some clips of a set, our recogniser, and Whisper's."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soundfile as sf

from asr_llm.corpus.recordings.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asr_llm import SpeechLLM

T = TypeVar("T")


def some_of(clips: Sequence[T], limit: int | None) -> list[T]:
    """At most ``limit`` clips, spread over all of them: every n-th."""
    return list(clips[:: max(1, len(clips) // limit)][:limit] if limit else clips)


def by_us(model: SpeechLLM, audios: list[np.ndarray]) -> list[str]:
    """As `asr-llm transcribe` decodes files; no text where one cannot be read."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(audios))]
        for path, audio in zip(paths, audios):
            sf.write(path, audio, SAMPLE_RATE)
        return [getattr(done, "text", "") for done in model.transcribe_many(paths)]


def load_whisper(name: str) -> Any:
    """faster-whisper's model (a development extra) in 8 bits: a name or a folder."""
    from faster_whisper import WhisperModel

    return WhisperModel(name, device="cpu", compute_type="int8")


def by_whisper(model: Any, audios: list[np.ndarray], beams: int) -> list[str]:
    """One clip at a time, as its documents decode a file."""
    found = [model.transcribe(audio, beam_size=beams, language="en")[0] for audio in audios]
    return [" ".join(segment.text.strip() for segment in segments) for segments in found]
