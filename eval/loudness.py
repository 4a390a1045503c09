"""What the level of a recording costs: WER at other levels, as read, and brought to a normal one.

    python eval/loudness.py readers.jsonl [--model small] [--clips 12] [--gains 1 0.01 0.003]

Clips of a manifest, spread over it, are multiplied by each gain, split by the voice activity
detector and decoded. Prints Markdown: the level (RMS of the loudest 20 ms, the median clip), WER
(`whisper-en`) and deletions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
from recognisers import some_of

from asr_llm.cli import silence_libraries
from asr_llm.corpus.recordings.audio import Samples, cut_audio, loudest, normal
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.decoding.options import DecodeOptions
from asr_llm.transcription.chunks import chunks
from asr_llm.transcription.speech_llm import SpeechLLM
from asr_llm.transcription.vad import listener

AT_ONCE = 8


def main() -> None:
    """Print a row for each gain."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--gains", type=float, nargs="+", default=[1.0, 0.03, 0.01, 0.003, 0.001])
    arguments = parser.parse_args()
    silence_libraries()
    cuts = some_of(list(read_manifest(arguments.manifest)), arguments.clips)
    texts, audios = [cut.supervisions[0].text for cut in cuts], [cut_audio(cut) for cut in cuts]
    model = SpeechLLM.load(arguments.model)
    print("| level, dBFS | WER as read | deletions | WER at a normal level | deletions |")
    print("|---|---|---|---|---|")
    for gain in arguments.gains:
        level = 20 * np.log10(np.median([loudest(audio) for audio in audios]) * gain)
        scaled = [audio * np.float32(gain) for audio in audios]
        found = [errors(model, scaled, texts, change) for change in (np.asarray, normal)]
        print(
            f"| {level:.0f} | " + " | ".join(f"{w:.1%} | {d}" for w, d in found) + " |", flush=True
        )


def errors(
    model: SpeechLLM, audios: list[Samples], texts: list[str], change: Callable[[Samples], Samples]
) -> tuple[float, int]:
    """WER and deletions of audios, each changed first."""
    found = []
    for number, audio in enumerate(map(change, audios)):
        split = chunks(
            iter([audio]), listener(), model.model.chunk_seconds, model.model.pause_seconds
        )
        found += [(number, chunk.samples) for chunk in split]
    heard = [""] * len(audios)
    for start in range(0, len(found), AT_ONCE):
        some = found[start : start + AT_ONCE]
        decoded = model.pipeline.decoder.decode([audio for _, audio in some], DecodeOptions())
        for (number, _), one in zip(some, decoded):
            heard[number] += f" {one.text}"
    scored = jiwer.process_words(
        [normalize(text, "whisper-en") for text in texts],
        [normalize(text, "whisper-en") for text in heard],
    )
    return scored.wer, scored.deletions


if __name__ == "__main__":
    main()
