"""Text to speech with word timings.

Two synthesisers: espeak-ng, a small library that comes with
``espeakng-loader`` (no download, about a thousand times faster than real
time, hundreds of voices), and Piper, whose neural voices the user supplies by
path or name. Both return 16 kHz speech with the time of every word, which is
free supervision for whatever needs to know which audio belongs to which word.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import difflib
import fnmatch
import functools
import re
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from asr_llm.corpus.audio import SAMPLE_RATE, is_silent
from asr_llm.errors import SynthesisError

ACCENTS = (
    "en-us",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-us-nyc",
    "en-029",
)
"""espeak-ng's English accents; a voice is an accent with a variant: ``en-us+Annie``."""


@dataclass(frozen=True)
class Word:
    """A white-space word of the text and when it is spoken, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """One utterance in memory: ``samples`` float32 (T,) at 16 kHz, and its words if timed.

    ``recorded``: it will come again, sample for sample, so what is made of it is worth keeping.
    """

    text: str
    speaker: str
    samples: np.ndarray
    words: tuple[Word, ...] = ()
    recorded: bool = False

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Delivery:
    """How a text is spoken: ``rate`` in words per minute, ``pitch`` and ``range`` from 0 to 99."""

    rate: int = 165
    pitch: int = 50
    range: int = 50


def espeak_voices() -> tuple[str, ...]:
    """Names of all espeak-ng English voices: accents, alone and with each variant."""
    variants = _espeak().variants()
    return ACCENTS + tuple(f"{accent}+{variant}" for accent in ACCENTS for variant in variants)


def select_voices(patterns: list[str]) -> tuple[str, ...]:
    """Voices chosen by patterns, in order: ``en-us+*`` adds, ``!*+Annie`` takes away.

    Patterns are those of the shell. A name ending in ``.onnx`` or beginning with ``piper:`` is
    a Piper voice and is taken as it is.

    Raises:
        SynthesisError: a pattern matches nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if _is_piper(pattern):
            chosen[pattern] = None
            continue
        exclude = pattern.startswith("!")
        found = fnmatch.filter(espeak_voices(), pattern.removeprefix("!"))
        if not found:
            raise SynthesisError(
                f"no espeak-ng voice matches {pattern!r}; expected an accent "
                f"({', '.join(ACCENTS)}), alone or with a variant such as en-us+Annie, "
                "or a Piper voice (the path of its .onnx, or piper:NAME)"
            )
        for name in found:
            chosen.pop(name, None) if exclude else chosen.setdefault(name)
    return tuple(chosen)


_UNLIKE_PEOPLE = ("*obo*", "*+whisper*", "*+croak", "*+Demonic", "*+fast")


def training_voices(held_out: Iterable[str]) -> list[str]:
    """Patterns for all voices that sound like people, but for those which speak held-out sets.

    A variant held out in one accent is held out in all: they are one speaker.
    """
    left_out = [f"*+{name.split('+')[1]}" if "+" in name else name for name in held_out]
    espeak = [pattern for pattern in left_out if not _is_piper(pattern)]
    return ["en-*", *(f"!{pattern}" for pattern in dict.fromkeys([*_UNLIKE_PEOPLE, *espeak]))]


def synthesize(
    text: str, voice: str, delivery: Delivery = Delivery(), spoken: str | None = None
) -> Utterance:
    """Speak ``text`` with an espeak-ng voice, or a Piper voice (its ``.onnx``, or piper:NAME).

    With espeak-ng the same call gives the same samples, always; Piper draws its noise anew.

    Args:
        text: what the transcript says; its white-space words get the timings.
        spoken: what the voice is given instead, where the two differ (respelled terms).

    Raises:
        SynthesisError: the voice is unknown, or nothing was spoken.
    """
    spoken = spoken or text
    if _is_piper(voice):
        from asr_llm.corpus.piper import speak

        samples, starts = speak(spoken, voice, delivery.rate)
    else:
        samples, starts = _espeak().speak(spoken, voice, delivery)
    samples = np.clip(samples, -1.0, 1.0)  # resampling overshoots
    if is_silent(samples):
        raise SynthesisError(
            f"voice {voice} said nothing for a text of {len(text)} characters; "
            "expected at least one pronounceable word"
        )
    words = _time_words(text, spoken, starts, samples)
    return Utterance(text=text, speaker=voice, samples=samples, words=words)


def synthesiser(voice: str) -> str:
    """Name and version of what speaks a voice: with text, voice and delivery, a cache key.

    Raises:
        SynthesisError: there is no such Piper voice, or the synthesiser is not installed.
    """
    if _is_piper(voice):
        from asr_llm.corpus.piper import fingerprint

        return fingerprint(voice)
    _espeak()
    return f"espeakng-loader {version('espeakng-loader')}"


def share_time(words: Sequence[str], start: float, end: float) -> list[float]:
    """Starts of words which share a stretch of time by their letters and digits.

    Punctuation takes no time, unless it is all there is.
    """
    weights = [sum(map(str.isalnum, word)) for word in words]
    if not sum(weights):
        weights = [len(word) for word in words]
    before = np.cumsum([0, *weights])
    return [start + (end - start) * float(share) for share in before[:-1] / max(before[-1], 1)]


def _is_piper(voice: str) -> bool:
    return voice.endswith(".onnx") or voice.startswith("piper:")


