"""Long audio: the cost of chunking in WER, and memory use.

    python eval/long_audio.py [--manifest FILE] [--hours 1] [--beam-size 1]
    python eval/long_audio.py --no-pauses --hours 0.15 --chunk-seconds 6 8 10 12 15 20

Joins utterances, in order, with pauses of half a second to three seconds and, after every tenth
utterance, 30 seconds of silence or noise alternately. The WER of the long file is compared with
that of the utterances decoded one by one. Without a manifest the utterances are the held-out
sentences of domains/medical and domains/general, in their held-out voices, again and again. With
--no-pauses each voice says all its sentences in turn, without a pause to split at. Memory is the
peak growth of the process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from itertools import chain, cycle
from pathlib import Path

import numpy as np
import soundfile

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.evaluation.scores import score
from asr_llm.jobs.held_out import manifest_set
from asr_llm.transcription.speech_llm import SpeechLLM


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, help="recordings with transcripts")
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--chunk-seconds", type=float, nargs="+", help="default: the model's own")
    parser.add_argument("--no-pauses", action="store_true")
    arguments = parser.parse_args()
    silence_libraries()

    if arguments.manifest:
        cuts = list(manifest_set(arguments.manifest).cuts)
    else:
        folders = (Path("domains/medical"), Path("domains/general"))
        cuts = list(chain(*(spoken_set(Domain.load(folder), "test") for folder in folders)))
    model = SpeechLLM.load(arguments.model, num_beams=arguments.beam_size)
    lengths = arguments.chunk_seconds or [model.model.chunk_seconds]
    if arguments.no_pauses:
        cuts.sort(key=lambda cut: cut.supervisions[0].speaker)
    alone: dict[str, str] = {}
    print(
        "| hours | chunks of at most | utterances | WER one by one | WER in one file | RTFx | MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for hours in arguments.hours:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "long.flac"
            used = _join(cuts, hours * 3600, path, pauses=not arguments.no_pauses)
            options = replace(model.options, chunk_seconds=lengths[0])
            new = {cut.id: cut for cut in used if cut.id not in alone}
            alone |= model.transcribe_cuts(new.values(), options=options)
            said = " ".join(cut.supervisions[0].text or "" for cut in used)
            apart = " ".join(alone[cut.id] for cut in used)
            for seconds in lengths:
                before, start = _peak(), time.perf_counter()
                transcript = model.transcript(path, replace(options, chunk_seconds=seconds))
                taken = time.perf_counter() - start
                rates = [_wer(said, text) for text in (apart, transcript.text)]
                print(
                    f"| {hours:g} | {seconds:g} s | {len(used)} | {rates[0]:.1f} | {rates[1]:.1f} "
                    f"| {transcript.duration / taken:.0f} | {_peak() - before:.0f} |",
                    flush=True,
                )


def _join(cuts: list, seconds: float, path: Path, pauses: bool) -> list:
    """Write a file of about so many seconds; the cuts that are in it."""
    rng = np.random.default_rng(0)
    used: list = []
    written = 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for i, cut in enumerate(cycle(cuts)):
            if written >= seconds * SAMPLE_RATE:
                break
            used.append(cut)
            samples = cut_audio(cut)
            pause = np.zeros(int(SAMPLE_RATE * rng.uniform(0.5, 3.0)))
            if i % 10 == 9:
                pause = rng.normal(0, 0.02 if i % 20 == 9 else 0.0, 30 * SAMPLE_RATE)
            if not pauses:
                loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
                samples, pause = samples[loud[0] : loud[-1] + 1], np.zeros(SAMPLE_RATE // 12)
            audio = np.concatenate([samples, pause])
            file.write(audio)
            written += len(audio)
    return used


def _wer(said: str, heard: str) -> float:
    found = score(references={"all": said}, systems={"model": {"all": heard}})
    return 100 * float(found.scores["systems"]["model"]["wer"]["normalized"]["rate"])


def _peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
