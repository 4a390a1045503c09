"""How fast `asr-llm score` is: a million reference words, and one utterance of an hour or two.

    python eval/scoring_speed.py [--words 1000000] [--long 10000 20000] [--alignment unit]

Random words of a vocabulary of 5,000, 15% of them wrong, 500 terms; processor seconds of one core.
Every row is scored in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import time

from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.scores import Blocks, score
from asr_llm.evaluation.words import Costs

LENGTH = 20  # words
VOCABULARY = [f"word{i}" for i in range(5000)]


def main() -> None:
    """Print a Markdown table of seconds and memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--long", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--alignment", choices=["unit", "sclite"], nargs="+", default=["unit"])
    given = parser.parse_args()

    print("| alignment | utterances | words in each | processor seconds | GB at most |")
    print("|---|---|---|---|---|")
    sizes = [*((1, words) for words in given.long), (given.words // LENGTH, LENGTH)]
    for costs in given.alignment:
        for count, length in sizes:
            process = multiprocessing.get_context("spawn").Process(
                target=_run, args=(count, length, costs)
            )
            process.start()
            process.join()


def _run(count: int, length: int, costs: Costs) -> None:
    rng = random.Random(1)
    said, heard = {}, {}
    for i in range(count):
        words = rng.choices(VOCABULARY, k=length)
        said[str(i)] = " ".join(words)
        heard[str(i)] = " ".join(
            word if rng.random() < 0.85 else rng.choice(VOCABULARY) for word in words
        )
    finder = EntityFinder([{"label": "TERM", "pattern": word} for word in VOCABULARY[:500]])
    blocks = Blocks({i: str(int(i) % 100) for i in said})
    began = time.process_time()
    score(references=said, systems={"a": heard}, finder=finder, blocks=blocks, costs=costs)
    seconds = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"| {costs} | {count:,} | {length:,} | {seconds:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
