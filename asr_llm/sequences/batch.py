"""A batch of sequences as tensors; names follow NeMo's SALM.

Legend: B sequences, T tokens; A audios, one per sequence with speech; S samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Spans = list[tuple[int, int]]
"""First and last frame (exclusive) of each speech span in its audio."""


@dataclass(frozen=True)
class BatchSpeech:
    """The speech of a batch: one audio per sequence that has any.

    Args:
        audios: (A, S) float32 at 16 kHz, zero-padded at the end.
        audio_lens: (A,) samples of each, whole frames.
        audio_frames: the number of encoder frames expected of each.
        audio_rows: the batch row of each.
        span_frames: the position of each speech span in its audio.
        audio_keys: hashes of audios that are whole recordings, None for others.
        ctc_targets: token ids of the normalised words of each; None if not requested.
    """

    audios: Tensor
    audio_lens: Tensor
    audio_frames: list[int]
    audio_rows: list[int]
    span_frames: list[Spans]
    audio_keys: list[str | None]
    ctc_targets: list[Tensor] | None = None


@dataclass(frozen=True)
class Batch:
    """Model input for a training step, or for prompts.

    Args:
        input_ids: (B, T) with the audio locator tag once per speech span, padded on the right.
        loss_mask: (B, T), true for tokens with loss.
        speech: None if no sequence has any.
        monitored: whether its loss is watched for forgetting (``training.callbacks.AsrMonitor``).
        kl: (B, T) weights of ``spans.Text``; None where all are zero.
        read: the sequences that have such weights, in order, their speech as text; its
            ``loss_mask`` is true on the same tokens as have a weight here. None where ``kl`` is.
    """

    input_ids: Tensor
    loss_mask: Tensor
    speech: BatchSpeech | None = None
    monitored: bool = False
    kl: Tensor | None = None
    read: Batch | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on a device; lists are not moved."""
        speech = self.speech
        if speech is not None:
            speech = replace(
                speech,
                audios=speech.audios.to(device),
                audio_lens=speech.audio_lens.to(device),
            )
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            loss_mask=self.loss_mask.to(device),
            speech=speech,
            kl=None if self.kl is None else self.kl.to(device),
            read=None if self.read is None else self.read.to(device),
        )
