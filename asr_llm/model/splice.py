"""Splicing: replaces audio locator tags by speech frames, for all rows at once.

Legend: B rows, L positions after splicing, T tokens, H hidden size; A audios, F frames, D the width
of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from asr_llm.sequences.batch import Batch, Spans

IGNORE = -100


class Encoded(NamedTuple):
    """Encoded speech.

    ``projected`` (A, F, H), in the LLM's embedding space; ``lens`` (A,), frames of each audio;
    ``encoded`` (A, F, D), the encoder's output before the projector.
    """

    projected: Tensor
    lens: Tensor
    encoded: Tensor


class Places(NamedTuple):
    """Special token ids: padding, and the locator of speech."""

    pad: int
    locator: int


@dataclass(frozen=True)
class Spliced:
    """A batch as LLM input, padded on the left.

    Args:
        input_embeds: (B, L, H).
        attention_mask: (B, L), false at padding.
        target_ids: (B, L), -100 without loss.
        encoded: (A, F, D), the encoder's output for CTC; A is 0 without speech.
        encoded_lens: (A,) frames.
        origin: (B, L), where each position comes from: row times width plus column of a token in
            the batch's ``input_ids``, more than all of these for a frame, -1 for padding.
        position_ids: (B, L) of packed rows, of which each sequence begins at 0; else None.
    """

    input_embeds: Tensor
    attention_mask: Tensor
    target_ids: Tensor
    encoded: Tensor
    encoded_lens: Tensor
    origin: Tensor
    position_ids: Tensor | None = None

    def select(self, rows: Tensor) -> Spliced:
        """Only these rows, for the LLM; speech stays as it is."""
        return self._indexed(rows)

    def trimmed(self) -> Spliced:
        """Without padding that no row needs."""
        first = int(self.attention_mask.any(0).int().argmax())
        return self._indexed((slice(None), slice(first, None)))

    def _indexed(self, where: Any) -> Spliced:
        return replace(
            self,
            input_embeds=self.input_embeds[where],
            attention_mask=self.attention_mask[where],
            target_ids=self.target_ids[where],
            origin=self.origin[where],
            position_ids=None if self.position_ids is None else self.position_ids[where],
        )


def splice(
    batch: Batch,
    heard: Encoded | None,
    embed: nn.Module,
    places: Places,
    pack: int | None = None,
) -> Spliced:
    """Embed the tokens of a batch, and put the frames of its speech among them.

    Every row is encoded once and all rows are gathered in one indexing operation; a span at a
    time costs eight times as much (the result equals SALM's own
    ``replace_placeholders_and_build_targets``, which is tested).

    Args:
        heard: the encoded speech of the batch; None where it has none.
        embed: from token ids (…) to embeddings (…, H).
        pack: positions to a row, at least; several sequences then share a row, each with
            positions from 0 on, and attend to themselves only. B is then the packed rows.

    Raises:
        ValueError: an audio is encoded to other than the frames its spans were cut for.
    """
    ids = batch.input_ids
    table = embed(ids.masked_fill(ids == places.locator, 0)).flatten(0, 1)
    frames_at: dict[int, tuple[int, Spans]] = {}
    if heard is not None:
        frames_at = _frames_at(batch, heard, len(table))
        table = torch.cat([table, heard.projected.flatten(0, 1).to(table.dtype)])
    rows = _layout(batch, places, frames_at)
    positions = None
    if pack is not None:
        rows, numbers = _packed(rows, pack)
        positions = _pad_left(numbers, 0).to(ids.device)
    index = _pad_left([source for source, _ in rows], -1).to(ids.device)
    mask = index >= 0
    return Spliced(
        input_embeds=table[index.clamp(min=0)] * mask.unsqueeze(-1),
        attention_mask=mask,
        target_ids=_pad_left([target for _, target in rows], IGNORE).to(ids.device),
        encoded=table.new_zeros(0, 0, 0) if heard is None else heard.encoded,
        encoded_lens=ids.new_zeros(0) if heard is None else heard.lens,
        origin=index,
        position_ids=positions,
    )


def _frames_at(batch: Batch, heard: Encoded, first: int) -> dict[int, tuple[int, Spans]]:
    """For each row with speech, the start of its frames in the table, and its spans."""
    speech = batch.speech
    assert speech is not None
    found = {}
    for i, (row, spans) in enumerate(zip(speech.audio_rows, speech.span_frames)):
        if speech.audio_frames[i] != int(heard.lens[i]):
            raise ValueError(
                f"the speech of row {row} takes {speech.audio_frames[i]} frames, "
                f"but the encoder made {int(heard.lens[i])}"
            )
        found[row] = (first + i * heard.projected.shape[1], spans)
    return found


def _layout(
    batch: Batch, places: Places, frames_at: dict[int, tuple[int, Spans]]
) -> list[tuple[Tensor, Tensor]]:
    """The source of each spliced position of each row.

    Returns:
        for each row the indices (L,) into the table of all token embeddings followed by all frame
        embeddings, and the targets (L,), -100 without loss.
    """
    ids, loss_mask = batch.input_ids.cpu(), batch.loss_mask.cpu()
    width = ids.shape[1]
    rows = []
    for row, (tokens, mask) in enumerate(zip(ids.numpy(), loss_mask.numpy())):
        first, spans = frames_at.get(row, (0, []))
        remaining = iter(spans)
        source: list[int] = []
        target: list[int] = []
        for column, token in enumerate(tokens.tolist()):
            if token == places.pad:
                continue
            if token == places.locator:
                start, end = next(remaining)
                source.extend(range(first + start, first + end))
                target.extend([IGNORE] * (end - start))
            else:
                source.append(row * width + column)
                target.append(token if mask[column] else IGNORE)
        rows.append((torch.tensor(source), torch.tensor(target)))
    return rows


def _packed(
    rows: list[tuple[Tensor, Tensor]], room: int
) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    """Pack rows first-fit, longest first; with their positions."""
    room = max(room, *(len(source) for source, _ in rows))
    bins: list[list[tuple[Tensor, Tensor]]] = []
    for source, target in sorted(rows, key=lambda row: -len(row[0])):
        target[0] = IGNORE  # what comes before it in the row is not its own
        fits = (b for b in bins if sum(len(s) for s, _ in b) + len(source) <= room)
        into = next(fits, None)
        if into is None:
            bins.append(into := [])
        into.append((source, target))
    packed = [(torch.cat([s for s, _ in b]), torch.cat([t for _, t in b])) for b in bins]
    return packed, [torch.cat([torch.arange(len(s)) for s, _ in b]) for b in bins]


def _pad_left(rows: list[Tensor], value: int) -> Tensor:
    return nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=value, padding_side="left"
    )
