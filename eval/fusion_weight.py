"""Trade-off of fusion weight and biasing strength of a text adapter on dev sets.

python eval/fusion_weight.py domains/medical --adapter runs/medical/adapter
python eval/fusion_weight.py domains/medical --adapter runs/medical/adapter --beam-size 1
python eval/fusion_weight.py domains/medical --adapter runs/medical/adapter --strengths 0 2.5 4
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.scores import Blocks, score
from asr_llm.jobs.held_out import HeldOut
from asr_llm.model import checkpoints
from asr_llm.transcription.speech_llm import SpeechLLM


def main() -> None:
    """Print a Markdown table, a row for each weight and strength; 0 and 0 is the base alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--general", type=Path, help="domain folder; default: the model's own")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 0.25, 0.4, 0.5, 0.6, 0.8])
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[None], help="default: the adapter's own"
    )
    parser.add_argument("--beam-size", type=int, default=NUM_BEAMS)
    arguments = parser.parse_args()
    silence_libraries()

    domain = Domain.load(arguments.domain)
    replay = arguments.general or checkpoints.locate(arguments.model) / "replay"
    main_set = HeldOut(spoken_set(domain, "dev"), domain.patterns())
    general = HeldOut(spoken_set(Domain.load(replay), "dev"), [])
    finder = EntityFinder(main_set.patterns)
    print("| weight | strength | EER | WER domain | WER general |\n|---|---|---|---|---|")
    for weight, strength in itertools.product(arguments.weights, arguments.strengths):
        named = "own" if strength is None else f"{strength:g}"
        print(f"weight {weight:g}, strength {named}", file=sys.stderr)
        recogniser = SpeechLLM.load(
            arguments.model,
            arguments.adapter,
            weight,
            num_beams=arguments.beam_size,
            biasing=None if strength is None else BiasingList((), strength),
        )
        found = score(
            references=main_set.references,
            systems={"adapted": recogniser.transcribe_cuts(main_set.cuts)},
            finder=finder,
            general={"adapted": (general.references, recogniser.transcribe_cuts(general.cuts))},
            blocks=Blocks(main_set.speakers),
        ).scores
        adapted = found["systems"]["adapted"]
        rates = (
            adapted["entities"]["raw"]["eer"],
            adapted["wer"]["normalized"]["rate"],
            found["general"]["adapted"]["wer"]["normalized"]["rate"],
        )
        print(
            f"| {weight:g} | {named} | " + " | ".join(f"{100 * r:.1f}" for r in rates) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
