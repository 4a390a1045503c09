"""How fast `asr-llm score` is: a million reference words, and one utterance of an hour.

    python eval/scoring_speed.py [--words 1000000]

Random words of a vocabulary of 5,000, 15% of them wrong, 500 terms; processor seconds of one core.
"""

from __future__ import annotations

import argparse
import random
import resource
import time

from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.scores import Blocks, score

LENGTH, HOUR = 20, 10_000  # words


def main() -> None:
    """Print seconds and memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--words", type=int, default=1_000_000)
    count = parser.parse_args().words // LENGTH
    rng = random.Random(1)
    vocabulary = [f"word{i}" for i in range(5000)]
    finder = EntityFinder([{"label": "TERM", "pattern": w} for w in vocabulary[:500]])
    _run("one utterance of an hour", [rng.choices(vocabulary, k=HOUR)], vocabulary, finder)
    texts = [rng.choices(vocabulary, k=LENGTH) for _ in range(count)]
    _run(f"{count} utterances", texts, vocabulary, finder)


def _run(what: str, texts: list[list[str]], vocabulary: list[str], finder: EntityFinder) -> None:
    rng = random.Random(2)
    said = {str(i): " ".join(words) for i, words in enumerate(texts)}
    heard = {
        str(i): " ".join(w if rng.random() < 0.85 else rng.choice(vocabulary) for w in words)
        for i, words in enumerate(texts)
    }
    blocks = Blocks({i: str(int(i) % 100) for i in said})
    began = time.process_time()
    scores = score(references=said, systems={"a": heard}, finder=finder, blocks=blocks).scores
    seconds = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    words = scores["reference"]["words"]
    print(f"{what}: {words} words in {seconds:.1f} s, {memory:.1f} GB at most")


if __name__ == "__main__":
    main()
