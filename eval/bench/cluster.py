"""Throughput of decoding on a Ray cluster, and how much a driver can take.

    python eval/bench/cluster.py [--model mini] [--clips 120] [--beams 4] [--actors 1 2]

The clips are held-out sentences of domains/medical and domains/general, joined to files of 2 to 60
seconds. They are decoded in one process with one thread, then by each number of actors on a local
cluster; the texts must be the same. Seconds are those from the first job to the last text, without
loading; those of processors say what is computed when a machine has other work. Then actors that
decode nothing send a driver as much as it takes: chunks a second.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from asr_llm.cli import silence_libraries
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, Source
from asr_llm.transcription.fleet import Fleet, duration
from asr_llm.transcription.journal import Journals
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions
from asr_llm.transcription.transcript import DecodedChunk, Transcript
from asr_llm.transcription.worker import ChunkDone, Item, ItemDone, Worker

TEXT = "the patient was started on ten milligrams of it at bedtime, and will be seen in a week"


class Sender(Worker):
    """Sends chunks of half a minute as fast as it can, twenty at a time; decodes nothing."""

    def ready(self) -> bool:
        """There is nothing to load."""
        return False

    @staticmethod
    def pools(number: int) -> Iterator[list[ChunkDone | ItemDone]]:
        """The chunks of an hour."""
        for first in range(0, 120, 20):
            yield [
                ChunkDone(number, i, i + 1, 30.0, DecodedChunk(f"{TEXT} {i}", confidence=0.9))
                for i in range(first, first + 20)
            ]

    def decode(self, items: Sequence[Item]) -> Iterator[list[ChunkDone | ItemDone]]:
        """An hour of chunks for each item."""
        for item in items:
            assert isinstance(item.what, Source)
            yield from self.pools(item.number)
            yield [ItemDone(item.number, Transcript(item.what.path, 3600.0, (), "none"))]


def main() -> None:
    """Print a Markdown table for each measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--hours", type=int, default=300, help="that the driver is sent")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    silence_libraries()
    if arguments.step:
        return _step(arguments, *arguments.step)
    with TemporaryDirectory() as place:
        audio = _write(Path(place), arguments.clips)
        print("| | seconds | RTFx | processor, s |\n|---|---|---|---|", flush=True)
        texts = set()
        for actors in (0, *arguments.actors):
            name = f"{actors} actors" if actors else "one process, one thread"
            seconds, busy, heard = _measured(arguments, actors, place)
            texts.add(heard)
            print(f"| {name} | {seconds:.1f} | {audio / seconds:.1f} | {busy:.1f} |", flush=True)
        print(f"\nthe texts are the same: {len(texts) == 1}\n")
    with TemporaryDirectory() as place:
        seconds, *_ = _measured(arguments, -1, place)
        chunks = 120 * arguments.hours
        print(
            f"the driver takes {chunks / seconds:.0f} chunks a second with a journal, "
            f"{chunks * 30 / seconds:.0f} s of audio a second; "
            f"{len(pickle.dumps(next(Sender.pools(0)))) / 20:.0f} bytes a chunk"
        )
        path = _header(Path(place))
        start = time.perf_counter()
        for _ in range(1000):
            duration(path)
        print(f"reading a header: {time.perf_counter() - start:.2f} ms")
        start, size = time.perf_counter(), 2**28
        hashlib.sha256(bytes(size)).hexdigest()
        print(f"SHA-256 of audio: {size / (time.perf_counter() - start) / 1e6:.0f} MB/s")


def _measured(arguments: argparse.Namespace, actors: int, place: str) -> tuple[float, float, str]:
    """Seconds, those of processors, and texts of a process of its own."""
    command = [sys.executable, __file__, "--model", arguments.model, "--beams",
               str(arguments.beams), "--hours", str(arguments.hours), "--step", str(actors),
               place]  # fmt: skip
    environment = os.environ | ({} if actors else {"OMP_NUM_THREADS": "1"})
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    seconds, busy, texts = done.stdout.split("\n", 2)
    return float(seconds), float(busy), texts


def _step(arguments: argparse.Namespace, actors: str, place: str) -> None:
    recogniser = Recogniser(arguments.model)
    options = TranscribeOptions(num_beams=arguments.beams, confidence=True)
    count, files = int(actors), sorted(Path(place).glob("*.flac"))
    journals = Journals(Path(place), {})
    if count < 0:
        fleet = Fleet(Cluster("local"), recogniser, options, Sender)
        files = [Path(place) / f"{i}.wav" for i in range(arguments.hours)]
        heard = fleet.transcribe_many(files, journal=journals)
    elif count:
        fleet = Fleet(Cluster("local", count), recogniser, options)
        waking = [fleet._start() for _ in range(count - 1)]
        fleet.actors += waking
        fleet.ray.get([fleet._wake(actor) for actor in waking])
        heard = fleet.transcribe_many(files, journal=journals)
    else:
        from asr_llm.transcription.speech_llm import SpeechLLM

        heard = SpeechLLM.of(recogniser, options).transcribe_many(files, journal=journals)
    start, before = time.perf_counter(), _busy()
    texts = [one.text if isinstance(one, Transcript) else str(one) for one in heard]
    seconds, busy = time.perf_counter() - start, _busy() - before
    for file in files:
        journals.remove(file)
    print(seconds, busy, *texts, sep="\n")


def _busy() -> float:
    """Processor seconds of this process and of all that it started."""
    here = psutil.Process()
    times = [one.cpu_times() for one in (here, *here.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _header(place: Path) -> Path:
    import numpy as np
    import soundfile

    soundfile.write(place / "second.flac", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    return place / "second.flac"


def _write(place: Path, number: int) -> float:
    """Write the clips; seconds of them together."""
    from itertools import chain

    import numpy as np
    import soundfile

    from asr_llm.corpus.domain.folder import Domain
    from asr_llm.corpus.recordings.audio import cut_audio
    from asr_llm.corpus.speech.spoken import spoken_set

    folders = (Path("domains/medical"), Path("domains/general"))
    cuts = chain(*(spoken_set(Domain.load(folder), "test") for folder in folders))
    speech = np.concatenate([cut_audio(cut) for cut in cuts])
    rng, total = np.random.default_rng(0), 0
    for i in range(number):
        length = min(len(speech), int(np.exp(rng.uniform(np.log(2), np.log(60))) * SAMPLE_RATE))
        start = int(rng.integers(0, len(speech) - length + 1))
        soundfile.write(place / f"{i:04}.flac", speech[start : start + length], SAMPLE_RATE)
        total += length
    return total / SAMPLE_RATE


if __name__ == "__main__":
    main()
