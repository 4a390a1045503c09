"""Make a domain of books: text to learn from, names to be recognised, real readers to test.

    python adapt/book_domain.py --data ../shared/data --out runs/books
    python adapt/compare.py runs/books

The passages that were recorded are cut out of the text; the readers' recordings are the test set,
or with --recorded 0.5 the second half of each reader's, and the first half is there to train on;
with --exchange the other way round. With --missed, of those to train on the first ten are kept in
which a name was missed, as the mentions.jsonl of an evaluation says.
Names are words with a capital inside sentences, often, and hardly ever without.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from domain_files import write_domain

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "mini"))

import prepare_speech  # noqa: E402
from prepare import HELD_OUT_SPEAKERS  # noqa: E402
from prepare_text import ALLOWED, book_sentences, read_passages  # noqa: E402

DEV = 120  # sentences


def names(sentences: Iterable[str], least: int = 5) -> dict[str, int]:
    """Words with a capital at least ``least`` times inside a sentence, and in 95% of all cases."""
    large: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for sentence in sentences:
        for word in re.findall(r"(?<=[a-z,;] )[A-Za-z]{3,}", sentence):
            (large if word[0].isupper() else small)[word.capitalize()] += 1
    found = {
        word: count
        for word, count in large.items()
        if count >= least and count >= 0.95 * (count + small[word])
    }
    return dict(sorted(found.items()))


def main() -> None:
    """Write the domain folder, print what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/ and text/")
    known = sorted(HELD_OUT_SPEAKERS)
    parser.add_argument("--speakers", nargs="+", choices=known, default=known, metavar="ID")
    parser.add_argument("--recorded", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--exchange", action="store_true", help="what is recorded is the test set")
    parser.add_argument("--missed", type=Path, metavar="MENTIONS", help="mentions.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    gutenberg = arguments.data / "text" / "gutenberg"

    sentences: list[str] = []
    for book in [book for speaker in arguments.speakers for book in HELD_OUT_SPEAKERS[speaker]]:
        read = [
            (int(row["passage_char_start"]), int(row["passage_char_end"]))
            for row in read_passages(gutenberg)
            if row["file"] == book
        ]
        sentences += book_sentences((gutenberg / book).read_text("utf-8"), read)
    sentences = list(dict.fromkeys(sentences))
    random.Random(0).shuffle(sentences)  # of every book some for the dev set
    found = names(sentences)
    folder = arguments.data / "speech" / "librispeech-dev-clean"
    rows = [
        row
        for row, _ in prepare_speech.librispeech(folder, gutenberg)[1]
        if row["speaker"] in arguments.speakers and ALLOWED.fullmatch(row["text"])
    ]
    out = arguments.out
    train = _first(rows, arguments.recorded)
    rows = [row for row in rows if row not in train]
    if arguments.exchange:
        train, rows = rows, train
    if arguments.missed:
        train = corrected(train, arguments.missed.read_text("utf-8").splitlines())
    for part in ("test", *(["train"] if train else [])):
        (out / part).mkdir(parents=True, exist_ok=True)
    config = {
        "name": "books",
        "language": "en",
        "description": f"The books that {', '.join(arguments.speakers)} of LibriSpeech read from.",
        "labels": {"NAME": "a person or a place of the book"},
        "voices": {"dev": ["en-us+belinda", "en-gb-x-rp+john"]},
    }
    text = {"train": sentences[DEV:], "dev": sentences[:DEV]}
    write_domain(out, config, text, {"NAME": found})
    for part, some in (("train", train), ("test", rows)):
        if some:
            lines = "".join(json.dumps(row) + "\n" for row in some)
            (out / part / "manifest.jsonl").write_text(lines, "utf-8")
    said = Counter(word for row in rows for word in re.findall(r"[A-Za-z]+", row["text"]))
    print(
        f"{out}: {len(sentences)} sentences, {len(found)} names in the text, "
        f"{sum(found.values())} times; {len(rows)} recordings, in which "
        f"{sum(name in said for name in found)} of the names are said "
        f"{sum(said[name] for name in found)} times; {len(train)} recordings to train on, "
        f"{sum(row['duration'] for row in train) / 60:.0f} minutes"
    )


def corrected(rows: list[dict], mentions: Iterable[str], count: int = 10) -> list[dict]:
    """The first recordings in which a mention was not found as written."""
    found = map(json.loads, mentions)
    missed = {mention["utterance"] for mention in found if mention["raw"] != "found"}
    return [row for row in rows if row["id"] in missed][:count]


def _first(rows: list[dict], share: float) -> list[dict]:
    """So much of each speaker's recordings, the first."""
    by_speaker: dict[str, list[dict]] = {}
    for row in rows:
        by_speaker.setdefault(row["speaker"], []).append(row)
    return [row for some in by_speaker.values() for row in some[: round(share * len(some))]]


if __name__ == "__main__":
    main()
