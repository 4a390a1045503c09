"""Make a domain of what customers ask their bank: banking77's queries, and words of the trade.

    python adapt/bank_domain.py --data ../shared/data --out runs/bank
    python eval/test_speech/speak.py --wheels WHEELS runs/bank --split test --step 1
    asr-llm adapt runs/bank -o runs/bank-adapted

Text are the queries of the training set; dev and test are others with a term in them, 60 of the
training set and 80 of the test set, of which no six words in a row are in the text. They are spoken
by synthetic voices: by Kokoro's after the second line, else by the installed ones.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from pathlib import Path

from domain_files import write_domain

from asr_llm.corpus.text.normalizers import normalize

DEV, TEST, PIECE = 60, 80, 6
TERMS = {
    "CURRENCY": ["AUD", "EUR", "GBP", "USD", "cryptocurrency", "fiat", "rubles"],
    "SCHEME": [
        "American Express",
        "Apple Pay",
        "Google Pay",
        "Mastercard",
        "SEPA",
        "SWIFT",
        "Visa",
    ],
    "SERVICE": [
        "ATM",
        "beneficiary",
        "cash withdrawal",
        "contactless",
        "direct debit",
        "disposable card",
        "disposable virtual card",
        "exchange rate",
        "passcode",
        "PIN",
        "top-up",
        "top up",
        "virtual card",
    ],
}


def main() -> None:
    """Write the domain folder, print what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with text/banking77")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    source, out = arguments.data / "text/banking77", arguments.out
    train, test = (queries(source / f"{split}.tsv") for split in ("train", "test"))
    dev, test = list(filter(has_term, train))[:DEV], list(filter(has_term, test))[:TEST]
    told = {piece for query in (*dev, *test) for piece in pieces(query)}
    text = {
        "train": [query for query in train if not told & pieces(query)],
        "dev": dev,
        "test": test,
    }
    config = {
        "name": "bank",
        "language": "en",
        "description": "What customers ask their bank.",
        "licence": "CC-BY-4.0",
        "labels": {label: f"{label.lower()} that a bank speaks of" for label in TERMS},
        "sources": ["banking77, https://github.com/PolyAI-LDN/task-specific-datasets"],
    }
    write_domain(out, config, text, TERMS)
    print(f"{out}: {len(text['train'])} queries to learn from, {len(test)} to test with")


def has_term(query: str) -> bool:
    """Whether a query has a term, written as it is listed."""
    words = f" {re.sub(r'[^A-Za-z-]+', ' ', query)} "
    return any(f" {term} " in words for terms in TERMS.values() for term in terms)


def pieces(query: str) -> set[str]:
    """Six words in a row, or all of a shorter query: no other may have them."""
    words = normalize(query, "basic").split()
    return {" ".join(words[i : i + PIECE]) for i in range(max(1, len(words) - PIECE + 1))}


def queries(path: Path) -> list[str]:
    """The different queries of a file, shuffled."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        found = list(dict.fromkeys(row["text"].strip() for row in rows))
    some = [text[0].upper() + text[1:] for text in found if text.isascii()]
    random.Random(0).shuffle(some)
    return some


if __name__ == "__main__":
    main()
