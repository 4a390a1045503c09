"""Write what `small` learns from: recordings with written transcripts, and text to be spoken.

    python adapt/mini/prepare.py --data ../shared/data --wordnet DIR --out runs/mini-data
    python adapt/small/prepare.py --data ../shared/data --mini runs/mini-data --out runs/small-data

To what `mini` learned from (case and punctuation from the books that were read, six readers and
their books left out) come three more readers of LibriSpeech, one of whom is the dev set, and one
utterance of each of 251 readers that has no transcript. Whisper base (faster-whisper, a
development extra) writes these: of the three readers case and punctuation only, the words stay
those of the transcript; of the 251 everything, where it is sure of it.

Clips of a reader joined to up to 26 s, with pauses between, before and behind, stand for people
who do not speak in single utterances.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from asr_llm.corpus.recordings.audio import SAMPLE_RATE, load_audio

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mini"))

from prepare import write_json_lines  # noqa: E402
from prepare_speech import Row, manifest_row, read_rows, restore  # noqa: E402

DEV_READER = "26"
SURE = -0.5  # least mean log-probability of a segment of Whisper's
SAME = 0.6  # least share of a transcript's words that Whisper heard, too
LONGEST = 29.0  # seconds
JOINED, SHORTEST_JOINED, LONGEST_JOINED = 420, 10.0, 26.0
PAUSES = (0.1, 1.2)  # seconds


def main() -> None:
    """Write the manifests and the folder of text; print what is in them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/ and text/")
    parser.add_argument("--mini", type=Path, required=True, help="what adapt/mini/prepare.py made")
    parser.add_argument("--whisper", default="base", help="faster-whisper's model: name or folder")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    speech, out = arguments.data / "speech", arguments.out

    from faster_whisper import WhisperModel

    whisper = WhisperModel(arguments.whisper, device="cpu", compute_type="int8")
    clean = cased(read_rows(speech / "librispeech-train-clean"), whisper)
    readers = labelled(read_rows(speech / "librispeech-train-untranscribed"), whisper)
    rows = [json.loads(line) for line in (arguments.mini / "speech/train.jsonl").open("rb")]
    train = [*rows, *(row for row in clean if row["speaker"] != DEV_READER), *readers]
    dev = [row for row in clean if row["speaker"] == DEV_READER]
    write_json_lines(out / "speech" / "train.jsonl", train)
    write_json_lines(out / "speech" / "dev.jsonl", dev)
    write_json_lines(out / "speech" / "joined.jsonl", list(joined(train, out / "speech/joined")))
    shutil.copy(arguments.mini / "speech" / "heldout.jsonl", out / "speech" / "heldout.jsonl")
    for name in ("books", "words"):
        shutil.copytree(arguments.mini / name, out / name, dirs_exist_ok=True)
    for name, some in (("train", train), ("dev", dev)):
        print(f"{name}: {len(some)} ({sum(row['duration'] for row in some) / 3600:.2f} h)")


def heard(row: Row, whisper: Any) -> tuple[str, bool]:
    """What Whisper writes of a recording, and whether it is sure of all of it."""
    segments, _ = whisper.transcribe(
        row["audio_filepath"], beam_size=5, language="en", condition_on_previous_text=False
    )
    found = list(segments)
    sure = bool(found) and min(segment.avg_logprob for segment in found) > SURE
    return " ".join(segment.text.strip() for segment in found), sure


def cased(rows: list[Row], whisper: Any) -> list[Row]:
    """Bare transcripts with Whisper's case and punctuation, where it heard about the same."""
    written = []
    for row in rows:
        [(text, share)] = restore([row["text"]], heard(row, whisper)[0])
        if share >= SAME and row["duration"] <= LONGEST:
            written.append(manifest_row(row, text[:1].upper() + text[1:]))
    return written


def labelled(rows: list[Row], whisper: Any) -> list[Row]:
    """Recordings without transcripts, where Whisper is sure of its own."""
    found = [(row, *heard(row, whisper)) for row in rows if row["duration"] <= LONGEST]
    return [manifest_row(row, text) for row, text, sure in found if sure]


def joined(rows: list[Row], folder: Path) -> Iterator[Row]:
    """Several recordings of one speaker in one, with pauses of near silence around each."""
    rng, noise = random.Random(7), np.random.default_rng(7)
    by_speaker: dict[str, list[Row]] = {}
    for row in rows:
        by_speaker.setdefault(row["speaker"], []).append(row)
    speakers = sorted(name for name, own in by_speaker.items() if len(own) > 8)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(JOINED):
        own = by_speaker[rng.choice(speakers)]
        limit, texts = rng.uniform(SHORTEST_JOINED, LONGEST_JOINED), []
        parts = [silence(rng)]
        for row in rng.sample(own, len(own)):
            if sum(map(len, parts)) / SAMPLE_RATE + row["duration"] > limit:
                break
            parts += [load_audio(row["audio_filepath"]), silence(rng)]
            texts.append(row["text"])
        if not texts:
            continue
        samples = np.concatenate(parts)
        samples = samples + noise.normal(0, 10 ** noise.uniform(-5, -3), len(samples))
        path = folder / f"{number:04d}.flac"
        sf.write(path, samples, SAMPLE_RATE)
        found = {"audio_filepath": str(path.resolve()), "duration": len(samples) / SAMPLE_RATE}
        yield manifest_row({**own[0], **found, "id": f"joined-{number}"}, " ".join(texts))


def silence(rng: random.Random) -> np.ndarray:
    """A pause of random length."""
    return np.zeros(round(rng.uniform(*PAUSES) * SAMPLE_RATE), np.float32)


if __name__ == "__main__":
    main()
