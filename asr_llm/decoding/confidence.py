"""How sure the recogniser is of what it wrote: the probabilities of tokens, and of words.

Legend: B texts, K hypotheses of each while decoding, N tokens written so far, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from asr_llm.decoding.results import DecodedWord
from asr_llm.errors import CheckpointError

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class Calibration:
    """From the probability of a word's tokens to the share of such words that are right.

    ``logit(confidence) = scale * logit(p) + offset``: Platt (1999), on the log-odds. A checkpoint
    keeps the two numbers in its config as ``word_confidence``; ``eval/calibration.py`` fits them.
    """

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, log_prob: float) -> float:
        """The confidence, 0 to 1, in a word of this log-probability."""
        log_prob = min(log_prob, -1e-6)  # rounding makes certain, or more, of nearly certain
        odds = log_prob - math.log(-math.expm1(log_prob))
        return 1 / (1 + math.exp(-max(self.scale * odds + self.offset, -700)))


def calibration(model: SpanSALM) -> Calibration:
    """What the checkpoint's config says, or nothing to correct.

    Raises:
        CheckpointError: it says something else than two numbers, the first above 0.
    """
    found = model.cfg.get("word_confidence")
    if found is None:
        return Calibration()
    try:
        made = Calibration(**{name: float(value) for name, value in found.items()})
    except (AttributeError, TypeError, ValueError):
        made = None
    if made is None or not (0 < made.scale < math.inf and abs(made.offset) < math.inf):
        raise CheckpointError(
            f"word_confidence in this checkpoint's config is {found}; expected 'scale', a number "
            "above 0, and 'offset', a number: fit them anew, or take it out"
        )
    return made


class TokenProbabilities(LogitsProcessor):
    """Remembers how probable every token was that ``generate`` wrote; changes nothing.

    The scores it is given may be changed already: its place among the processors says whose say
    counts. ``generate`` puts it behind the fusion of an adapter of text, whose preference is part
    of what is believed (so it is better calibrated, see eval/RESULTS.md). A pass over the finished
    text would find the same, but reads prompt and speech once more: 30% of greedy decoding's time.

    Args:
        beams: K; the hypotheses of a text, which may go on from one another's.
    """

    def __init__(self, beams: int) -> None:
        self.beams = beams
        self.written = torch.zeros(0, 0, dtype=torch.long)  # (B * K, N)
        self.next = torch.zeros(0, 0)  # log-probabilities (B * K, V) of what comes next
        # Of each step, for the hypotheses there were after it (B * K,): from which of the
        # hypotheses before it each came, its token, and how probable that was.
        self.steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B * K, V) of the next token, with what (B * K, N) was written so far."""
        if input_ids.shape[1]:
            origin, token = self._origins(input_ids[:, :-1]), input_ids[:, -1]
            self.steps.append((origin, token, self.next[origin, token]))
        self.written, self.next = input_ids, scores.float().log_softmax(-1)
        return scores

    def _origins(self, before: Tensor) -> Tensor:
        """The first hypothesis of the last step that reads as each one did, of the same text."""
        groups = (len(before) // self.beams, self.beams, before.shape[1])
        now, then = before.reshape(groups), self.written.reshape(groups)
        place = (now[:, :, None] == then[:, None]).all(-1).int().argmax(-1)  # (B, K)
        first = torch.arange(0, len(before), self.beams, device=before.device)
        return (place + first[:, None]).flatten()

    def log_probs(self, texts: list[list[int]]) -> list[list[float]]:
        """The log-probability of each token of B texts that were written, without the end token."""
        steps = list(zip(*(torch.stack(parts).tolist() for parts in zip(*self.steps))))
        return [self._of_one(ids, i * self.beams, steps) for i, ids in enumerate(texts)]

    def _of_one(self, ids: list[int], at: int, steps: list[Any]) -> list[float]:
        """Follow a text from its first hypothesis, the row ``at``, through the steps."""
        rows = range(at, at + self.beams)
        found = []
        for token, (origins, tokens, log_probs) in zip(ids, steps):
            at = next(row for row in rows if origins[row] == at and tokens[row] == token)
            found.append(log_probs[at])
        if len(found) < len(ids):  # the last one that there was room for
            found.append(float(self.next[at, ids[-1]]))
        return found


def decoded_words(
    tokenizer: Any, ids: list[int], log_probs: list[float], calibrate: Calibration
) -> tuple[DecodedWord, ...]:
    """The words that tokens write, with their confidence."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    words = []
    for word, places in zip(text.split(), tokens_of_words(tokenizer, ids), strict=True):
        own = tuple(log_probs[place] for place in places)
        words.append(DecodedWord(word, calibrate(sum(own)), own))
    return tuple(words)


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
