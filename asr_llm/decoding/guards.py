"""Guards: what is wrong with a text is seen, mended where it can be, and told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from asr_llm.corpus.audio import SAMPLE_RATE, Samples, split_at_pauses
from asr_llm.decoding.results import Guard

if TYPE_CHECKING:
    from asr_llm.decoding.results import Decoded

Guarded = tuple["Decoded", tuple[Guard, ...]]
"""A text that was decoded, again where need be, and what was found and done."""

_SHORTEST_SECONDS = 4.0  # of a chunk that is decoded again, in parts

_HEARD = 0.5  # nats a token; what is said gains 2 and more
_CHAT = re.compile(
    r"\W*(i('?m| am) (sorry|unable)|i apologi[sz]e|i can(no|')t|i don'?t have access"
    r"|as an ai|as a (large )?language model|sure\b|certainly\b|of course\b|here('s| is| are) "
    r"|the (audio|recording|speaker|speech|transcript(ion)?)\b|this (audio|recording|clip)\b"
    r"|how can i (help|assist)|please (provide|upload|share))",
    re.IGNORECASE,
)

_FOUND = {
    "repetition": "the model repeated itself",
    "limit": "the model reached its limit of tokens",
    "chat": "the model talked instead of transcribing",
    "empty": "the model heard no words",
}
_DONE = {
    "decoded again": "decoded again in parts",
    "heard alone": "decoded again without list and adapters of text",
    "cut": "the repeats were cut",
    "dropped": "that was dropped",
    "kept": "words may be missing",
}


Decode = Callable[[list[Samples]], "list[Decoded]"]
Listens = Callable[[Samples, str], float]
"""``decoder.listens``: how much likelier an audio makes a text, in nats a token."""


def decode_checked(
    decode: Decode,
    listens: Listens,
    audios: list[Samples],
    hear: Decode | None = None,
) -> list[Guarded]:
    """Decode B audios in one batch; again those where it went wrong.

    First in parts, half as long, each of which begins anew: what made the model lose its way lies
    elsewhere then. A part that goes wrong too is decoded by what is heard alone: an adapter that
    knows few texts, and a list, may prefer a phrase over and over.

    Args:
        hear: decodes without what is preferred; None where nothing is.
    """
    checked = zip(audios, decode(audios))
    return [_checked(decode, listens, hear, *both) for both in checked]


def is_chat(listens: Listens, samples: Samples, text: str) -> bool:
    """Whether an LLM talks to its user: it sounds like that, and the audio does not account for it.

    So somebody who dictates such words is taken at them.
    """
    return bool(_CHAT.match(text)) and listens(samples, text) < _HEARD


def told(guard: Guard) -> str:
    """What a guard found and did, for the reader of the text."""
    done = "" if guard.found == "empty" else f", {_DONE[guard.done]}"
    return _FOUND[guard.found] + done


def _checked(
    decode: Decode, listens: Listens, hear: Decode | None, samples: Samples, decoded: Decoded
) -> Guarded:
    def wrong(samples: Samples, decoded: Decoded) -> Guard | None:
        if decoded.loop_cut:
            return Guard("repetition", "cut")
        if not decoded.complete:
            return Guard("limit", "kept")
        return Guard("chat", "dropped") if is_chat(listens, samples, decoded.text) else None

    guard = wrong(samples, decoded)
    if guard is None:
        return decoded, () if decoded.text else (Guard("empty", "kept"),)
    parts, again, amiss = [samples], [decoded], [0]
    if len(samples) >= _SHORTEST_SECONDS * SAMPLE_RATE:
        edges = split_at_pauses(samples, 2 * len(samples) / 3 / SAMPLE_RATE)
        parts = [samples[start:end] for start, end in edges]
        again = decode(parts)
        amiss = [i for i, both in enumerate(zip(parts, again)) if wrong(*both)]
    if not amiss:
        return _joined(again), (Guard(guard.found, "decoded again"),)
    if hear is not None:
        for i, heard in zip(amiss, hear([parts[i] for i in amiss])):
            again[i] = heard
        if not any(wrong(parts[i], again[i]) for i in amiss):
            return _joined(again), (Guard(guard.found, "heard alone"),)
    return type(decoded)("") if guard.found == "chat" else decoded, (guard,)


def _joined(parts: list[Decoded]) -> Decoded:
    if len(parts) == 1:
        return parts[0]
    text = " ".join(part.text for part in parts if part.text)
    return type(parts[0])(text, words=tuple(word for part in parts for word in part.words))
