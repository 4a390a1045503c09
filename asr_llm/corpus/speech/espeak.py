"""Speech synthesis with espeak-ng, a small library in the package ``espeakng-loader``.

No download, about a thousand times faster than real time, hundreds of voices.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import functools
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.utterance import Delivery, last_sound, share_time
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


def espeak_voices() -> tuple[str, ...]:
    """Names of all espeak-ng English voices: accents, alone and with each variant."""
    variants = espeak().variants()
    return ACCENTS + tuple(f"{accent}+{variant}" for accent in ACCENTS for variant in variants)


def fingerprint() -> str:
    """Its version, for cache keys.

    Raises:
        SynthesisError: it is not installed.
    """
    espeak()
    return f"espeakng-loader {version('espeakng-loader')}"


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
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _CHARACTERS, _IPA = 2, 0x8000, 1, 1, 2


class Espeak:
    """The library, reloaded for every utterance, which takes 2 ms including the voice.

    It keeps state that its API cannot reset (the phase of the pitch flutter, the gain control), so
    that otherwise an utterance would depend on earlier ones. The state is global to the process:
    hence the lock.
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
        """A freshly initialised library, and its sampling rate."""
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
            # An unknown variant would be ignored, and two voices would sound the same.
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

    def phonemes(self, texts: Sequence[str], voice: str = "en-us") -> list[str]:
        """Each text in IPA, as the voice reads it, with marks of stress."""
        with self._lock, self._load() as (library, _):
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            library.espeak_SetVoiceByName(voice.encode())
            return [" ".join(_clauses(library, text)) for text in texts]

    @property
    def _variants(self) -> Path:
        return self.data / "voices" / "!v"

    def variants(self) -> list[str]:
        """Names of the variants of a voice."""
        return sorted(path.name for path in self._variants.iterdir())


def _clauses(library: ctypes.CDLL, text: str) -> Iterator[str]:
    """The phonemes of each clause of a text."""
    left = ctypes.c_char_p(text.translate({0: " ", 1: " "}).encode("utf-8", "replace"))
    while left.value:
        said = library.espeak_TextToPhonemes(ctypes.byref(left), _UTF8, _IPA)
        yield (said or b"").decode("utf-8", "replace")


def _word_starts(text: str, events: list[tuple[int, float]], samples: np.ndarray) -> list[float]:
    """Start of each white-space word, from events (character, seconds).

    A word starts at its first event, or at one in the white space before it. A word without an
    event is pronounced together with the previous one ("in the"), and they share their time.
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
        starts += share_time(words[i:j], start, last_sound(samples, start, end))
    return starts


@functools.cache
def espeak() -> Espeak:
    """The one instance."""
    return Espeak()
