"""Results of decoding: texts, confidence, and guard reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DecodedWord:
    """A word as written, its confidence, and the log-probabilities behind it.

    ``confidence`` is the calibrated product of the probabilities of the word's tokens;
    ``log_probs`` are theirs.
    """

    text: str
    confidence: float
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class Guard:
    """A problem with a text, and what was done about it.

    ``found``: ``repetition`` (the model repeated itself), ``limit`` (it reached its token limit),
    ``chat`` (it chatted instead of transcribing), ``early`` (it stopped before the speaker did),
    ``empty`` (it wrote nothing although somebody speaks). ``done``: ``decoded again`` in parts,
    ``heard alone`` (decoded without biasing lists and text adapters), ``cut``, ``dropped``, or
    ``kept`` for the reader to check.
    """

    found: Literal["repetition", "limit", "chat", "early", "empty"]
    done: Literal["decoded again", "heard alone", "cut", "dropped", "kept"]


@dataclass(frozen=True)
class Hypothesis:
    """Tokens of a text, without the end token; ``complete`` if that was reached.

    ``log_probs``, if requested, are those of the tokens.
    """

    ids: tuple[int, ...]
    complete: bool = True
    log_probs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """The result for one audio.

    ``complete`` is false if the token limit stopped the model, ``loop_cut`` true if repetitions
    were cut from ``text``, ``early`` if it lacks most of what is heard; ``guards`` report what was
    done. If requested: ``words`` are those of ``text`` with confidence, ``encoded`` the encoder's
    output (F frames, D), so that an aligner need not run it again.
    """

    text: str
    complete: bool = True
    loop_cut: bool = False
    early: bool = False
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
