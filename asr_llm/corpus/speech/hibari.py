"""Speech by hibari: natural American voices, about eighty times faster than real time on one core.

The package hibari-tts (Apache-2.0) is optional and brings one voice, ``heart``. Its network
predicts the spectral envelope, the pitch and each phoneme's duration before any sound is made. So
one voice gives many speakers: the pitch curve is scaled, the envelope is stretched along the
frequency axis like that of a longer or shorter vocal tract. Word times are exact.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.utterance import Delivery, Word, share_time
from asr_llm.corpus.speech.vocoder import Parts, render, shift_pitch, stretch_envelope
from asr_llm.errors import SynthesisError

if TYPE_CHECKING:
    from hibari import Hibari
    from onnxruntime import InferenceSession

PREFIX, BUNDLED = "hibari:", "heart"
_SHAPES = (
    *((50, 82), (50, 88), (60, 84), (60, 92), (70, 88), (70, 96), (85, 92), (85, 100)),
    *((100, 94), (100, 106), (115, 100), (115, 108), (130, 106), (130, 116)),
)
SPEAKERS = tuple(f"p{pitch}f{formants}" for pitch, formants in _SHAPES)
"""Listed variants of each voice: pitch and formants in percent of its own."""
DEV_SPEAKERS, TEST_SPEAKERS = ("p70f88", "p100f106"), ("p60f92", "p85f92", "p115f108", "p130f106")
"""Default voices of dev and test sets; never used in training."""

_VARIANT = re.compile(r"p(\d{2,3})f(\d{2,3})")
# In percent; beyond these it no longer sounds like a person.
_PITCHES, _FORMANTS = range(40, 161), range(75, 131)
_SAMPLE_RATE = 24_000
_NORMAL_RATE = 165  # words per minute at speed 1, that of the default delivery
_PAUSES = ' ;:,.!?—…"“”()'
_EARLY = 0.03  # seconds that sounds begin before their phonemes do, in the median of 100 sentences
_load_lock = threading.Lock()


def voices() -> tuple[str, ...]:
    """Names of the voices on this machine, alone and with each listed variant."""
    if not is_installed():
        return ()
    return tuple(
        f"{PREFIX}{name}{variant}"
        for name in _names_here()
        for variant in ("", *(f"+{speaker}" for speaker in SPEAKERS))
    )


def is_installed() -> bool:
    """Whether hibari-tts is installed."""
    return find_spec("hibari") is not None


def check_voice(voice: str) -> str:
    """Return the name of an available voice.

    Raises:
        SynthesisError: hibari or the voice is missing, or its variant is invalid.
    """
    name, *_ = _parse(voice)
    if not is_installed():
        raise SynthesisError(
            f"hibari is missing, which speaks {voice!r}; expected the package hibari-tts: run "
            "'pip install asr-llm[voices]', or use an espeak-ng voice such as en-us"
        )
    if name not in (here := _names_here()):
        raise SynthesisError(
            f"no hibari voice {name!r} on this machine; expected one of {', '.join(here)}. "
            f"With a network: hibari --voice {name} -o /dev/null Hello"
        )
    return voice


def speak(text: str, voice: str, delivery: Delivery) -> tuple[np.ndarray, list[Word]]:
    """Speak ``text``; the same call gives the same samples.

    Args:
        voice: ``hibari:NAME``, or ``hibari:NAME+pPfF`` with pitch and formants in percent.
        delivery: a pitch of 0 lowers the voice by half an octave, 100 raises it by as much;
            range scales how far the pitch moves from its mean, tract the formants by up to a
            tenth, and rate the speed.

    Returns:
        float32 (T,) at 16 kHz, and the words as they were said, abbreviations in full; the pause
        before punctuation belongs to no word.

    Raises:
        SynthesisError: hibari or the voice is missing, or it failed on this text.
    """
    import soxr

    name, pitch, formants = _parse(check_voice(voice))
    model = _load(name)
    pitch *= 2.0 ** ((delivery.pitch - 50) / 100)
    formants *= 1.0 + (delivery.tract - 50) / 500
    speed = float(np.clip(delivery.rate / _NORMAL_RATE, 0.5, 2.0))
    noise = np.random.default_rng(0)
    sounds: list[np.ndarray] = [np.zeros(0, np.float32)]
    words: list[Word] = []
    try:
        for said, phonemes in model.chunks(text):
            parts, durations = model.predict("".join(phonemes), speed)
            parts = shift_pitch(parts, pitch, delivery.range / 50)
            sounds.append(render(stretch_envelope(parts, formants), noise))
            start = sum(map(len, sounds[:-1])) / _SAMPLE_RATE
            end = start + len(sounds[-1]) / _SAMPLE_RATE
            words += _time(said, phonemes, durations, start, end)
    except Exception as error:  # whatever the model runs into
        lines = str(error).strip().splitlines() or [""]
        raise SynthesisError(
            f"voice {voice} failed on a text of {len(text)} characters "
            f"({type(error).__name__}: {lines[0][:200]}); try another voice"
        ) from error
    samples = soxr.resample(np.concatenate(sounds), _SAMPLE_RATE, SAMPLE_RATE)
    return samples.astype(np.float32), words


def fingerprint(voice: str) -> str:
    """hibari's version and a hash of the voice's network, for cache keys.

    Raises:
        SynthesisError: hibari or the voice is missing.
    """
    name, *_ = _parse(check_voice(voice))
    return f"hibari-tts {version('hibari-tts')} {_load(name).digest}"


def _parse(voice: str) -> tuple[str, float, float]:
    """The network's name, and the factors of pitch and formants."""
    name, plus, variant = voice.removeprefix(PREFIX).partition("+")
    found = _VARIANT.fullmatch(variant or "p100f100")
    pitch, formants = map(int, found.groups()) if found else (0, 0)
    if pitch not in _PITCHES or formants not in _FORMANTS or (plus and not variant):
        raise SynthesisError(
            f"no hibari variant {variant!r}; expected pitch ({_PITCHES[0]} to {_PITCHES[-1]}) and "
            f"formants ({_FORMANTS[0]} to {_FORMANTS[-1]}) in percent, such as "
            f"{PREFIX}heart+p60f88 ('asr-llm doctor --voices' lists some)"
        )
    return name, pitch / 100, formants / 100


