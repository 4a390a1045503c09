"""Error of `asr-llm align` against the synthesiser's true word times.

    python eval/alignment.py                      # mini, domains/general, held-out voices
    python eval/alignment.py --model talk.nemo --domain domains/medical
    python eval/alignment.py --joined 60          # as one recording of an hour

Prints the errors of word starts and ends in milliseconds: median, 95th percentile, and the signed
median, by which a model's peaks are late; and time and memory.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet
from lhotse.cut import Cut

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.jobs.align import Thresholds, WordTimes, align_manifest


def main() -> None:
    """Align, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--domain", type=Path, default=Path("domains/general"))
    parser.add_argument("--backend", default="auto", choices=("auto", "viterbi", "k2"))
    parser.add_argument("--joined", type=float, metavar="MINUTES", help="in one recording")
    arguments = parser.parse_args()
    silence_libraries()

    truth = spoken_set(Domain.load(arguments.domain), "test", recorded=False)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.joined:
            truth = joined(truth, 60 * arguments.joined, Path(folder))
        true = {cut.id: times(cut) for cut in truth}
        began = time.monotonic()
        manifest = Path(folder) / "cuts.jsonl"
        truth.to_file(manifest)
        done = align_manifest(
            manifest,
            Path(folder) / "aligned.jsonl",
            WordTimes(arguments.model, arguments.backend),
            Thresholds(confidence=0.0),
        )
        took = time.monotonic() - began
        found = {cut.id: times(cut) for cut in read_manifest(done.path)}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{done.words} words in {done.aligned} recordings, {len(done.dropped)} dropped")
    print(f"{took:.0f} s with the loading of the model, {memory:.1f} GB at most")
    for part, name in enumerate(("beginnings", "ends")):
        errors = [
            1000 * (ours[part] - theirs[part])
            for cut, words in found.items()
            for ours, theirs in zip(words, true[cut], strict=True)
        ]
        sizes = sorted(map(abs, errors))
        print(
            f"{name}: median {statistics.median(sizes):.0f} ms, 95th percentile "
            f"{sizes[int(0.95 * len(sizes))]:.0f} ms, signed median "
            f"{statistics.median(errors):+.0f} ms"
        )


def joined(cuts: CutSet, seconds: float, folder: Path) -> CutSet:
    """A recording of the cuts, repeated, with half a second between them."""
    audio, items, said, at = [], [], [], 0.0
    for cut in itertools.cycle(cuts):
        if at >= seconds:
            break
        samples = np.append(cut_audio(cut), np.zeros(SAMPLE_RATE // 2, np.float32))
        items += [item.with_offset(at) for item in word_items(cut)]
        said.append(cut.supervisions[0].text)
        audio.append(samples)
        at += len(samples) / SAMPLE_RATE
    soundfile.write(folder / "joined.wav", np.concatenate(audio), SAMPLE_RATE)
    (folder / "trans.txt").write_text("joined.wav\t" + " ".join(said), "utf-8")
    (whole,) = read_manifest(folder / "trans.txt")
    whole.supervisions[0].alignment = {"word": items}
    return CutSet.from_cuts([whole])


def times(cut: Cut) -> list[tuple[float, float]]:
    """Start and end of each word of a cut, in seconds."""
    return [(item.start, item.end) for item in word_items(cut)]


if __name__ == "__main__":
    main()
