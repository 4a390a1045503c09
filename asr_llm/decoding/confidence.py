"""Confidence: probabilities of tokens and of words.

Legend: B texts, K hypotheses of each while decoding, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from asr_llm.decoding.results import DecodedWord
from asr_llm.decoding.token_scores import TokenScores
from asr_llm.errors import CheckpointError

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


@dataclass(frozen=True)
class Calibration:
    """Maps the probability of a word's tokens to the probability that the word is right.

    ``logit(confidence) = scale * logit(p) + offset``: Platt (1999), on the log-odds. A checkpoint
    has the two numbers in its config as ``word_confidence``; ``eval/calibration.py`` fits them.
    """

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, log_prob: float) -> float:
        """The confidence, 0 to 1, in a word with this log-probability."""
        log_prob = min(log_prob, -1e-6)  # rounding can give probabilities of 1 or more
        odds = log_prob - math.log(-math.expm1(log_prob))
        return 1 / (1 + math.exp(-max(self.scale * odds + self.offset, -700)))


def calibration(model: SpanSALM) -> Calibration:
    """The calibration in the checkpoint's config, or the identity.

    Raises:
        CheckpointError: it is not two numbers, the first above 0.
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


class TokenProbabilities(TokenScores):
    """Records the probability of every token that ``generate`` writes.

    It comes after the fusion of text adapters, whose scores belong to the belief (and improve
    calibration, see eval/RESULTS.md).
    """

    def kept(self, scores: Tensor) -> Tensor:
        """Log-probabilities (B * K, V)."""
        return scores.float().log_softmax(-1)


def decoded_words(
    tokenizer: Any, ids: list[int], log_probs: list[float], calibrate: Calibration
) -> tuple[DecodedWord, ...]:
    """The words of the tokens, with their confidence."""
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    words = []
    for word, places in zip(text.split(), tokens_of_words(tokenizer, ids), strict=True):
        own = tuple(log_probs[place] for place in places)
        words.append(DecodedWord(word, calibrate(sum(own)), own))
    return tuple(words)


def tokens_of_words(tokenizer: Any, ids: list[int]) -> list[list[int]]:
    """Indices into ``ids`` of the tokens of each white-space word of the decoded text.

    A token that spans two words belongs to both; white-space and special tokens belong to none. A
    word has at least one.
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
        del words[total:]  # part of a character that turned out to be white space
        if words and goes_on and ids[place] not in special:
            words[-1].append(place)
        words += [[place] for _ in range(total - len(words))]
        before = text
    return words
