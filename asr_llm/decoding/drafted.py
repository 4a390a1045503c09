"""Greedy decoding with drafts: the LLM verifies several drafted tokens per pass.

Speculative decoding (arXiv 2211.17192) with a nearly free draft: the encoder has run anyway, and
its CTC head's output is close to what the LLM will write. In each pass the LLM reads the next
drafted tokens, keeps those that it would have written itself, and writes one token of its own. So
the text is always the greedy one; a good draft saves passes, and a bad one costs little. Without a
draft, each pass writes one token.

Legend: B texts, L positions of the prompts, K drafted tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat, takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from asr_llm.decoding.results import Hypothesis
from asr_llm.model.clipwise import full_attention
from asr_llm.model.log_probs import output_layer

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM
    from asr_llm.model.splice import Spliced

_AHEAD = 8
"""Maximum number of tokens to verify at once."""

_FEW = 4
"""Maximum batch size for drafts on a CPU: larger batches already use it fully
(eval/RESULTS.md#speed-of-decoding). On a GPU drafts are always used."""

_PATIENCE = 3
"""After this many passes without a hit, only one token is proposed per pass until the next hit."""

_ROOM = 64
"""Extra positions to allocate when a cache grows."""

_WINDOW, _TELLING = 12, 8  # letters: search window around the position, and length of the match


class Letters(dict[int, str]):
    """The letters and digits of each token, in lower case, by its id."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        text = self.tokenizer.decode([token])
        self[token] = "".join(filter(str.isalnum, text)).lower()
        return self[token]


class Draft:
    """A predicted text, and the current position in it.

    An LLM writes punctuation and capitals that a CTC head omits, and corrects its words. So
    positions are counted in letters, and after a disagreement the position is found again by the
    last letters written.

    Args:
        text: assumed to start and end a sentence.
        end: the end token.
    """

    def __init__(self, text: str, letters: Letters, end: int) -> None:
        text = " ".join(text.split())
        encoded = letters.tokenizer([text[:1].upper() + text[1:], "."], add_special_tokens=False)
        self.tokens, close = encoded["input_ids"]
        self.close = [*close, end]
        self.of = letters
        self.letters = "".join(letters[token] for token in self.tokens)
        self.starts = [0]  # number of letters before each token, and in total
        for token in self.tokens:
            self.starts.append(self.starts[-1] + len(letters[token]))
        self.place, self.tail = 0, ""  # next token, last letters written
        self.missed = 0  # passes since the last hit

    def next(self, count: int) -> list[int]:
        """The next predicted tokens, at most this many."""
        count = count if self.missed < _PATIENCE else 1
        return (self.tokens[self.place :] + self.close)[:count]

    def follow(self, kept: int, own: int) -> None:
        """Advance past the accepted tokens of ``next`` and one token of the LLM's own."""
        self.missed = 0 if kept else self.missed + 1
        agreed, self.place = self.tokens[self.place :][:kept], self.place + kept
        self.tail += "".join(map(self.of.__getitem__, [*agreed, own]))
        self.tail = self.tail[-_TELLING:]
        if [own] == self.tokens[self.place : self.place + 1]:  # its own also matches the draft
            self.place += 1
            return
        expected = self.starts[min(self.place, len(self.tokens))] + len(self.of[own])
        near = [i for i, at in enumerate(self.starts) if abs(at - expected) <= _WINDOW]
        self.place = max(
            near,
            key=lambda i: self._agreement(i) - abs(self.starts[i] - expected),
            default=len(self.tokens),
        )

    def _agreement(self, place: int) -> int:
        """How many of the letters before a position match the last ones written."""
        pairs = zip(reversed(self.letters[: self.starts[place]]), reversed(self.tail))
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def can_draft(model: SpanSALM, texts: int) -> bool:
    """Whether drafts pay off for this many texts, with a CTC head and a suitable LLM.

    Rejected drafts leave holes in the cache, which sliding-window attention would count as
    positions.
    """
    if texts > _FEW and model.device.type == "cpu":
        return False
    return model.ctc_head is not None and full_attention(model.causal_lm.config)


def ctc_drafts(model: SpanSALM, spliced: Spliced, end: int) -> list[Draft]:
    """The CTC head's greedy output for each audio of a batch: best token per frame, collapsed."""
    letters = Letters(model.tokenizer.tokenizer)
    best = model.ctc_log_probs(spliced.encoded).argmax(-1).cpu()
    drafts = []
    for row, count in zip(best, spliced.encoded_lens.tolist()):
        drafts.append(Draft(ctc_text(model, row[:count]), letters, end))
    return drafts


def ctc_text(model: SpanSALM, best: Tensor) -> str:
    """The CTC head's greedy output: the best tokens (F,) of the frames, collapsed."""
    tokens = best.unique_consecutive()
    return model.ctc_vocabulary.decode(tokens[tokens != model.ctc_blank_id].tolist())


@dataclass
class Written:
    """A text in progress: its tokens without the end token, and their log-probabilities.

    ``complete``: the end token was reached.
    """

    draft: Draft | None
    limit: int
    end: int
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    complete: bool = False

    @property
    def done(self) -> bool:
        """Whether the text is finished; the end token counts towards the limit."""
        return self.complete or len(self.ids) >= self.limit

    def hypothesis(self, confidence: bool) -> Hypothesis:
        """The text so far."""
        sure = tuple(self.log_probs) if confidence else ()
        return Hypothesis(tuple(self.ids), self.complete, sure)

    def add(self, best: list[int], log_probs: list[float], proposed: list[int]) -> int:
        """Add the LLM's token after each proposed one, as long as the proposals match.

        Returns:
            the number of accepted proposals.
        """
        kept = 0
        while kept < len(proposed) and best[kept] == proposed[kept]:
            kept += 1
        if self.draft is not None:
            self.draft.follow(kept, best[kept])
        for token, log_prob in zip(best[: kept + 1], log_probs):
            if self.done:
                break
            if token == self.end:
                self.complete = True
            else:
                self.ids.append(token)
                self.log_probs.append(log_prob)
        return kept


def write(
    model: SpanSALM,
    spliced: Spliced,
    limits: list[int],
    end: int,
    drafts: list[Draft] | None = None,
    confidence: bool = False,
) -> list[Hypothesis]:
    """Greedily write B texts after their prompts; finished texts leave the batch.

    Args:
        spliced: from ``prompts.splice``.
        limits: token limit of each text, including the end token.
        end: the end token.
        confidence: whether to return ``log_probs``.
    """
    texts = [Written(draft, limit, end) for draft, limit in zip(drafts or repeat(None), limits)]
    going = texts
    cache = _cache(model.causal_lm.config)
    # Unread tokens, their positions in each text, and the attention mask.
    unread, mask = spliced.input_embeds, spliced.attention_mask.long()
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    while going:
        proposed = [text.draft.next(_AHEAD) if text.draft else [] for text in going]
        drafted, real = _padded(proposed, unread.device)
        width = drafted.shape[1]  # K
        mask = torch.cat([mask, real], 1)
        onward = places[:, -1:] + torch.arange(1, width + 1, device=places.device)
        hidden = model.causal_lm.model(
            inputs_embeds=torch.cat([unread, model.embed_tokens(drafted)], 1),
            attention_mask=mask,
            position_ids=torch.cat([places, onward], 1),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1 - width :]
        logits = output_layer(model.causal_lm)(hidden).float()  # (B, K + 1, V)
        most, best = logits.max(-1)
        sure = most - logits.logsumexp(-1) if confidence else torch.zeros_like(most)
        kept = [text.add(*row) for text, *row in zip(going, best.tolist(), sure.tolist(), proposed)]
        own, count = torch.tensor(kept, device=best.device)[:, None], max(kept)
        # Rejected drafts stay in the cache as holes, up to the longest text.
        mask, real = mask.split([mask.shape[1] - width, width], 1)
        used = real * (torch.arange(width, device=mask.device) < own)
        _shorten(cache, width - count)
        mask = torch.cat([mask, used[:, :count], torch.ones_like(own)], 1)
        unread, places = model.embed_tokens(best.gather(1, own)), places[:, -1:] + own + 1
        stay = [i for i, text in enumerate(going) if not text.done]
        if len(stay) < len(going):
            rows = torch.tensor(stay, dtype=torch.long, device=mask.device)
            cache.batch_select_indices(rows)
            going = [going[i] for i in stay]
            unread, places, mask = unread[rows], places[rows], mask[rows]
    return [text.hypothesis(confidence) for text in texts]


def _padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of tokens (B, K), and a mask of 1 for each token."""
    padded = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=-1
    ).to(device)
    return padded.clamp(min=0), (padded >= 0).long()


class _RoomyLayer(DynamicLayer):
    """Keys and values (B, heads, L, D), preallocated with room for further positions.

    ``DynamicLayer`` copies everything for each token.
    """

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Start without positions or room."""
        super().lazy_initialization(key_states, value_states)
        self._rooms = [key_states[..., :0, :], value_states[..., :0, :]]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values of new positions; return those of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self._rooms[0].shape[-2]:
            more = end - start + _ROOM
            self._rooms = [F.pad(room[..., :start, :], (0, 0, 0, more)) for room in self._rooms]
        for room, new in zip(self._rooms, (key_states, value_states)):
            room[..., start:end, :] = new
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows, with their room."""
        self._rooms = [room[indices] for room in self._rooms]
        self._show(self.get_seq_length())

    def _show(self, length: int) -> None:
        self.keys, self.values = (room[..., :length, :] for room in self._rooms)


def _cache(config: Any) -> DynamicCache:
    """An empty cache whose ordinary layers are preallocated."""
    cache = DynamicCache(config=config)
    cache.layers = [_RoomyLayer() if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


def _shorten(cache: DynamicCache, count: int) -> None:
    """Drop the last positions; the arguments of ``DynamicCache.crop`` differ between releases."""
    for layer in cache.layers if count else ():
        layer.keys, layer.values = (x[..., :-count, :] for x in (layer.keys, layer.values))
