"""Confidence and coverage thresholds of `asr-llm align`: which transcripts to drop.

    python eval/align_threshold.py domains/general domains/medical domains/legal
    python eval/align_threshold.py runs/books-recorded/train/manifest.jsonl

Aligns every recording (of a domain: its dev set) with its own transcript, and with that of the
recording of the next length. Prints for each threshold the share of right ones dropped and of wrong
ones kept, in percent; then the same for the minimum coverage, with complete transcripts and with
the first third of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.alignment import Alignment
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.model import ctc

THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2)
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9)
BATCH = 10


def main() -> None:
    """Align both ways, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+", help="domain folders or manifests")
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    silence_libraries()

    aligner = ctc.load(arguments.model)
    print("| recordings of | transcripts |" + "".join(f" {x:g} |" for x in THRESHOLDS))
    print("|---" * (2 + len(THRESHOLDS)) + "|")
    for path in arguments.data:
        cuts = spoken_set(Domain.load(path), "dev") if path.is_dir() else read_manifest(path)
        in_order = sorted(cuts, key=lambda cut: cut.duration)
        right: list[float] = []
        wrong: list[float] = []
        complete: list[float] = []
        third: list[float] = []
        for first in range(0, len(in_order), BATCH):
            some = in_order[first : first + BATCH]
            heard = aligner.hear([cut_audio(cut) for cut in some])
            texts = [cut.supervisions[0].text for cut in some]
            right += confidences(aligner, heard, texts)
            wrong += confidences(aligner, heard, [*texts[1:], texts[0]])
            complete += coverages(aligner, heard, texts)
            third += coverages(aligner, heard, [first_third(text) for text in texts])
        dropped = [sum(x < least for x in right) / len(right) for least in THRESHOLDS]
        kept = [sum(x >= least for x in wrong) / len(wrong) for least in THRESHOLDS]
        print(f"| {path} | right, dropped |" + "".join(f" {100 * x:.1f} |" for x in dropped))
        print("| | wrong, kept |" + "".join(f" {100 * x:.1f} |" for x in kept), flush=True)
        dropped = [sum(x < least for x in complete) / len(complete) for least in COVERAGES]
        kept = [sum(x >= least for x in third) / len(third) for least in COVERAGES]
        named = ", ".join(f"{x:g}" for x in COVERAGES)
        print(f"coverage of at least {named}:")
        print("| | complete, dropped |" + "".join(f" {100 * x:.1f} |" for x in dropped))
        print("| | first third, kept |" + "".join(f" {100 * x:.1f} |" for x in kept), flush=True)


def confidences(aligner: ctc.CtcModel, heard: list, texts: list[str]) -> list[float]:
    """Confidence of each alignment; 0 if there is none."""
    found = aligner.align(heard, texts)
    return [a.confidence or 0.0 if isinstance(a, Alignment) else 0.0 for a in found]


def coverages(aligner: ctc.CtcModel, heard: list, texts: list[str]) -> list[float]:
    """Share of the recognised tokens that each alignable transcript covers."""
    found = aligner.align(heard, texts)
    return [a.covered or 0.0 for a in found if isinstance(a, Alignment)]


def first_third(text: str) -> str:
    """The first third of its words, at least one."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 3)])


if __name__ == "__main__":
    main()
