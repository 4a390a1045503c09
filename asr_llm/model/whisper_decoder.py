"""Whisper's decoder, for several audios at once and several texts of each.

transformers' own forward has no mask for encoder states of different lengths, and it would keep the
keys and values of an audio once for each of its texts. On a CPU each audio is attended to by itself
(see ``model.clipwise``).

Legend: B audios, K texts of each, R = B * K rows, L new tokens, N tokens so far, S encoder states,
H their width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperDecoder

from asr_llm.model.clipwise import causal
from asr_llm.model.whisper import key_mask

Processor = Callable[[Tensor, Tensor], Tensor]
"""A logits processor: from texts (R, N) and scores (R, V) of the next token to new scores."""


@dataclass(frozen=True)
class EncoderMemory:
    """What the decoder attends to: of each layer keys and values (B, heads, S, H / heads).

    Args:
        lens: (B,) encoder states of each audio.
    """

    layers: list[tuple[Tensor, Tensor]]
    lens: Tensor

    @cached_property
    def counts(self) -> list[int]:
        """``lens`` as numbers."""
        counts: list[int] = self.lens.tolist()
        return counts

    @cached_property
    def mask(self) -> Tensor:
        """Attention bias, -inf beyond ``lens``."""
        keys = self.layers[0][0]
        return key_mask(self.lens, keys[:, 0])

    def select(self, audios: Tensor) -> EncoderMemory:
        """Only these of the B audios."""
        layers = [(keys[audios], values[audios]) for keys, values in self.layers]
        return EncoderMemory(layers, self.lens[audios])


@dataclass(frozen=True)
class Written:
    """A text of a beam search: tokens without the end, the score of all, whether it ended."""

    ids: tuple[int, ...]
    score: float
    complete: bool

    @property
    def mean(self) -> float:
        """The score per token, including the end token, to rank texts of different lengths."""
        return self.score / (len(self.ids) + 1)


class Decoder(nn.Module):
    """Whisper's decoder with its output layer."""

    def __init__(self, decoder: WhisperDecoder, head: nn.Module) -> None:
        super().__init__()
        self.decoder, self.head = decoder, head

    def hear(self, states: Sequence[Tensor]) -> EncoderMemory:
        """Keys and values of the encoder states (S, H) of B audios."""
        lens = torch.tensor([len(own) for own in states], device=states[0].device)
        padded = nn.utils.rnn.pad_sequence(list(states), batch_first=True)
        layers = []
        for layer in self.decoder.layers:
            attention = layer.encoder_attn
            keys, values = attention.k_proj(padded), attention.v_proj(padded)
            layers.append((_heads(attention, keys), _heads(attention, values)))
        return EncoderMemory(layers, lens)

    def forward(
        self, ids: Tensor, heard: EncoderMemory, cache: DynamicCache | None = None
    ) -> Tensor:
        """Last hidden states (R, L, H) of L tokens that follow those in the cache."""
        at = cache.get_seq_length() if cache is not None else 0
        length, decoder = ids.shape[1], self.decoder
        hidden = decoder.embed_tokens(ids) + decoder.embed_positions.weight[at : at + length]
        for i, layer in enumerate(decoder.layers):
            normed = layer.self_attn_layer_norm(hidden)
            hidden = hidden + _attend_to_texts(layer.self_attn, normed, len(heard.lens), cache)
            normed = layer.encoder_attn_layer_norm(hidden)
            hidden = hidden + _attend_to_audios(layer.encoder_attn, normed, heard, i)
            normed = layer.final_layer_norm(hidden)
            hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(normed)))
        return decoder.layer_norm(hidden)


def _attend_to_texts(
    attention: WhisperAttention, hidden: Tensor, audios: int, cache: DynamicCache | None
) -> Tensor:
    """Attention of (R, L, H) to the texts themselves, those of each audio at a time on a CPU."""
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    queries, keys, values = (_heads(attention, own(hidden)) for own in projections)
    if cache is not None:
        keys, values = cache.update(keys, values, attention.layer_idx)
    if hidden.device.type == "cpu":
        parts = zip(queries.chunk(audios), keys.chunk(audios), values.chunk(audios))
        found = torch.cat([causal(q, k, v, attention.scaling) for q, k, v in parts])
    else:
        found = causal(queries, keys, values, attention.scaling)
    merged: Tensor = attention.out_proj(found.transpose(1, 2).reshape(hidden.shape))
    return merged


