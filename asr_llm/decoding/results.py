"""What a decoder returns: texts, their confidence, and what its guards found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DecodedWord:
    """A word as it is written, how probable it is that it is right, and what that is made from.

    ``confidence`` is the product of the probabilities of the word's tokens, calibrated;
    ``log_probs`` are theirs.
    """

    text: str
    confidence: float
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class Guard:
    """Something that was wrong with a text, and what was done about it.

    ``found``: ``repetition`` (the model repeated itself), ``limit`` (it reached its limit of
    tokens), ``chat`` (it talked instead of transcribing), ``empty`` (it wrote nothing where
    somebody speaks). ``done``: ``decoded again`` in parts, ``heard alone`` (decoded without list
    and adapters of text), ``cut``, ``dropped``, or ``kept`` where the reader has to know.
    """

    found: Literal["repetition", "limit", "chat", "empty"]
    done: Literal["decoded again", "heard alone", "cut", "dropped", "kept"]


@dataclass(frozen=True)
class Hypothesis:
    """Tokens of a text, without the one that ends it; ``complete`` if that one was reached.

    ``log_probs``, where they were asked for, are the tokens' own.
    """

    ids: tuple[int, ...]
    complete: bool = True
    log_probs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """What was written for one audio.

    ``complete`` is false where the limit of tokens stopped the model before it had finished,
    ``loop_cut`` true where it repeated itself and the repeats were cut out of ``text``;
    ``guards`` tell what became of such a text. Where asked for: ``words`` are those of ``text``
    with their confidence, ``encoded`` what the encoder made of the audio (F frames, D), so that an
    aligner need not run it again.
    """

    text: str
    complete: bool = True
    loop_cut: bool = False
    words: tuple[DecodedWord, ...] = ()
    guards: tuple[Guard, ...] = ()
    encoded: Tensor | None = field(default=None, compare=False, repr=False)

    @classmethod
    def joined(cls, parts: Sequence[Decoded], *guards: Guard) -> Decoded:
        """The texts of an audio's parts as one."""
        if len(parts) == 1:
            return replace(parts[0], guards=guards)
        text = " ".join(part.text for part in parts if part.text)
        return cls(text, words=tuple(w for part in parts for w in part.words), guards=guards)
