"""Word times of a transcript by forced alignment.

Legend: B audios, T samples at 16 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asr_llm.corpus.recordings.alignment import Alignment, Unaligned
from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.synthesis import share_time
from asr_llm.transcription.transcript import Word

if TYPE_CHECKING:
    from asr_llm.decoding.results import Decoded
    from asr_llm.model.ctc import CtcModel


def word_times(
    aligner: CtcModel, audios: list[np.ndarray], decoded: list[Decoded]
) -> list[tuple[Word, ...]]:
    """Align the words of B texts, in seconds from the start of each audio.

    Every word has a time, words start in order, and all are within the audio. A word that is not
    spoken ("-") is placed at the end of the previous one. If a text has more tokens than the audio
    has frames, it cannot be aligned, and its words share the time by their letters.

    Args:
        aligner: encodes the audios (B of (T,)), or continues from ``Decoded.encoded`` if available,
            which must come from the aligner's own encoder.
        decoded: the texts, and the confidence of their words if requested.
    """
    from asr_llm.model.ctc import CheckpointCtc

    todo = [i for i, one in enumerate(decoded) if one.text]
    if not todo:
        return [() for _ in decoded]
    encoded = [decoded[i].encoded for i in todo]
    if isinstance(aligner, CheckpointCtc) and all(frames is not None for frames in encoded):
        emissions = aligner.emissions([frames for frames in encoded if frames is not None])
    else:
        emissions = aligner.log_probs([audios[i] for i in todo])
    found = aligner.align(emissions, [decoded[i].text for i in todo])
    words: list[tuple[Word, ...]] = [() for _ in decoded]
    for i, alignment in zip(todo, found):
        words[i] = _words(decoded[i], alignment, len(audios[i]) / SAMPLE_RATE)
    return words


def _words(decoded: Decoded, found: Alignment | Unaligned, duration: float) -> tuple[Word, ...]:
    """Combine alignment and confidence; the last frame may extend beyond the audio."""
    texts = decoded.text.split()
    if isinstance(found, Alignment):
        spans = [(word.start, word.end) for word in found.words]
    else:
        starts = share_time(texts, 0.0, duration)
        spans = list(zip(starts, [*starts[1:], duration]))
    sure: list[float | None] = [round(word.confidence, 4) for word in decoded.words]
    sure = sure or [None] * len(texts)
    return tuple(
        Word(text, min(start, duration), min(end, duration), confidence)
        for text, (start, end), confidence in zip(texts, spans, sure, strict=True)
    )
