"""CTC forced alignment over given emissions.

The emissions come from any CTC model (``model.ctc`` runs them); the search is in ``ctc_search``.
Synthetic speech needs no alignment: the synthesiser provides word times.

Legend: T frames, V tokens including the blank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from asr_llm.corpus.recordings.ctc_search import Backend, search_of
from asr_llm.corpus.speech.synthesis import Word
from asr_llm.corpus.text.normalizers import normalize

if TYPE_CHECKING:
    from lhotse.cut import Cut
    from lhotse.supervision import AlignmentItem
    from torch import Tensor

_LONGEST_REST = 0.1
"""Seconds that a word may continue after its last token; tuned on dev sets."""


@dataclass(frozen=True)
class Spelling:
    """A transcript's words and the CTC tokens of each; a word may have none ("—")."""

    words: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]

    @property
    def flat(self) -> list[int]:
        """All tokens in order."""
        return [token for word in self.tokens for token in word]


@dataclass(frozen=True)
class Alignment:
    """Words with times in seconds, and the model's confidence in their tokens.

    ``confidence`` is the geometric mean of the posteriors of the aligned tokens, from 0 to 1: near
    1 if the transcript matches the speech; None for imported alignments. ``scores`` are the same
    for each word; None for a word without tokens. ``covered`` is the share of the tokens recognised
    without the transcript that lie in its words: near 1 if the transcript omits nothing.
    """

    words: tuple[Word, ...]
    confidence: float | None
    scores: tuple[float | None, ...]
    covered: float | None = None


@dataclass(frozen=True)
class Unaligned:
    """Why there is no alignment."""

    reason: str


def word_items(cut: Cut) -> list[AlignmentItem]:
    """The words of a cut and their times, as ``asr-llm align`` writes them; [] without."""
    return (cut.supervisions[0].alignment or {}).get("word", [])


def alignment_items(
    words: Iterable[Word], scores: Iterable[float | None] = ()
) -> list[AlignmentItem]:
    """Words in Lhotse's form: symbol, start and duration in seconds, confidence."""
    from lhotse.supervision import AlignmentItem

    return [
        AlignmentItem(word.text, word.start, round(word.end - word.start, 6), score)
        for word, score in zip_longest(words, scores)
    ]


def spell(
    text: str,
    encode: Callable[[list[str]], list[list[int]]],
    normalizer: str = "basic",
    said: Sequence[str] | None = None,
) -> Spelling:
    """Convert the white-space words of a transcript to CTC tokens.

    Args:
        said: the spoken form of each word, if different: "twenty five" for "25".
        encode: returns the token ids of each of several words.
        normalizer: of the CTC model's output; "none" for a model that writes case and punctuation.
    """
    words = tuple(text.split())
    heard = [normalize(word, normalizer) for word in said or words]
    encoded = iter(encode([word for word in heard if word]))
    return Spelling(words, tuple(tuple(next(encoded)) if word else () for word in heard))


def align(
    log_probs: list[Tensor],
    spellings: list[Spelling],
    blank: int,
    frame: float,
    backend: Backend = "auto",
    shift: float = 0.0,
) -> list[Alignment | Unaligned]:
    """Align transcripts to emissions.

    Args:
        log_probs: for each utterance (T, V), normalised, on one device.
        blank: index of the CTC blank in V.
        frame: seconds per emission frame.
        backend: ``k2``, NeMo's ``viterbi``, or auto: k2 if installed.
        shift: seconds by which this model's peaks lag the start of their tokens; word boundaries
            are moved earlier by it.

    Raises:
        AsrLlmError: k2 is requested but not installed.
    """
    reasons = [
        _impossible(len(e), frame, spelling.flat) for e, spelling in zip(log_probs, spellings)
    ]
    todo = [i for i, reason in enumerate(reasons) if reason is None]
    found: list[Alignment | Unaligned] = [Unaligned(reason or "") for reason in reasons]
    if todo:
        search = search_of(backend)
        paths = search([log_probs[i] for i in todo], [spellings[i].flat for i in todo], blank)
        for i, path in zip(todo, paths):
            found[i] = _words(path, log_probs[i], spellings[i], blank, frame, shift)
    return found


