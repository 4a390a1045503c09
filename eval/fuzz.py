"""Fuzzes readers with damaged inputs: any traceback, crash, or more than ten seconds of work?

    python eval/fuzz.py [--count 10000] [--seed 0] [--only audio,manifest] [--keep DIR]

Valid audio, manifests, domain folders, recipes and adapters are damaged at random: bytes flipped,
removed, duplicated, truncated, numbers made extreme. Each is read as the commands read it, in a
child process, so that a crash inside a library counts too. It must be read, or rejected by one of
our errors in at most three lines (exit status 2). Failing inputs are kept in ``--keep``. The same
seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile
import torch

from asr_llm.corpus.domain import check as domain_check
from asr_llm.corpus.domain import example as domain_example
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, read_blocks
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import AsrLlmError
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapters import Adapters, fusion_weights
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import LoraRecipe, Recipe

LONGEST_SECONDS = 10
_BATCH = 50  # inputs to a child process
_EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
_SPOILT = (
    b"\xff\xfe",
    b"\0",
    b"\r",
    b"\t",
    b'"',
    b"{",
    b"\n\n",
    b"1e999",
    b"-1",
    b"null",
    b"\xef\xbb\xbf",
)


# Inputs that are right -------------------------------------------------------------------


def _samples(seconds: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, (round(seconds * SAMPLE_RATE), 2))
    return noise.astype(np.float32)


def _encoded(fmt: str, codec: str, rate: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=fmt) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 12_200 if "amr" in codec else 64_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(_samples()[None, :, 0]), format="fltp", layout="mono"
        )
        frame.rate, frame.pts = SAMPLE_RATE, 0
        fifo = av.AudioFifo()
        for part in av.AudioResampler(stream.format, "mono", rate).resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while part := fifo.read(size) or fifo.read(size, partial=True):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return out.getvalue()


def audio(place: Path) -> None:
    """A second of noise in each format that libsndfile and FFmpeg can write."""
    kinds = ("WAV PCM_16", "WAV FLOAT", "WAV ULAW", "WAV IMA_ADPCM", "FLAC PCM_16", "AIFF PCM_16",
             "OGG VORBIS", "OGG OPUS", "MP3 MPEG_LAYER_III", "CAF PCM_16", "AU PCM_16",
             "W64 PCM_16", "RF64 PCM_16", "NIST PCM_16", "VOC PCM_16")  # fmt: skip
    for kind in kinds:
        fmt, subtype = kind.split()
        soundfile.write(
            place / kind.replace(" ", "."), _samples(), SAMPLE_RATE, subtype, format=fmt
        )
    for fmt, codec, rate in (
        ("mp4", "aac", 44_100), ("mov", "alac", 16_000), ("webm", "libopus", 48_000),
        ("matroska", "aac", 16_000), ("adts", "aac", 16_000), ("amr", "libopencore_amrnb", 8_000),
        ("3gp", "libopencore_amrnb", 8_000), ("asf", "wmav2", 44_100), ("ac3", "ac3", 48_000),
        ("avi", "pcm_s16le", 16_000), ("mpegts", "aac", 16_000),
    ):  # fmt: skip
        (place / f"a.{fmt}").write_bytes(_encoded(fmt, codec, rate))


def manifest(place: Path) -> None:
    """The same two recordings in every layout."""
    for name in ("a", "b"):
        soundfile.write(place / f"{name}.wav", _samples(0.1), SAMPLE_RATE)
    (place / "trans.txt").write_text("a.wav\thello there\nb.wav\tgood bye\n")
    row = {"audio_filepath": "a.wav", "text": "hello", "duration": 0.1, "offset": 0.0}
    (place / "manifest.json").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    rows = [{"file_name": f"{name}.wav", "transcription": "hello"} for name in "ab"]
    (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "metadata.csv").write_text('file_name,transcription\na.wav,hello\nb.wav,"a, b"\n')


def domain(place: Path) -> None:
    """The example of ``asr-llm domain init``, with patterns and a recording."""
    shutil.rmtree(place)
    domain_example.create(place, "example")
    (place / "entities.jsonl").write_text('{"label": "DRUG", "pattern": [{"LOWER": "ink"}]}\n')
    (place / "dev").mkdir(exist_ok=True)
    soundfile.write(place / "dev" / "a.wav", _samples(0.1), SAMPLE_RATE)
    (place / "dev" / "trans.txt").write_text("a.wav\tdescale the machine\n")


def recipe(place: Path) -> None:
    """The recipes that come with the project."""
    for path in (Path(__file__).parent.parent / "adapt").glob("*.yaml"):
        if path.name != "compare.yaml":  # a list of recipes
            shutil.copy(path, place)


@cache
def _mini() -> SpanSALM:
    """What adapters are read onto; the parent process loads it, and its children copy it."""
    torch.set_num_threads(1)
    return checkpoints.load("mini")


def adapter(place: Path) -> None:
    """An adapter of `mini`, of text, with a list and a projector."""
    model = copy.deepcopy(_mini())
    lora.install(model, LoraRecipe(r=2, lora_alpha=4, target_modules=("q_proj",)))
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.constant_(parameter, 0.01)
    words = BiasingList(("metformin", "lisinopril"), 2.0)
    lora.save(model, place, "mini", projector=True, fusion=0.5, biasing=words)


# What reads them -------------------------------------------------------------------------


def _read_audio(folder: Path, changed: Path) -> None:
    for _ in read_blocks(changed):
        pass


def _read_manifest(folder: Path, changed: Path) -> None:
    names = ("trans.txt", "manifest.json", "metadata.jsonl", "metadata.csv")
    for path in [changed] if changed.name in names else [folder / name for name in names]:
        read_manifest(path)


def _read_domain(folder: Path, changed: Path) -> None:
    domain_check.check(folder)


def _read_recipe(folder: Path, changed: Path) -> None:
    Recipe.load(changed)


def _read_adapter(folder: Path, changed: Path) -> None:
    fusion_weights([folder])
    Adapters(copy.deepcopy(_mini()), "mini", [folder])


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path, Path], None]]] = {
    "audio": (audio, _read_audio),
    "manifest": (manifest, _read_manifest),
    "domain": (domain, _read_domain),
    "recipe": (recipe, _read_recipe),
    "adapter": (adapter, _read_adapter),
}


# Damage ----------------------------------------------------------------------------------


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The content with one to four faults, most of them near its start."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        place = min(int(len(data) * dice.random() ** dice.choice((1, 4))), max(0, len(data) - 1))
        length = dice.randint(1, dice.choice((4, 64, 4096)))
        fault = dice.randrange(7)
        if fault == 0 and data:
            data[place] ^= 1 << dice.randrange(8)
        elif fault == 1:
            data[place : place + 4] = dice.choice(_EXTREMES)
        elif fault == 2:
            del data[place : place + length]
        elif fault == 3:
            data[place:place] = data[place : place + length]
        elif fault == 4:
            data[place:place] = dice.choice(_SPOILT)
        elif fault == 5:
            data[place : place + length] = dice.randbytes(min(length, len(data) - place))
        else:
            del data[place:]
    return bytes(data)


def _damage(folder: Path, dice: random.Random) -> Path:
    """Damage a file of a folder, and return it."""
    path = dice.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    path.write_bytes(damaged(path.read_bytes(), dice))
    return path


def outcome(kind: str, folder: Path, changed: Path) -> str:
    """Read an input: ``read``, ``refused``, or what went wrong."""
    began = time.process_time()
    try:
        KINDS[kind][1](folder, changed)
        found = "read"
    except AsrLlmError as error:
        lines = str(error).count("\n") + 1
        found = "refused" if lines <= 3 else f"refused in {lines} lines"
    except Exception:
        found = traceback.format_exc(limit=-3)
    took = time.process_time() - began
    return found if took < LONGEST_SECONDS else f"took {took:.0f} s; {found}"


def _case(kind: str, whole: Path, place: Path, seed: str) -> Path:
    """An input made of the whole one, by its seed alone; the damaged file is returned."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    return _damage(place, random.Random(seed))


