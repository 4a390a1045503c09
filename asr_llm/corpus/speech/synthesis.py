"""Text to speech with word times.

Three synthesisers: espeak-ng, a small library in ``espeakng-loader`` (no download, about a thousand
times faster than real time, hundreds of robotic voices); hibari, one natural voice turned into many
speakers; and Piper, whose neural voices the user provides by path or name. All return 16 kHz speech
with the time of every word, which is free supervision for tasks that need word times.
"""

from __future__ import annotations

import difflib
import fnmatch
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, is_silent
from asr_llm.corpus.speech import espeak, hibari
from asr_llm.corpus.speech.espeak import ACCENTS, espeak_voices
from asr_llm.corpus.speech.utterance import Delivery, Utterance, Word, last_sound, share_time
from asr_llm.errors import SynthesisError

__all__ = [
    "ACCENTS",
    "Delivery",
    "Utterance",
    "Word",
    "espeak_voices",
    "held_out_voices",
    "installed_voices",
    "select_voices",
    "suggested_voice",
    "share_time",
    "synthesiser",
    "synthesize",
    "training_voices",
]


def installed_voices() -> tuple[str, ...]:
    """Names that patterns match: espeak-ng's voices, then hibari's."""
    return espeak_voices() + hibari.voices()


def select_voices(patterns: list[str]) -> tuple[str, ...]:
    """Select voices by patterns, in order: ``en-us+*`` adds, ``!*+Annie`` removes.

    Shell patterns. A name ending in ``.onnx`` or starting with ``piper:`` is a Piper voice and used
    as is; so is a hibari name that no pattern matches, such as ``hibari:heart+p72f88``.

    Raises:
        SynthesisError: a pattern matches nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        exclude = pattern.startswith("!")
        for name in _matching(pattern.removeprefix("!")):
            chosen.pop(name, None) if exclude else chosen.setdefault(name)
    return tuple(chosen)


def _matching(pattern: str) -> list[str]:
    if _is_piper(pattern):
        return [pattern]
    if found := fnmatch.filter(installed_voices(), pattern):
        return found
    if pattern.startswith("hibari"):
        return [hibari.check_voice(pattern)]
    raise SynthesisError(
        f"no espeak-ng voice matches {pattern!r}; expected an accent "
        f"({', '.join(ACCENTS)}), alone or with a variant such as "
        "en-us+Annie, a voice of hibari (hibari:*), or a Piper voice (the path of its .onnx, or "
        f"piper:NAME); of those installed, {suggested_voice()} is the most natural"
    )


_NON_HUMAN_VOICES = ("*obo*", "*+whisper*", "*+croak", "*+Demonic", "*+fast")


def held_out_voices(split: Literal["dev", "test"]) -> list[str]:
    """Default voices of dev and test sets: hibari's, if installed.

    Otherwise none: robotic espeak-ng voices must be chosen explicitly.
    """
    names = {"dev": hibari.DEV_SPEAKERS, "test": hibari.TEST_SPEAKERS}[split]
    voices = [f"{hibari.PREFIX}{hibari.BUNDLED}+{name}" for name in names]
    return voices if hibari.is_installed() else []


def suggested_voice() -> str:
    """The most natural voice installed, to name in advice."""
    return f"{hibari.PREFIX}{hibari.BUNDLED}" if hibari.is_installed() else f"{ACCENTS[0]}+Annie"


def training_voices(held_out: Iterable[str]) -> list[str]:
    """Patterns for all human-sounding voices except those of the held-out sets.

    hibari's if hibari speaks a held-out set, else espeak-ng's, so that training and test use the
    same kind of voice. A variant held out in one accent is held out in all, because it is the same
    speaker.
    """
    held_out = list(held_out)
    if any(name.startswith(hibari.PREFIX) for name in held_out):
        return [f"{hibari.PREFIX}*", *(f"!{name}" for name in dict.fromkeys(held_out))]
    left_out = [f"*+{name.split('+')[1]}" if "+" in name else name for name in held_out]
    espeak = [pattern for pattern in left_out if not _is_piper(pattern)]
    return ["en-*", *(f"!{pattern}" for pattern in dict.fromkeys([*_NON_HUMAN_VOICES, *espeak]))]


def speakable(text: str, language: str = "en") -> bool:
    """Whether a voice can say something of a text; English ones say Latin letters and digits."""
    if language != "en":
        return any(map(str.isalnum, text))
    return any(c.isascii() and c.isalnum() for c in unicodedata.normalize("NFKD", text))


def synthesize(
    text: str, voice: str, delivery: Delivery = Delivery(), spoken: str | None = None
) -> Utterance:
    """Speak ``text`` with a voice of espeak-ng, of hibari (``hibari:heart``), or of Piper.

    espeak-ng and hibari are deterministic; Piper draws new noise each time. Piper voices are given
    by their ``.onnx`` or as ``piper:NAME``.

    Args:
        text: the transcript, whose white-space words get the times.
        spoken: what the voice reads, if different (respelled terms).

    Raises:
        SynthesisError: the voice is unknown, or nothing was spoken.
    """
    spoken = spoken or text
    if _is_piper(voice):
        from asr_llm.corpus.speech import piper

        samples, starts = piper.speak(spoken, voice, delivery.rate)
        said = _until_next(spoken.split(), starts, samples)
    elif voice.startswith(hibari.PREFIX):
        samples, said = hibari.speak(spoken, voice, delivery)
    else:
        samples, starts = espeak.espeak().speak(spoken, voice, delivery)
        said = _until_next(spoken.split(), starts, samples)
    samples = np.clip(samples, -1.0, 1.0)  # resampling overshoots
    if is_silent(samples):
        raise SynthesisError(
            f"voice {voice} produced no speech for a text of {len(text)} characters; "
            "expected at least one pronounceable word"
        )
    words = _time_words(text.split(), said, samples)
    return Utterance(text=text, speaker=voice, samples=samples, words=words)


def synthesiser(voice: str) -> str:
    """Name and version of a voice's synthesiser: part of the cache key.

    Raises:
        SynthesisError: there is no such voice, or the synthesiser is not installed.
    """
    if _is_piper(voice):
        from asr_llm.corpus.speech import piper

        return piper.fingerprint(voice)
    if voice.startswith(hibari.PREFIX):
        return hibari.fingerprint(voice)
    return espeak.fingerprint()


def _is_piper(voice: str) -> bool:
    return voice.endswith(".onnx") or voice.startswith("piper:")


def _until_next(words: Sequence[str], starts: Sequence[float], samples: np.ndarray) -> list[Word]:
    total = len(samples) / SAMPLE_RATE
    bounds = [*(min(start, total) for start in starts), total]
    return [Word(word, *times) for word, times in zip(words, pairwise(bounds))]


def _time_words(
    shown: Sequence[str], said: Sequence[Word], samples: np.ndarray
) -> tuple[Word, ...]:
    """Map the times of the spoken words to the words of the transcript."""
    times: list[tuple[float, float]] = []
    matcher = difflib.SequenceMatcher(a=[word.text for word in said], b=shown, autojunk=False)
    for _, s0, s1, w0, w1 in matcher.get_opcodes():
        if w1 - w0 == s1 - s0:
            times += [(word.start, word.end) for word in said[s0:s1]]
        elif w1 > w0:  # a respelled term
            times += _share(shown[w0:w1], said[s0:s1], samples, times[-1][1] if times else 0.0)
    trimmed = [(start, last_sound(samples, start, end)) for start, end in times]
    return tuple(Word(word, start, end) for word, (start, end) in zip(shown, trimmed))


def _share(
    shown: Sequence[str], said: Sequence[Word], samples: np.ndarray, before: float
) -> list[tuple[float, float]]:
    """Times of words for which others were said, or none: then all are at the time ``before``."""
    start, end = (said[0].start, said[-1].end) if said else (before, before)
    end = last_sound(samples, start, end)
    return list(pairwise([*share_time(shown, start, end), end]))