def _names_here() -> list[str]:
    from hibari.voices import VOICES

    return [name for name in VOICES if _network(name) is not None]


def _network(name: str) -> Path | None:
    from hibari.voices import voice_path

    try:
        return Path(voice_path(name, download_missing=False))
    except FileNotFoundError:
        return None


# The network -----------------------------------------------------------------


@dataclass(frozen=True)
class _Model:
    """A voice: hibari's own object for the text, and its network with the durations put out."""

    tts: Hibari
    session: InferenceSession
    digest: str

    def chunks(self, text: str) -> Iterator[tuple[list[str], list[str]]]:
        """White-space words and the phonemes of each, in chunks that the network takes."""
        from hibari.tts import MAX_PHONEMES

        for sentence in self.tts.split_sentences(text):
            words: list[str] = []
            sounds: list[str] = []
            for word, sound in self._words(sentence):
                if words and len("".join(sounds)) + len(sound) > MAX_PHONEMES:
                    yield words, sounds
                    words, sounds = [], []
                words.append(word)
                sounds.append(sound)
            if "".join(sounds).strip():
                yield words, sounds

    def _words(self, sentence: str) -> list[tuple[str, str]]:
        from hibari.g2p.normalize import normalize

        g2p = self.tts.g2p
        return _group(g2p.phonemize_tokens(g2p.tokenize(normalize(sentence))))

    def predict(self, phonemes: str, speed: float) -> tuple[Parts, np.ndarray]:
        """The parts of the sound, and how many frames each phoneme has, the pads' included."""
        feed = {
            "ids": np.asarray([self.tts.ids(phonemes)], np.int64),
            "speed": np.asarray([speed], np.float32),
        }
        *parts, durations = self.session.run(None, feed)
        return Parts(*(part[0] for part in parts)), np.ravel(durations)


def _load(name: str) -> _Model:
    with _load_lock:  # so that no voice is loaded twice
        return _load_in(name, os.getpid())


@functools.lru_cache(maxsize=8)
def _load_in(name: str, process: int) -> _Model:
    """A session's threads do not survive a fork: each ``process`` loads its own."""
    import onnxruntime
    from hibari import Hibari

    tts = Hibari(voice=name)
    network = Path(tts.model_path).read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _with_durations(network), options, providers=["CPUExecutionProvider"]
    )
    return _Model(tts, session, hashlib.sha256(network).hexdigest())


def _with_durations(network: bytes) -> bytes:
    """The network with one more output: the frames of each phoneme, rounded and at least one.

    That is the clipped output of its one Round node.
    """
    import onnx

    model = onnx.load_model_from_string(network)
    rounded = [node.output[0] for node in model.graph.node if node.op_type == "Round"]
    clipped = [
        n.output[0] for n in model.graph.node if n.op_type == "Clip" and n.input[0] in rounded
    ]
    if len(clipped) != 1:
        raise ValueError(f"{len(clipped)} nodes could be the durations; expected hibari-tts 0.2")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(clipped[0]))
    return bytes(model.SerializeToString())


def _group(tokens: Sequence[Any]) -> list[tuple[str, str]]:
    """Tokens joined to white-space words, and the phonemes of each, its space included."""
    words: list[tuple[str, str]] = []
    text = sounds = ""
    for token in tokens:
        text += token.text
        sounds += token.phonemes or ""
        if token.whitespace:
            words.append((text, sounds + " "))
            text = sounds = ""
    return [*words, (text, sounds)] if text else words


def _time(
    words: Sequence[str], sounds: Sequence[str], durations: np.ndarray, start: float, end: float
) -> list[Word]:
    """When each word of a chunk is said: until the next word, or its own punctuation, a pause."""
    if len(durations) != len("".join(sounds)) + 2:  # a phoneme is not known
        return _pair(words, share_time(words, start, end), end)
    ends = start + np.cumsum(durations) * (end - start) / durations.sum() - _EARLY
    # One pad comes before the first phoneme, so ends[i] is where phoneme i starts.
    times, i = [], 0
    for word, sound in zip(words, sounds):
        first = i + len(sound) - len(sound.lstrip(_PAUSES))
        has_pause = bool(sound[len(sound.rstrip(_PAUSES)) :].strip())
        last = max(first, i + len(sound.rstrip(_PAUSES) if has_pause else sound))
        times.append(Word(word, float(ends[first]), float(ends[last])))
        i += len(sound)
    return times


def _pair(words: Sequence[str], starts: Sequence[float], end: float) -> list[Word]:
    return [Word(word, *times) for word, times in zip(words, pairwise([*starts, end]))]