def _attend_to_audios(
    attention: WhisperAttention, hidden: Tensor, heard: EncoderMemory, layer: int
) -> Tensor:
    """Attention of (R, L, H) to the audios: the texts of one are queries beside each other."""
    keys, values = heard.layers[layer]
    grouped = hidden.reshape(len(keys), -1, hidden.shape[-1])  # (B, K * L, H)
    queries = _heads(attention, attention.q_proj(grouped))
    if hidden.device.type == "cpu":
        found = torch.empty_like(queries)
        for i, count in enumerate(heard.counts):
            own = queries[i : i + 1], keys[i : i + 1, :, :count], values[i : i + 1, :, :count]
            found[i : i + 1] = F.scaled_dot_product_attention(*own, scale=attention.scaling)
    else:
        mask = heard.mask.to(queries.dtype)
        found = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=attention.scaling
        )
    merged: Tensor = attention.out_proj(found.transpose(1, 2).reshape(grouped.shape))
    return merged.view(hidden.shape)


def _heads(attention: WhisperAttention, states: Tensor) -> Tensor:
    """States (R, L, H) by heads: (R, heads, L, H / heads)."""
    return states.view(*states.shape[:2], attention.num_heads, -1).transpose(1, 2)


class BeamSearch:
    """A beam search; finished audios leave the batch.

    An audio is finished once K of its texts have ended among its K best, or at its token
    limit. With one beam this is greedy.

    Args:
        decoder: of Whisper.
        prompt: tokens before every text.
        end: the token that ends one.
        forbid: of the scores (R, V) after N tokens, sets those of forbidden tokens to -inf.
        beams: K.
        processors: applied in this order to the log-probabilities of the next token.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt: Sequence[int],
        end: int,
        forbid: Callable[[int, Tensor], None],
        beams: int = 1,
        processors: Sequence[Processor] = (),
    ) -> None:
        self.decoder, self.prompt, self.end, self.forbid = decoder, list(prompt), end, forbid
        self.beams, self.processors = beams, processors

    def __call__(self, heard: EncoderMemory, limits: Sequence[int]) -> list[list[Written]]:
        """Up to K texts for each of B audios, best first.

        Args:
            limits: most tokens of each text.
        """
        device, beams = heard.layers[0][0].device, self.beams
        going, cache = list(range(len(limits))), DynamicCache()
        ended: list[list[Written]] = [[] for _ in limits]
        feed = torch.tensor([self.prompt] * (len(limits) * beams), device=device)
        written = feed[:, :0]
        scores = torch.full((len(limits), beams), float("-inf"), device=device)
        scores[:, 0] = 0  # at first all K are the same
        while going:
            found = self._next(feed, written, heard, cache)
            texts = written.tolist()
            chosen = self._choose(scores, found)
            rows, kept = [], []
            for place, (audio, own) in enumerate(zip(going, chosen)):
                onward = []
                for rank, (row, token, score) in enumerate(own):
                    if token != self.end:
                        onward.append((row, token, score))
                    elif rank < beams:
                        ended[audio].append(Written(tuple(texts[row]), score, True))
                onward = onward[:beams]
                if len(texts[0]) + 1 >= limits[audio]:
                    ended[audio] += [Written((*texts[r], t), s, False) for r, t, s in onward]
                elif len(ended[audio]) < beams:
                    kept.append(place)
                    rows += onward
            if not kept:
                break
            origins = torch.tensor([row for row, *_ in rows], device=device)
            feed = torch.tensor([[token] for _, token, _ in rows], device=device)
            scores = torch.tensor([score for *_, score in rows], device=device).view(-1, beams)
            written = torch.cat([written[origins], feed], 1)
            if len(rows) != len(texts) or origins.tolist() != list(range(len(texts))):
                cache.reorder_cache(origins)
            if len(kept) < len(going):
                heard = heard.select(torch.tensor(kept, device=device))
                going = [going[place] for place in kept]
        return [sorted(own, key=lambda one: -one.mean)[:beams] for own in ended]

    def _next(
        self, feed: Tensor, written: Tensor, heard: EncoderMemory, cache: DynamicCache
    ) -> Tensor:
        logits = self.decoder.head(self.decoder(feed, heard, cache)[:, -1])
        self.forbid(written.shape[1], logits)
        found = logits.float().log_softmax(-1)
        for processor in self.processors:
            found = processor(written, found)
        return found

    def _choose(self, scores: Tensor, found: Tensor) -> list[list[tuple[int, int, float]]]:
        """The 2 K best of each audio: the row that each goes on from, its token, its score."""
        audios, beams = scores.shape
        totals = (scores.view(-1, 1) + found).view(audios, -1)
        best, places = totals.topk(2 * beams)
        rows = places // found.shape[1] + torch.arange(audios, device=found.device)[:, None] * beams
        columns = (rows.tolist(), (places % found.shape[1]).tolist(), best.tolist())
        return [list(zip(*own)) for own in zip(*columns)]
