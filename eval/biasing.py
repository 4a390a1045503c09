"""Gain and cost of a biasing list: listed terms recognised, other words changed, time taken.

    python eval/biasing.py domains/medical --strengths 2.5 3 3.5 --sentences 60
    python eval/biasing.py domains/medical --split test
    python eval/biasing.py domains/medical --model small --lists own --first-strength 3
    python eval/biasing.py domains/medical --adapter runs/demo/adapter --lists none brought 1000

A list is the domain's own terms (``own``), a number of distractors (rare English words that nobody
says in the sets and that are no words of its terms), or a sum, such as ``own+1000``; ``brought`` is
an adapter's own list. Recall is the share of the domain's term mentions of which every word is
right, raw; B-WER is that of the words of its own terms; "changed" is the percentage of words that
differ from the transcript without a list. General speech, which has no listed words, is decoded
with the same list. CPU seconds cover both sets.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import wordfreq

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.decoding import two_passes
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.scores import score
from asr_llm.jobs.held_out import HeldOut
from asr_llm.model import checkpoints
from asr_llm.transcription.speech_llm import SpeechLLM

COLUMNS = (
    *("domain", "list", "strength", "recall", "B-WER", "WER", "changed"),
    *("WER general", "changed", "processor seconds"),
)
LISTS = ("none", "own", "own+1000", "own+20000", "1000", "20000")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--sentences", type=int, help="first of each set; default: all")
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[None], help="default: each list's own"
    )
    parser.add_argument("--beam-size", type=int, default=NUM_BEAMS)
    parser.add_argument("--lists", nargs="+", default=LISTS)
    parser.add_argument(
        "--first-strength",
        type=float,
        default=two_passes.FIRST_STRENGTH,
        help="how many times stronger lists are in a first pass",
    )
    arguments = parser.parse_args()
    two_passes.FIRST_STRENGTH = arguments.first_strength
    silence_libraries()

    domain = Domain.load(arguments.domain)
    replay = Domain.load(checkpoints.locate(arguments.model) / "replay")
    spoken = held_out(domain, arguments.split, arguments.sentences)
    general = held_out(replay, arguments.split, arguments.sentences)
    listed = terms(domain)
    spared = [*listed, *spoken.references.values(), *general.references.values()]
    recogniser = SpeechLLM.load(arguments.model, arguments.adapter, num_beams=arguments.beam_size)
    print("|", " | ".join(COLUMNS), "|\n|" + "---|" * len(COLUMNS))
    plain: tuple[dict[str, str], ...] | None = None
    for name in arguments.lists:
        phrases = phrases_of(name, listed, spared)
        for strength in [0.0] if name == "none" else arguments.strengths:
            biasing = BiasingList(phrases, strength)
            shown = "own" if strength is None and not phrases else f"{biasing.nats:g}"
            print(f"{name}, {shown}", file=sys.stderr)
            recogniser.prefer(biasing)
            began = time.process_time()
            written = tuple(recogniser.transcribe_cuts(s.cuts) for s in (spoken, general))
            seconds = time.process_time() - began
            plain = plain or written
            cells = (*rates(spoken, general, written, plain, listed), seconds)
            row = " | ".join(f"{cell:.1f}" for cell in cells)
            print(f"| {domain.name} | {name} | {shown} | {row} |", flush=True)


def held_out(domain: Domain, split: str, sentences: int | None) -> HeldOut:
    """A split, spoken; with the patterns of its terms, where it has any."""
    cuts = spoken_set(domain, split)
    return HeldOut(cuts.subset(first=sentences) if sentences else cuts, domain.patterns())


def terms(domain: Domain) -> list[str]:
    """All terms of a domain."""
    return [term.text for label in domain.terms().values() for term in label]


def phrases_of(name: str, own: list[str], spared: list[str]) -> tuple[str, ...]:
    """The phrases of a list such as ``own+1000``; () for ``none`` and ``brought``."""
    phrases: list[str] = []
    for part in name.split("+") if name not in ("none", "brought") else ():
        phrases += own if part == "own" else distractors(int(part), spared)
    return tuple(phrases)


def distractors(count: int, spared: list[str]) -> list[str]:
    """English words from rank 20,000 on, except the given ones."""
    used = {word for text in spared for word in normalize(text, "basic").split()}
    ranked = wordfreq.top_n_list("en", 200_000)[20_000:]
    rare = [w for w in ranked if w.isascii() and w.isalpha() and len(w) > 4 and w not in used]
    return random.Random(1).sample(rare, count)


def rates(
    spoken: HeldOut,
    general: HeldOut,
    written: tuple[dict[str, str], ...],
    plain: tuple[dict[str, str], ...],
    listed: list[str],
) -> list[float]:
    """The cells from recall to the second "changed", in percent."""
    found = score(
        references=spoken.references,
        systems={"biased": written[0]},
        finder=EntityFinder(spoken.patterns),
        general={"biased": (general.references, written[1])},
        biasing=listed,
    ).scores
    biased = found["systems"]["biased"]
    shares = (
        biased["entities"]["raw"]["recall"],
        biased["biasing"]["b_wer"]["rate"],
        biased["wer"]["normalized"]["rate"],
        changed(plain[0], written[0]),
        found["general"]["biased"]["wer"]["normalized"]["rate"],
        changed(plain[1], written[1]),
    )
    return [100 * share for share in shares]


def changed(before: dict[str, str], after: dict[str, str]) -> float:
    """Number of words that differ from the transcript without a list."""
    scores = score(references=before, systems={"after": after}).scores
    return scores["systems"]["after"]["wer"]["raw"]["rate"]


if __name__ == "__main__":
    main()
