"""How sure the recogniser is of what it wrote: the probabilities of tokens, and of words.

Legend: B texts, L positions of the spliced prompts, N tokens of the longest text, H hidden size,
V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class DecodedWord:
    """A word as it is written, and the log-probabilities of the tokens that write it."""

    text: str
    log_probs: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """How probable it is, 0 to 1, that the word is right."""
        return math.exp(min(self.log_probs))


_POSITIONS = 256
"""Positions that the output layer takes at once: with 150,000 tokens 150 MB."""


def token_log_probs(
    model: SpanSALM, spliced: dict[str, Any], texts: list[list[int]]
) -> list[list[float]]:
    """The log-probability of each token of B texts, given its prompt and the tokens before it.

    One pass over the finished texts, whichever search found them; the encoder does not run again,
    and the output layer runs where text is.

    Args:
        spliced: what ``SpanSALM.splice`` made of the B prompts.
        texts: token ids of each, without the end token; one may be empty.
    """
    counts = [len(ids) for ids in texts]
    if not any(counts):
        return [[] for _ in texts]
    prompt, mask = spliced["input_embeds"], spliced["attention_mask"]
    ids = torch.zeros(len(texts), max(counts), dtype=torch.long)
    for row, tokens in zip(ids, texts):
        row[: len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    is_text = torch.arange(max(counts)) < torch.tensor(counts)[:, None]  # (B, N)
    ids, is_text = ids.to(prompt.device), is_text.to(prompt.device)
    # The last token is predicted, and predicts nothing.
    written = model.embed_tokens(ids[:, :-1]).to(prompt.dtype)
    hidden = model.hidden_states(
        torch.cat([prompt, written], dim=1), torch.cat([mask, is_text[:, :-1]], dim=1)
    )
    before = hidden[:, prompt.shape[1] - 1 :]  # (B, N, H): where each token is predicted
    found = _log_probs(model, before[is_text], ids[is_text]).split(counts)
    return [row.tolist() for row in found]


def _log_probs(model: SpanSALM, hidden: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities (K,) of tokens (K,) after hidden states (K, H)."""
    parts = []
    for some, tokens in zip(hidden.split(_POSITIONS), ids.split(_POSITIONS)):
        logits = model.causal_lm.lm_head(some).float()  # (up to _POSITIONS, V)
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        parts.append(chosen - logits.logsumexp(1))
    return torch.cat(parts)


def tokens_of_words(tokenizer: Any, ids: list[int]) -> list[list[int]]:
    """Which tokens (places in ``ids``) write each white-space word of the decoded text.

    A token that ends one word and begins another belongs to both; one that writes nothing but
    white space, or is special, to none. A word has at least one.
    """
    words: list[list[int]] = []
    special = set(tokenizer.all_special_ids)
    before = ""
    for place in range(len(ids)):
        text = tokenizer.decode(
            ids[: place + 1], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        added = text[len(before) :]
        goes_on = bool(before) and not before[-1].isspace() and not added[:1].isspace()
        total = len(text.split())
        del words[total:]  # half of a character that turned out to be white space
        if words and goes_on and ids[place] not in special:
            words[-1].append(place)
        words += [[place] for _ in range(total - len(words))]
        before = text
    return words


def decoded_words(
    tokenizer: Any, ids: list[int], log_probs: list[float]
) -> tuple[DecodedWord, ...]:
    """The words that tokens write, with the log-probabilities of each word's tokens."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return tuple(
        DecodedWord(word, tuple(log_probs[place] for place in places))
        for word, places in zip(text.split(), tokens_of_words(tokenizer, ids), strict=True)
    )