def _impossible(num_frames: int, frame: float, tokens: list[int]) -> str | None:
    """Why a transcript cannot be aligned; None if it can."""
    # CTC needs a blank between two equal tokens.
    needed = len(tokens) + sum(a == b for a, b in pairwise(tokens))
    if not tokens:
        return "the transcript has no words that the model can spell"
    if needed > num_frames:
        return (
            f"the transcript is too long for {num_frames * frame:.1f} s of audio ({needed} frames "
            f"needed, {num_frames} there): check that it belongs to this recording"
        )
    return None


def _words(
    path: list[int | None],
    log_probs: Tensor,
    spelling: Spelling,
    blank: int,
    frame: float,
    shift: float,
) -> Alignment:
    """Word times from the token (its position in ``flat``, or None) at each frame."""
    flat = spelling.flat
    frames: list[list[int]] = [[] for _ in flat]
    for t, token in enumerate(path):
        if token is not None:
            frames[token].append(t)

    def sure(first: int, after: int) -> float:
        """Geometric mean of the posteriors at the frames of the given tokens."""
        scores = [float(log_probs[t, flat[i]]) for i in range(first, after) for t in frames[i]]
        return math.exp(math.fsum(scores) / len(scores))

    total = len(path) * frame
    spans: list[tuple[float, float]] = []
    scores: list[float | None] = []
    place = 0
    for tokens in spelling.tokens:
        after = place + len(tokens)
        if tokens:
            earliest = spans[-1][1] if spans else 0.0
            start = max(frames[place][0] * frame - shift, earliest)
            end = (frames[after - 1][-1] + 1) * frame - shift
            spans.append((start, min(max(end, start), total)))
        scores.append(sure(place, after) if tokens else None)
        place = after
    sounding = iter(_into_gaps(spans, total))
    words: list[Word] = []
    for text, tokens in zip(spelling.words, spelling.tokens):
        unsaid = words[-1].end if words else 0.0  # at the end of the previous word
        start, end = next(sounding) if tokens else (unsaid, unsaid)
        words.append(Word(text, round(start, 4), round(end, 4)))
    covered = _covered(path, log_probs, spelling, blank)
    return Alignment(tuple(words), sure(0, len(flat)), tuple(scores), covered)


def _covered(
    path: list[int | None], log_probs: Tensor, spelling: Spelling, blank: int
) -> float | None:
    """Share of the tokens recognised without the transcript that its words cover.

    A word covers the tokens from its first to its last, but at most one more than it has itself:
    stretched over a sentence, it is still one word. None if nothing is recognised.
    """
    best = log_probs.argmax(dim=1).tolist()
    heard = [t for t, token in enumerate(best) if token not in (blank, best[t - 1] if t else blank)]
    if not heard:
        return None
    where: dict[int, list[int]] = {}
    for t, token in enumerate(path):
        if token is not None:
            where.setdefault(token, []).append(t)
    place, told = 0, 0
    for tokens in spelling.tokens:
        if tokens:
            first, last = where[place][0] - 1, where[place + len(tokens) - 1][-1] + 1
            told += min(sum(first <= t <= last for t in heard), len(tokens) + 1)
        place += len(tokens)
    return min(1.0, told / len(heard))


def _into_gaps(spans: list[tuple[float, float]], total: float) -> list[tuple[float, float]]:
    """Extend word ends half-way to the next word, by at most 0.1 s.

    CTC locates a word's last token; its duration is lost in the blanks that follow.
    """
    following = [*(start for start, _ in spans[1:]), total]
    return [
        (start, end + min((after - end) / 2, _LONGEST_REST))
        for (start, end), after in zip(spans, following)
    ]
