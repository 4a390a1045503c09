"""How far the word times of `asr-llm transcribe` are from the truth that the synthesiser tells.

    python eval/word_times.py                     # mini, domains/general, held-out voices
    python eval/word_times.py --domain domains/medical --aligner talk.nemo

Transcribes spoken test sentences, takes the words that are right (by alignment with the reference,
case and punctuation aside) and prints the error of their beginnings and ends in milliseconds:
median, 95th percentile, and the signed median (positive: too late).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import AudioError
from asr_llm.evaluation.words import align
from asr_llm.transcription.speech_llm import SpeechLLM


def main() -> None:
    """Transcribe, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--aligner", help="a checkpoint with a CTC head, or a NeMo CTC model")
    parser.add_argument("--domain", type=Path, default=Path("domains/general"))
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--beam-size", type=int, default=NUM_BEAMS)
    arguments = parser.parse_args()
    silence_libraries()

    truth = list(spoken_set(Domain.load(arguments.domain), arguments.split, recorded=False))
    model = SpeechLLM.load(
        arguments.model,
        num_beams=arguments.beam_size,
        word_timestamps=True,
        aligner=arguments.aligner,
    )
    starts: list[float] = []
    ends: list[float] = []
    written = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{cut.id}.flac" for cut in truth]
        for cut, path in zip(truth, paths):
            soundfile.write(path, cut_audio(cut), SAMPLE_RATE)
        for cut, result in zip(truth, model.transcribe_many(paths)):
            if isinstance(result, AudioError):
                raise result
            words = [word for segment in result.segments for word in segment.words]
            written += len(words)
            spoken = word_items(cut)
            for i, j in right([item.symbol for item in spoken], [word.text for word in words]):
                starts.append(1000 * (words[j].start - spoken[i].start))
                ends.append(1000 * (words[j].end - spoken[i].end))
    print(f"{written} words written in {len(truth)} recordings, {len(starts)} of them right")
    for name, errors in (("beginnings", starts), ("ends", ends), ("both", starts + ends)):
        sizes = sorted(map(abs, errors))
        print(
            f"{name}: median {statistics.median(sizes):.0f} ms, 95th percentile "
            f"{sizes[int(0.95 * len(sizes))]:.0f} ms, signed median "
            f"{statistics.median(errors):+.0f} ms"
        )


def right(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[int, int]]:
    """Places in both of the words that are the same but for case and punctuation."""
    said = [normalize(word, "basic") for word in reference]
    heard = [normalize(word, "basic") for word in hypothesis]
    pairs = align(reference_words=said, hypothesis_words=heard)
    return [
        (pair.reference, pair.hypothesis)
        for pair in pairs
        if pair.op == "hit" and pair.reference is not None and pair.hypothesis is not None
    ]


if __name__ == "__main__":
    main()
