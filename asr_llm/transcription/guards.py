"""Guards: what is wrong with a text is seen, mended where it can be, and told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from asr_llm.corpus.audio import SAMPLE_RATE, Samples, split_at_pauses
from asr_llm.transcription.transcript import Guard

if TYPE_CHECKING:
    from asr_llm.model.decoding import Decoded

Guarded = tuple["Decoded", tuple[Guard, ...]]
"""A text that was decoded, again where need be, and what was found and done."""

_SHORTEST_SECONDS = 4.0  # of a chunk that is decoded again, in parts

_FOUND = {
    "repetition": "the model repeated itself",
    "limit": "the model reached its limit of tokens",
    "chat": "the model talked instead of transcribing",
    "empty": "the model heard no words",
}
_DONE = {
    "decoded again": "decoded again in parts",
    "cut": "the repeats were cut",
    "dropped": "that was dropped",
    "kept": "words may be missing",
}


def decode_checked(
    decode: Callable[[list[Samples]], list[Decoded]], audios: list[Samples]
) -> list[Guarded]:
    """Decode B audios in one batch; again, in parts, those where it went wrong.

    A part, half as long, begins anew: what made the model lose its way lies elsewhere then.
    """
    return [_checked(decode, *both) for both in zip(audios, decode(audios))]


def told(guard: Guard) -> str:
    """What a guard found and did, for the reader of the text."""
    done = "" if guard.found == "empty" else f", {_DONE[guard.done]}"
    return _FOUND[guard.found] + done


def _checked(
    decode: Callable[[list[Samples]], list[Decoded]], samples: Samples, decoded: Decoded
) -> Guarded:
    if decoded.complete and not decoded.loop_cut:
        return decoded, () if decoded.text else (Guard("empty", "kept"),)
    guard = Guard("repetition", "cut") if decoded.loop_cut else Guard("limit", "kept")
    if len(samples) >= _SHORTEST_SECONDS * SAMPLE_RATE:
        parts = split_at_pauses(samples, 2 * len(samples) / 3 / SAMPLE_RATE)
        again = decode([samples[start:end] for start, end in parts])
        if all(part.complete and not part.loop_cut for part in again):
            whole = type(decoded)(
                " ".join(part.text for part in again if part.text),
                words=tuple(word for part in again for word in part.words),
            )
            return whole, (Guard(guard.found, "decoded again"),)
    return decoded, (guard,)
