"""Speed of a model beside Whisper base by faster-whisper, on the same recordings and beams.

    python eval/bench/whisper.py MANIFEST --whisper base [--model small] [--clips 40] [--beams 4]

Each system decodes the same clips in a process of its own, in turns, `--repeats` times; the fastest
counts, as what else a machine has to do only slows them down. RTFx is seconds of audio per second,
without loading; memory is the peak of the process. faster-whisper (a development extra) runs in
8 bits, one clip at a time; ours batches as `transcribe` does.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np

from asr_llm.cli import silence_libraries
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.text.normalizers import normalize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recognisers import by_us, by_whisper, load_whisper, some_of

Transcribe = Callable[[list[np.ndarray]], list[str]]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, help="recordings with their texts")
    parser.add_argument("--whisper", required=True, help="faster-whisper's model: name or folder")
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=40, help="spread over the manifest")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--system", choices=("ours", "whisper"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.system:
        print(json.dumps(measure(arguments)))
        return
    best: dict[str, dict[str, float]] = {}
    for _ in range(arguments.repeats):
        for system in ("ours", "whisper"):
            command = [sys.executable, __file__, *sys.argv[1:], "--system", system]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(ran.stdout.splitlines()[-1])
            if system not in best or found["rtfx"] > best[system]["rtfx"]:
                best[system] = found
    print("| system | RTFx | memory, MB | WER |\n|---|---|---|---|")
    for system, name in (("ours", arguments.model), ("whisper", "faster-whisper")):
        found = best[system]
        print(f"| {name} | {found['rtfx']:.1f} | {found['mb']:.0f} | {found['wer']:.1%} |")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """RTFx, peak memory and word error rate of one system."""
    silence_libraries()
    cuts = some_of(list(read_manifest(arguments.manifest)), arguments.clips)
    audios = [cut_audio(cut) for cut in cuts]
    transcribe = loaded(arguments)
    transcribe(audios[:1])
    begun = time.perf_counter()
    texts = transcribe(audios)
    seconds = time.perf_counter() - begun
    said = [normalize(cut.supervisions[0].text, "whisper-en") for cut in cuts]
    return {
        "rtfx": sum(map(len, audios)) / SAMPLE_RATE / seconds,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "wer": jiwer.wer(said, [normalize(text, "whisper-en") for text in texts]),
    }


def loaded(arguments: argparse.Namespace) -> Transcribe:
    """The system that is to be measured, ready to transcribe."""
    if arguments.system == "ours":
        from asr_llm import SpeechLLM

        model = SpeechLLM.load(arguments.model, num_beams=arguments.beams)
        return lambda audios: by_us(model, audios)
    whisper = load_whisper(arguments.whisper)
    return lambda audios: by_whisper(whisper, audios, arguments.beams)


if __name__ == "__main__":
    main()