def _time_words(
    text: str, spoken: str, starts: list[float], samples: np.ndarray
) -> tuple[Word, ...]:
    """Carry the start times of the spoken words over to the words of the transcript."""
    said, shown = spoken.split(), text.split()
    total = len(samples) / SAMPLE_RATE
    bounds = [*(min(start, total) for start in starts), total]
    begins: list[float] = []
    matcher = difflib.SequenceMatcher(a=said, b=shown, autojunk=False)
    for _, s0, s1, w0, w1 in matcher.get_opcodes():
        if w1 - w0 == s1 - s0:
            begins += bounds[s0:s1]
        elif w1 > w0:  # a respelled term
            end = _last_sound(samples, bounds[s0], bounds[s1])
            begins += share_time(shown[w0:w1], bounds[s0], end)
    ends = [_last_sound(samples, begin, end) for begin, end in pairwise([*begins, total])]
    return tuple(Word(word, begin, end) for word, begin, end in zip(shown, begins, ends))


def _last_sound(samples: np.ndarray, start: float, end: float) -> float:
    """End of the sound between two times, so that a pause belongs to no word."""
    begin, stop = int(start * SAMPLE_RATE), int(end * SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples[begin:stop]) > 1e-3)
    last = (begin + int(loud[-1]) + 1) / SAMPLE_RATE if len(loud) else start
    return min(max(start, last), end)


# espeak-ng -------------------------------------------------------------------


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
_EVENT_END_OF_LIST, _EVENT_WORD = 0, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _CHARACTERS = 2, 0x8000, 1, 1


class _Espeak:
    """The library, loaded anew for every utterance: that takes 2 ms, voice included.

    It keeps state that nothing in its interface resets (the phase of the pitch's flutter, the
    gain control), so that otherwise an utterance would depend on all those spoken before it.
    It is also global to the process: hence the lock.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise SynthesisError(
                "espeak-ng is missing; expected the package espeakng-loader: "
                "run 'pip install espeakng-loader'"
            ) from error
        self.data = Path(espeakng_loader.get_data_path())
        self._path = espeakng_loader.get_library_path()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def _load(self) -> Iterator[tuple[ctypes.CDLL, int]]:
        """The library in its first state, and its sampling rate."""
        with contextlib.ExitStack() as stack:
            library = ctypes.CDLL(self._path)
            stack.callback(_ctypes.dlclose, library._handle)
            sample_rate = library.espeak_Initialize(
                _SYNCHRONOUS, 0, str(self.data.parent).encode(), _DONT_EXIT
            )
            if sample_rate <= 0:
                raise SynthesisError(
                    f"espeak-ng did not start from {self.data}; "
                    "run 'pip install --force-reinstall espeakng-loader'"
                )
            stack.callback(library.espeak_Terminate)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            ctypes.CDLL(None).srand(1)  # C's own: the voices made by SpeechPlayer use it
            yield library, sample_rate

    def speak(self, text: str, voice: str, delivery: Delivery) -> tuple[np.ndarray, list[float]]:
        """Samples at 16 kHz, and the start in seconds of each white-space word of ``text``."""
        import soxr

        _, has_variant, variant = voice.partition("+")
        pieces: list[bytes] = []
        events: list[tuple[int, int]] = []  # of words: (character from 0, sample)

        @_Callback
        def receive(wave: Any, count: int, found: Any) -> int:
            if count > 0 and wave:
                pieces.append(ctypes.string_at(wave, count * 2))
            i = 0
            while found[i].type != _EVENT_END_OF_LIST:
                if found[i].type == _EVENT_WORD:
                    events.append((found[i].text_position - 1, found[i].sample))
                i += 1
            return 0

        # NUL ends a text, and control-A would begin a command.
        encoded = text.translate({0: " ", 1: " "}).encode("utf-8", "replace") + b"\0"
        with self._lock, self._load() as (library, sample_rate):
            # An unknown variant would be ignored, so that two voices sounded the same.
            is_known = not has_variant or (variant and (self._variants / variant).is_file())
            if not is_known or library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise SynthesisError(
                    f"espeak-ng has no voice {voice!r}; expected a name such as en-us or "
                    "en-gb-x-rp+Annie ('asr-llm doctor --voices' lists them)"
                )
            library.espeak_SetParameter(_RATE, delivery.rate, 0)
            library.espeak_SetParameter(_PITCH, delivery.pitch, 0)
            library.espeak_SetParameter(_RANGE, delivery.range, 0)
            library.espeak_SetSynthCallback(receive)
            library.espeak_Synth(encoded, len(encoded), 0, _CHARACTERS, 0, _UTF8, None, None)
        pcm = np.frombuffer(b"".join(pieces), np.int16)
        samples = soxr.resample(pcm.astype(np.float32) / 32768, sample_rate, SAMPLE_RATE)
        timed = [(character, sample / sample_rate) for character, sample in events]
        return samples.astype(np.float32), _word_starts(text, timed, samples)

    @property
    def _variants(self) -> Path:
        return self.data / "voices" / "!v"

    def variants(self) -> list[str]:
        """Names of the variants of a voice."""
        return sorted(path.name for path in self._variants.iterdir())


def _word_starts(text: str, events: list[tuple[int, float]], samples: np.ndarray) -> list[float]:
    """Start of each white-space word, from events (character, seconds).

    A word starts at the first event in it, or in the white space before it. One without an
    event is run together with the word before it ("in the"), and they share their time.
    """
    words = text.split()
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    total = len(samples) / SAMPLE_RATE
    first: dict[int, float] = {}
    for character, seconds in events:
        i = min(bisect_right(ends, character), len(words) - 1)
        first[i] = min(seconds, first.get(i, total))
    first.setdefault(0, min(first.values(), default=0.0))
    heard = sorted(first)
    bounds = np.minimum.accumulate([first[i] for i in reversed(heard)])[::-1].tolist()
    starts: list[float] = []
    for (i, j), (start, end) in zip(pairwise([*heard, len(words)]), pairwise([*bounds, total])):
        starts += share_time(words[i:j], start, _last_sound(samples, start, end))
    return starts


@functools.cache
def _espeak() -> _Espeak:
    return _Espeak()
