"""Whether a recogniser talks: inserted words by what stands beside them.

    python eval/insertions.py domains/medical runs/medical/hypotheses/*.domain.jsonl

A word heard as several ("high-darkcy" for one drug name) is a substitution with insertions beside
it; words that nobody said, or said once, stand alone. Files are those of `adapt` and `evaluate`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jiwer

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.evaluation.entities import EntityFinder


def main() -> None:
    """Print a row of Markdown for each file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", type=Path)
    parser.add_argument("hypotheses", type=Path, nargs="+")
    arguments = parser.parse_args()
    finder = EntityFinder(Domain.load(arguments.domain).patterns())
    print("| | substitutions | deletions | insertions | beside a term | another word | alone |")
    print("|---|---|---|---|---|---|---|")
    for path in arguments.hypotheses:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        counted = [_count(row["reference"], row["text"], finder) for row in rows]
        totals = [str(sum(column)) for column in zip(*counted)]
        print(f"| {path.stem} | " + " | ".join(totals) + " |")


def _count(reference: str, heard: str, finder: EntityFinder) -> tuple[int, ...]:
    """Substitutions, deletions, insertions; those beside a misheard term, a word, and neither."""
    said = normalize(reference, "basic").split()
    aligned = jiwer.process_words(" ".join(said), normalize(heard, "basic"))
    listed = _words_of_terms(said, [mention.text for mention in finder.find(reference)])
    parts = aligned.alignments[0]
    beside = [0, 0, 0]
    for i, part in enumerate(parts):
        if part.type == "insert":
            around = [one for one in parts[max(0, i - 1) : i + 2] if one.type == "substitute"]
            misheard = {at for one in around for at in range(one.ref_start_idx, one.ref_end_idx)}
            kind = 0 if misheard & listed else 1 if misheard else 2
            beside[kind] += part.hyp_end_idx - part.hyp_start_idx
    return aligned.substitutions, aligned.deletions, aligned.insertions, *beside


def _words_of_terms(said: list[str], terms: list[str]) -> set[int]:
    """The places of listed terms among the words."""
    places: set[int] = set()
    for term in terms:
        words = normalize(term, "basic").split()
        for start in range(len(said) - len(words) + 1):
            if said[start : start + len(words)] == words:
                places |= {*range(start, start + len(words))}
    return places


if __name__ == "__main__":
    main()
