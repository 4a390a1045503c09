"""The central idea of the code: a training example is a tuple of spans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_llm.corpus.speech.synthesis import Utterance


@dataclass(frozen=True)
class Text:
    """Text the model reads, and learns to write where ``loss`` is set.

    ``kl`` weighs how far what the model expects here may be from what its LLM, as it was before
    training, expects when it reads what is said (``as_text``): behaviour imitation
    (arXiv 2505.18644). Only with ``loss``, and behind other text.
    """

    text: str
    loss: bool = False
    kl: float = 0.0


@dataclass(frozen=True)
class Speech:
    """Frames ``start`` to ``end`` (exclusive) of an utterance, on the encoder's grid.

    ``text`` is what is said in them, if it differs from the combined text of the sequence's spans.
    ``sliced``: encode the whole utterance, then take these frames, instead of cutting the audio. An
    ablation only: the encoder then also sees audio outside of the span.
    """

    utterance: Utterance
    start: int
    end: int
    text: str | None = None
    sliced: bool = False

    @property
    def num_frames(self) -> int:
        """Number of encoder frames of the span."""
        return self.end - self.start

    def samples(self, frame_samples: int) -> np.ndarray:
        """Audio of the span (num_frames * frame_samples,), zero-padded at the very end."""
        piece = self.utterance.samples[self.start * frame_samples : self.end * frame_samples]
        return np.pad(piece, (0, self.num_frames * frame_samples - len(piece)))


SpanSequence = tuple[Text | Speech, ...]


def as_text(sequence: SpanSequence) -> tuple[Text, ...]:
    """The sequence with what is said in the place of its speech, words parted by a space.

    Spans without loss are joined, so that they become the tokens of one text.
    """
    spans: list[Text] = []
    for span in sequence:
        if isinstance(span, Speech):
            said = span.utterance.text if span.text is None else span.text
            parted = not spans or spans[-1].text[-1:].isspace()
            span = Text(said if parted else f" {said}")
        if spans and not (span.loss or spans[-1].loss):
            span = Text(spans.pop().text + span.text)
        spans.append(span)
    return tuple(spans)


def num_frames(utterance: Utterance, frame_samples: int) -> int:
    """Whole encoder frames that cover the utterance; at least one."""
    return max(1, -(-len(utterance.samples) // frame_samples))


def snap(starts: list[float], total: int, frame: float) -> list[int] | None:
    """Convert unit start times in seconds to cut points on the frame grid.

    Args:
        starts: start of each unit, in order; the first unit is taken to start at 0.
        total: frames in the utterance.
        frame: seconds per frame.

    Returns:
        ``len(starts) + 1`` strictly increasing cut points from 0 to ``total``, so that every unit
        has at least one frame and the sum is exact; None if there are more units than frames.
    """
    count = len(starts)
    if count == 0 or count > total:
        return None
    cuts = [0]
    for i, start in enumerate(starts[1:], start=1):
        # Leave one frame for every unit before and after this cut.
        cuts.append(min(max(round(start / frame), cuts[-1] + 1), total - (count - i)))
    return [*cuts, total]