def _batch(kind: str, whole: Path, place: Path, seeds: list[str], done: Path) -> None:
    """In a child process: each outcome is written as soon as it is known."""
    with done.open("w") as file:
        for seed in seeds:
            # Each ends the process; one counts what it computes, as others may use the machine.
            signal.setitimer(signal.ITIMER_PROF, 6 * LONGEST_SECONDS)
            signal.alarm(60 * LONGEST_SECONDS)
            found = outcome(kind, place, _case(kind, whole, place, seed))
            file.write(json.dumps([seed, found]) + "\n")
            file.flush()


def main() -> int:
    """Print a Markdown table; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    kinds = arguments.only.split(",")
    faults = 0
    print("| inputs | number | read | refused | wrong |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            whole = Path(folder) / kind
            whole.mkdir()
            KINDS[kind][0](whole)
            for path in sorted(path for path in whole.rglob("*") if path.is_file()):
                # What is right is read; and what that imports is imported once, for the forks.
                if (what := outcome(kind, whole, path)) != "read":
                    sys.exit(f"{path}, undamaged: {what}")
            seeds = [f"{arguments.seed} {kind} {i}" for i in range(arguments.count // len(kinds))]
            found = _run(kind, whole, Path(folder) / "case", seeds)
            wrong = {s: what for s, what in found.items() if what not in ("read", "refused")}
            for number, (seed, what) in enumerate(wrong.items()):
                print(f"{seed}: {what}", file=sys.stderr)
                _case(kind, whole, arguments.keep / f"{kind}{number}", seed)
            counts = Counter(found.values())
            faults += len(wrong)
            row = (kind, len(found), counts["read"], counts["refused"], len(wrong))
            print("|", " | ".join(map(str, row)), "|", flush=True)
    return int(faults > 0)


def _run(kind: str, whole: Path, place: Path, seeds: list[str]) -> dict[str, str]:
    """The outcome of each seed; what ends the child process is one too."""
    found: dict[str, str] = {}
    done = place.with_suffix(".done")
    while left := [seed for seed in seeds if seed not in found]:
        batch = left[:_BATCH]
        child = multiprocessing.get_context("fork").Process(
            target=_batch, args=(kind, whole, place, batch, done)
        )
        child.start()
        child.join()
        rows = [json.loads(line) for line in done.read_text().splitlines()]
        found.update(map(tuple, rows))
        if len(rows) < len(batch):
            found[batch[len(rows)]] = f"the process ended with status {child.exitcode}"
    return found


if __name__ == "__main__":
    sys.exit(main())
