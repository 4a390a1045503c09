"""The one idea that carries the code: a training example is a tuple of spans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_llm.corpus.synthesis import Utterance


@dataclass(frozen=True)
class Text:
    """Text the model reads, and learns to write where ``loss`` is set."""

    text: str
    loss: bool = False


@dataclass(frozen=True)
class Speech:
    """The frames ``start`` to ``end`` (exclusive) of an utterance, on the encoder's grid.

    ``text`` is what is said in them, where that is not all that the sequence's spans of this
    utterance say together. ``sliced``: encode the whole utterance, then cut the frames out, in
    place of cutting the audio. An ablation only: the encoder then hears what is not in the span.
    """

    utterance: Utterance
    start: int
    end: int
    text: str | None = None
    sliced: bool = False

    @property
    def num_frames(self) -> int:
        """Encoder frames this span takes."""
        return self.end - self.start

    def samples(self, frame_samples: int) -> np.ndarray:
        """Audio of the span (num_frames * frame_samples,), zero-padded at the very end."""
        piece = self.utterance.samples[self.start * frame_samples : self.end * frame_samples]
        return np.pad(piece, (0, self.num_frames * frame_samples - len(piece)))


SpanSequence = tuple[Text | Speech, ...]


def num_frames(utterance: Utterance, frame_samples: int) -> int:
    """Whole encoder frames that cover the utterance; at least one."""
    return max(1, -(-len(utterance.samples) // frame_samples))


def snap(starts: list[float], total: int, frame: float) -> list[int] | None:
    """Unit start times in seconds become cut points on the frame grid.

    Args:
        starts: where each unit starts, in order; the first unit is taken to start at 0.
        total: frames in the utterance.
        frame: seconds per frame.

    Returns:
        ``len(starts) + 1`` strictly increasing cut points from 0 to ``total``, so that every
        unit has at least one frame and their sum is exact; None if there are more units
        than frames.
    """
    count = len(starts)
    if count == 0 or count > total:
        return None
    cuts = [0]
    for i, start in enumerate(starts[1:], start=1):
        # Room for one frame in every unit, before and after this cut.
        cuts.append(min(max(round(start / frame), cuts[-1] + 1), total - (count - i)))
    return [*cuts, total]
