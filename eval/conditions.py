"""Recordings under difficult conditions: `small` beside Whisper base, on the same audio in one run.

    python eval/conditions.py MANIFEST --whisper FOLDER [--clips 50] [--only telephone radio]

Clean recordings are made worse, the same way for both systems: telephone (300 to 3,400 Hz, 8 kHz,
mu-law), noise and other voices at a signal-to-noise ratio in dB, a reverberant room, speech that is
faster or slower with its pitch, and a radio (350 to 2,600 Hz, overdriven, noisy). Four beams;
errors by `whisper-en`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jiwer
import numpy as np
import soxr
from recognisers import by_us, by_whisper, load_whisper, some_of

from asr_llm import SpeechLLM
from asr_llm.cli import silence_libraries
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.speech.augment import add_echo, add_noise, band_limit
from asr_llm.corpus.text.normalizers import normalize

BEAMS = 4
Worsen = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Recognise = Callable[[list[np.ndarray]], list[str]]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, help="clean recordings with their texts")
    parser.add_argument("--whisper", required=True, help="faster-whisper's model: name or folder")
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=50, help="spread over the manifest")
    parser.add_argument("--only", nargs="+", metavar="CONDITION")
    arguments = parser.parse_args()
    silence_libraries()
    cuts = some_of(list(read_manifest(arguments.manifest)), arguments.clips)
    clips = [cut_audio(cut) for cut in cuts]
    said = [normalize(cut.supervisions[0].text or "", "whisper-en") for cut in cuts]
    systems: dict[str, Recognise] = {
        arguments.model: partial(by_us, SpeechLLM.load(arguments.model, num_beams=BEAMS)),
        "Whisper": partial(by_whisper, load_whisper(arguments.whisper), beams=BEAMS),
    }
    print("| condition | system | WER | subs. | del. | ins. |\n|---|---|---|---|---|---|")
    for name, worsen in conditions(clips).items():
        if arguments.only and name not in arguments.only:
            continue
        rng = np.random.default_rng(0)
        heard = [worsen(clip, rng) for clip in clips]
        for system, recognise in systems.items():
            texts = [normalize(text, "whisper-en") for text in recognise(heard)]
            found = jiwer.process_words(said, texts)
            counts = f"{found.substitutions} | {found.deletions} | {found.insertions}"
            print(f"| {name} | {system} | {found.wer:.1%} | {counts} |", flush=True)


def conditions(clips: list[np.ndarray]) -> dict[str, Worsen]:
    """Each takes a clip, float32 (T,), and draws from a generator."""
    return {
        "clean": lambda clip, rng: clip,
        "telephone": lambda clip, rng: telephone(clip),
        "telephone, noise 10 dB": lambda clip, rng: telephone(add_noise(clip, rng, 10, 0.5)),
        "noise 5 dB": lambda clip, rng: add_noise(clip, rng, 5, 0.5),
        "voices 8 dB": lambda clip, rng: add_voices(clip, rng, clips, 8),
        "room": lambda clip, rng: add_echo(clip, rng, seconds=0.8),
        "1.3 times as fast": lambda clip, rng: played(clip, 1.3),
        "0.75 times as fast": lambda clip, rng: played(clip, 0.75),
        "radio": radio,
    }


def telephone(clip: np.ndarray) -> np.ndarray:
    """As over a telephone: G.711's mu-law at 8 kHz."""
    narrow = soxr.resample(band_limit(clip, 300, 3400), SAMPLE_RATE, 8000)
    narrow *= 0.5 / max(1e-6, np.abs(narrow).max())
    compressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    steps = np.round(compressed * 127) / 127
    expanded = np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255
    return np.asarray(soxr.resample(expanded, 8000, SAMPLE_RATE), np.float32)


def add_voices(
    clip: np.ndarray, rng: np.random.Generator, clips: list[np.ndarray], snr: float
) -> np.ndarray:
    """Four of the clips behind it, together at this signal-to-noise ratio in dB."""
    behind = np.zeros(len(clip))
    for i in rng.integers(len(clips), size=4):
        behind += np.resize(np.roll(clips[i], rng.integers(len(clips[i]))), len(clip))
    gain = np.sqrt((clip**2).mean() / (behind**2).mean() / 10 ** (snr / 10))
    return (clip + gain * behind).astype(np.float32)


def played(clip: np.ndarray, speed: float) -> np.ndarray:
    """Played so many times as fast, as from a tape."""
    return np.asarray(soxr.resample(clip, SAMPLE_RATE * speed, SAMPLE_RATE), np.float32)


def radio(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As from a cockpit: a narrow band, overdriven, with noise at 12 dB."""
    narrow = band_limit(clip, 350, 2600)
    overdriven = np.clip(8 * narrow / max(1e-6, np.abs(narrow).max()), -1, 1) * 0.4
    return band_limit(add_noise(overdriven, rng, 12, 0.0), 300, 3000)


if __name__ == "__main__":
    main()
