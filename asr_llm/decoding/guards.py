"""Guards: detect bad texts, repair them if possible, and report both."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, Samples, split_at_pauses
from asr_llm.decoding.results import Decoded, Guard

_SHORTEST_SECONDS = 4.0  # of a chunk to decode again in parts

_LONGEST_LOOP, _REPEATS = 8, 5  # words, times

_HEARD = 0.5  # nats per token; real speech gives 2 or more
_CHAT = re.compile(
    r"\W*(i('?m| am) (sorry|unable)|i apologi[sz]e|i can(no|')t|i don'?t have access"
    r"|as an ai|as a (large )?language model|sure\b|certainly\b|of course\b|here('s| is| are) "
    r"|the (audio|recording|speaker|speech|transcript(ion)?)\b|this (audio|recording|clip)\b"
    r"|how can i (help|assist)|please (provide|upload|share))",
    re.IGNORECASE,
)

_FOUND = {
    "repetition": "the model repeated itself",
    "limit": "the model reached its token limit",
    "chat": "the model chatted instead of transcribing",
    "early": "the model stopped before the speaker did",
    "empty": "the model recognised no words",
}
_DONE = {
    "decoded again": "decoded again in parts",
    "heard alone": "decoded again without biasing lists and text adapters",
    "cut": "the repetitions were cut",
    "dropped": "that was dropped",
    "kept": "words may be missing",
}


Attempt = Callable[[list[Samples]], list[Decoded]]
Support = Callable[[Samples, str], float]
"""``Decoder.support``: how much the audio supports a text, in nats per token."""


def repaired(
    audios: list[Samples],
    decoded: list[Decoded],
    attempt: Attempt,
    support: Support,
    heard_alone: Attempt | None = None,
) -> list[Decoded]:
    """The results for B audios; those that went wrong are decoded again.

    First in two or three parts, decoded independently, so that the cause is at another position. If
    a part goes wrong too, it is decoded without fusion and biasing, because an adapter trained on
    little text, and a list, may favour the same phrase over and over.

    Args:
        attempt: decodes with the same options.
        heard_alone: decodes without fusion and biasing; None if neither is active.
    """
    return [_checked(attempt, support, heard_alone, *both) for both in zip(audios, decoded)]


def is_chat(support: Support, samples: Samples, text: str) -> bool:
    """Whether the LLM chats with its user: the text sounds like it, but the audio does not.

    So a speaker who dictates such words is transcribed.
    """
    return bool(_CHAT.match(text)) and support(samples, text) < _HEARD


def describe_guard(guard: Guard) -> str:
    """Describe for the user what a guard found and did."""
    done = "" if guard.found == "empty" else f", {_DONE[guard.done]}"
    return _FOUND[guard.found] + done


def cut_loop(text: str) -> str:
    """Keep one repetition if a text ends in the same 1 to 8 words five times or more.

    The token limit may have stopped the loop within a word: a last word that is a prefix of the
    next one due belongs to the loop.
    """
    words = text.split()
    kept = len(words)
    for size in range(1, min(_LONGEST_LOOP, len(words) // _REPEATS) + 1):
        due, last = words[-1 - size], words[-1]
        whole = words[:-1] if due != last and due.startswith(last) else words
        start = len(whole) - size  # of the run with period `size`
        while start > 0 and whole[start - 1] == whole[start - 1 + size]:
            start -= 1
        if len(whole) - start >= _REPEATS * size:
            kept = min(kept, start + size)
    # A loop may contain a smaller one.
    return text if kept == len(words) else cut_loop(" ".join(words[:kept]))


def _checked(
    attempt: Attempt,
    support: Support,
    heard_alone: Attempt | None,
    samples: Samples,
    decoded: Decoded,
) -> Decoded:
    def wrong(samples: Samples, decoded: Decoded) -> Guard | None:
        if decoded.loop_cut:
            return Guard("repetition", "cut")
        if not decoded.complete:
            return Guard("limit", "kept")
        if decoded.early:
            return Guard("early", "kept")
        return Guard("chat", "dropped") if is_chat(support, samples, decoded.text) else None

    guard = wrong(samples, decoded)
    if guard is None:
        return decoded if decoded.text else replace(decoded, guards=(Guard("empty", "kept"),))
    parts, again, amiss = [samples], [decoded], [0]
    if len(samples) >= _SHORTEST_SECONDS * SAMPLE_RATE:
        edges = split_at_pauses(samples, 2 * len(samples) / 3 / SAMPLE_RATE)
        parts = [samples[start:end] for start, end in edges]
        again = attempt(parts)
        amiss = [i for i, both in enumerate(zip(parts, again)) if wrong(*both)]
    if not amiss:
        return Decoded.joined(again, Guard(guard.found, "decoded again"))
    if heard_alone is not None:
        for i, alone in zip(amiss, heard_alone([parts[i] for i in amiss])):
            again[i] = alone
        if not any(wrong(parts[i], again[i]) for i in amiss):
            return Decoded.joined(again, Guard(guard.found, "heard alone"))
    kept = Decoded("") if guard.found == "chat" else decoded
    if guard.found == "early" and all(again[i].early for i in amiss):
        kept = max(decoded, Decoded.joined(again), key=lambda one: len(one.text))
    return replace(kept, guards=(guard,))
