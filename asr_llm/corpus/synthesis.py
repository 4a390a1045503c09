"""Text to speech with word timings.

Two synthesisers: espeak-ng, a small library that comes with
``espeakng-loader`` (no download, about a thousand times faster than real
time, hundreds of voices), and Piper, whose neural voices the user supplies by
path. Both return 16 kHz speech with the time of every word, which is free
supervision for whatever needs to know which audio belongs to which word.
"""

from __future__ import annotations

import ctypes
import difflib
import fnmatch
import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_llm.corpus.audio import SAMPLE_RATE
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
    """One utterance in memory: ``samples`` float32 (T,) at 16 kHz, and its words if timed."""

    text: str
    speaker: str
    samples: np.ndarray
    words: tuple[Word, ...] = ()

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
    variants = sorted(p.name for p in (_espeak().data / "voices" / "!v").iterdir())
    return ACCENTS + tuple(f"{accent}+{variant}" for accent in ACCENTS for variant in variants)


def select_voices(include: list[str], exclude: list[str] | None = None) -> tuple[str, ...]:
    """Voices whose names match a pattern of ``include`` and none of ``exclude``.

    Patterns are those of the shell (``en-us+*``). A name ending in ``.onnx`` is a Piper
    voice and is taken as it is.

    Raises:
        SynthesisError: a pattern of ``include`` matches nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in include:
        if pattern.endswith(".onnx"):
            chosen[pattern] = None
            continue
        found = fnmatch.filter(espeak_voices(), pattern)
        if not found:
            raise SynthesisError(
                f"no espeak-ng voice matches {pattern!r}; expected an accent "
                f"({', '.join(ACCENTS)}), alone or with a variant such as en-us+Annie, "
                "or the path of a Piper voice (.onnx)"
            )
        chosen.update(dict.fromkeys(found))
    for pattern in exclude or []:
        for name in fnmatch.filter(list(chosen), pattern):
            del chosen[name]
    return tuple(chosen)


def synthesize(
    text: str, voice: str, delivery: Delivery = Delivery(), spoken: str | None = None
) -> Utterance:
    """Speak ``text`` with an espeak-ng voice, or a Piper voice (path of its ``.onnx``).

    Args:
        text: what the transcript says; its white-space words get the timings.
        spoken: what the voice is given instead, where the two differ (respelled terms).

    Raises:
        SynthesisError: the voice is unknown, or nothing was spoken.
    """
    spoken = spoken or text
    if voice.endswith(".onnx"):
        from asr_llm.corpus.piper import speak

        samples, starts = speak(spoken, voice, delivery.rate)
    else:
        samples, starts = _espeak().speak(spoken, voice, delivery)
    if not len(samples):
        raise SynthesisError(
            f"voice {voice} said nothing for a text of {len(text)} characters; "
            "expected at least one pronounceable word"
        )
    words = _time_words(text, spoken, starts, samples)
    return Utterance(text=text, speaker=voice, samples=samples, words=words)


def _time_words(
    text: str, spoken: str, starts: list[float], samples: np.ndarray
) -> tuple[Word, ...]:
    """Carry the start times of the spoken words over to the words of the transcript."""
    said, shown = spoken.split(), text.split()
    total = len(samples) / SAMPLE_RATE
    bounds = [*starts, total]
    begins: list[float] = []
    matcher = difflib.SequenceMatcher(a=said, b=shown, autojunk=False)
    for _, s0, s1, w0, w1 in matcher.get_opcodes():
        if w1 - w0 == s1 - s0:
            begins += bounds[s0:s1]
        elif w1 > w0:  # a respelled term: its words share its time by their length
            share = np.cumsum([0] + [len(w) for w in shown[w0:w1]])
            begins += list(bounds[s0] + (bounds[s1] - bounds[s0]) * share[:-1] / share[-1])
    ends = [_last_sound(samples, b, e) for b, e in zip(begins, [*begins[1:], total])]
    return tuple(Word(w, float(b), float(e)) for w, b, e in zip(shown, begins, ends))


def _last_sound(samples: np.ndarray, start: float, end: float) -> float:
    """End of the sound between two times, so that a pause belongs to no word."""
    begin, stop = int(start * SAMPLE_RATE), int(end * SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples[begin:stop]) > 1e-3)
    return (begin + int(loud[-1]) + 1) / SAMPLE_RATE if len(loud) else end


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
    """The library, which is global to the process and not thread-safe: hence the lock."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise SynthesisError(
                "espeak-ng is missing; expected the package espeakng-loader: "
                "run 'pip install espeakng-loader'"
            ) from error
        self.data = Path(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._lock = threading.Lock()
        self._sample_rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, str(self.data.parent).encode(), _DONT_EXIT
        )
        if self._sample_rate <= 0:
            raise SynthesisError(
                f"espeak-ng did not start from {self.data}; "
                "run 'pip install --force-reinstall espeakng-loader'"
            )
        self._pieces: list[np.ndarray] = []
        self._words: list[tuple[int, int]] = []  # (character position from 0, sample)
        self._callback = _Callback(self._receive)  # kept: ctypes does not hold it for us
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if count > 0 and wave:
            self._pieces.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        i = 0
        while events[i].type != _EVENT_END_OF_LIST:
            if events[i].type == _EVENT_WORD:
                self._words.append((events[i].text_position - 1, events[i].sample))
            i += 1
        return 0

    def speak(self, text: str, voice: str, delivery: Delivery) -> tuple[np.ndarray, list[float]]:
        """Samples at 16 kHz, and the start in seconds of each white-space word of ``text``."""
        import soxr

        encoded = text.encode() + b"\0"
        with self._lock:
            if voice != self._voice:
                if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                    raise SynthesisError(
                        f"espeak-ng has no voice {voice!r}; expected a name such as en-us or "
                        "en-gb+Annie ('asr-llm doctor --voices' lists them)"
                    )
                self._voice = voice
            for parameter, value in (
                (_RATE, delivery.rate),
                (_PITCH, delivery.pitch),
                (_RANGE, delivery.range),
            ):
                self._library.espeak_SetParameter(parameter, value, 0)
            self._pieces, self._words = [], []
            self._library.espeak_Synth(
                encoded, len(encoded), 0, _CHARACTERS, 0, _UTF8, None, None
            )
            pieces, events = self._pieces, self._words
        pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        samples = soxr.resample(pcm.astype(np.float32) / 32768, self._sample_rate, SAMPLE_RATE)
        return samples.astype(np.float32), _word_starts(text, events, self._sample_rate, len(pcm))


def _word_starts(
    text: str, events: list[tuple[int, int]], sample_rate: int, num_samples: int
) -> list[float]:
    """First event inside each white-space word; a word without one starts with the next."""
    starts: list[float] = []
    position = 0
    found = sorted(events)
    for word in text.split():
        begin = text.index(word, position)
        position = begin + len(word)
        inside = [sample for character, sample in found if begin <= character < position]
        starts.append(min(inside) / sample_rate if inside else -1.0)
    following = num_samples / sample_rate
    for i in range(len(starts) - 1, -1, -1):
        starts[i] = following if starts[i] < 0 else min(starts[i], following)
        following = starts[i]
    return starts


@functools.cache
def _espeak() -> _Espeak:
    return _Espeak()
