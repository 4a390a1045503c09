"""Write the training material of the embedded base model `mini` (see --help)."""

import argparse
import json
from pathlib import Path
from typing import Any

import prepare_speech as speech
import yaml
from prepare_text import (
    Exclusion,
    all_book_sentences,
    digest,
    gloss_sentences,
    lemmas,
    qa_examples,
    word_lists,
)

HERE = Path(__file__).resolve().parent

# Six dev-clean speakers kept for testing, three women and three men, eight minutes each. Nobody
# else reads their books, and the books are full of names: Verloc, Glenarvan, Nestorius, Hurstwood.
HELD_OUT_SPEAKERS = {
    "777": ["00974_the-secret-agent-a-simple-tale.txt"],
    "1462": ["00094_alexander-s-bridge.txt"],
    "1673": ["00734_the-history-of-the-decline-and-fall-of-the-roman-e.txt"],
    "2277": ["05267_sister-carrie.txt"],
    "2803": [
        "02083_in-search-of-the-castaways-or-the-children-of-capt.txt",
        "05792_the-stories-mother-nature-told-her-children.txt",
    ],
    "2902": ["06308_hypatia-or-new-foes-with-an-old-face.txt"],
}
HELD_OUT_BOOKS = {book for books in HELD_OUT_SPEAKERS.values() for book in books}
VALID_LINES, GLOSS_LINES = 1000, 40_000
LEAST_SHARE = 0.5  # of a LibriSpeech utterance's words found in the book
QA_TRAIN, QA_VALID = 24_000, 600


def write_lines(path: Path, lines: list[str]) -> None:
    """Write `lines` to `path`, by way of a temporary name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    temporary.replace(path)


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def write_domain(folder: Path, description: str, train: list[str], valid: list[str]) -> None:
    """A domain folder in the voices of domains/general."""
    general = yaml.safe_load((HERE.parents[1] / "domains/general/domain.yaml").read_text("utf-8"))
    config = {
        "name": folder.name,
        "language": "en",
        "description": description,
        "voices": general["voices"],
    }
    write_lines(folder / "domain.yaml", [yaml.safe_dump(config, sort_keys=False)])
    write_lines(folder / "text.txt", train)
    write_lines(folder / "dev" / "text.txt", valid)


def prepare_text(data: Path, out: Path, wordnet: Path, exclusion: Exclusion) -> dict[str, int]:
    """Write books, words, text, everyday_terms.txt and heldout.json; return the counts."""
    books = all_book_sentences(data / "text" / "gutenberg", HELD_OUT_BOOKS)
    exclusion.learn_everyday(books)
    kept = [sentence for sentence in books if exclusion.keeps(sentence)]
    glosses = sorted(set(filter(exclusion.keeps, gloss_sentences(wordnet))), key=digest)
    lines = sorted(set(kept).union(glosses[:GLOSS_LINES]), key=digest)
    books_and_glosses = "Public-domain books and dictionary glosses."
    write_domain(out / "books", books_and_glosses, lines[VALID_LINES:], lines[:VALID_LINES])
    rare = list(filter(exclusion.keeps, lemmas(wordnet)))
    lists = sorted([*word_lists(rare), *glosses[GLOSS_LINES : 2 * GLOSS_LINES]], key=digest)
    rare_words = "Rare words, in lists and in dictionary glosses."
    write_domain(out / "words", rare_words, lists[VALID_LINES:], lists[:VALID_LINES])
    write_lines(out / "everyday_terms.txt", sorted(map(" ".join, exclusion.everyday)))
    qa = qa_examples(HERE / "qa.yaml", QA_TRAIN + QA_VALID)
    qa = [row for row in qa if exclusion.keeps(row["passage"] + " " + row["question"])]
    write_json_lines(out / "text" / "qa_valid.jsonl", qa[:QA_VALID])
    write_json_lines(out / "text" / "qa_train.jsonl", qa[QA_VALID:])
    held_out = [
        {"speaker": speaker, "books": files} for speaker, files in HELD_OUT_SPEAKERS.items()
    ]
    write_lines(out / "heldout.json", [json.dumps(held_out, indent=2)])
    return {
        "terms to leave out": len(exclusion.terms),
        "of these everyday words": len(exclusion.everyday),
        "book sentences": len(books),
        "book sentences kept": len(kept),
        "glosses found": len(glosses),
        "glosses kept": min(len(glosses), GLOSS_LINES),
        "books/text.txt": len(lines) - VALID_LINES,
        "words/text.txt": len(lists) - VALID_LINES,
        "words": sum(len(line.split()) for line in lines),
        "qa_train.jsonl": len(qa) - QA_VALID,
    }


def prepare_speech(data: Path, out: Path, exclusion: Exclusion) -> dict[str, int | str]:
    """Write DIR/speech; return the counts. Needs everyday_terms.txt of the text part."""
    everyday = (out / "everyday_terms.txt").read_text(encoding="utf-8").splitlines()
    exclusion.everyday = {tuple(term.split()) for term in everyday}
    gutenberg, folder = data / "text" / "gutenberg", data / "speech"
    without_book, read = speech.librispeech(folder / "librispeech-dev-clean", gutenberg)
    books = [row for row, share in read if share >= LEAST_SHARE]
    prompts = speech.kathleen(folder / "kathleen-arctic")
    names = speech.names_in(all_book_sentences(gutenberg, HELD_OUT_BOOKS))
    learners = speech.learners(folder / "speechocean762-adults", names)
    split = speech.split_speech(books, prompts, learners, set(HELD_OUT_SPEAKERS))
    counts: dict[str, int | str] = {
        "LibriSpeech without a book": len(without_book),
        "LibriSpeech not found in it": len(read) - len(books),
        "words found in the book": f"{sum(share for _, share in read) / len(read):.1%}",
    }
    for part, rows in split.items():
        kept = [row for row in rows if part == "heldout" or exclusion.keeps(row["text"])]
        hours = sum(row["duration"] for row in kept) / 3600
        counts[f"{part}.jsonl, domain terms"] = len(rows) - len(kept)
        counts[f"{part}.jsonl"] = f"{len(kept)} ({hours:.2f} h)"
        write_json_lines(out / "speech" / f"{part}.jsonl", kept)
    return counts


def main() -> None:
    """Parse the arguments, prepare, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/ and text/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--part", choices=("text", "speech", "all"), default="all")
    parser.add_argument(
        "--wordnet",
        type=Path,
        default=Path("/usr/share/wordnet"),
        help="WordNet's dict folder (data.noun ...). Debian: apt-get update; apt-get download "
        "wordnet-base; dpkg -x wordnet-base_*.deb DIR; then DIR/usr/share/wordnet",
    )
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="*",
        default=[Path("domains/medical"), Path("domains/legal")],
        help="domain folders whose terms no training sentence may hold",
    )
    args = parser.parse_args()
    exclusion = Exclusion.from_domains(args.exclude)
    counts: dict[str, int | str] = {}
    if args.part in ("text", "all"):
        counts |= prepare_text(args.data, args.out, args.wordnet, exclusion)
    if args.part in ("speech", "all"):
        counts |= prepare_speech(args.data, args.out, exclusion)
    for name, count in counts.items():
        print(f"{name:30}{count:>16}")


if __name__ == "__main__":
    main()
