"""How many terms `asr-llm terms` finds in domains whose terms are known.

    python eval/terms.py [--at 100 200] [FOLDER ...]

By default in ``domains/medical`` and ``domains/legal``, on which its rules were tuned, and in
``eval/aviation``, which was written to measure them: text and lists first, and only then measured.

Gold are the terms of ``terms/*.tsv`` that occur in the text, in whatever case. A proposal is right
if it is one of them, word for word: half a term is wrong, so is a true term that the lists lack.
The domain's text is ``text.txt`` alone, or with its expanded train templates; general language is
the text that `mini` replays, English at large (wordfreq), or both.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import asr_llm
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.terms.propose import General, propose, read_sentences

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [ROOT / "domains" / "medical", ROOT / "domains" / "legal", ROOT / "eval" / "aviation"]
REPLAY = Path(asr_llm.__file__).parent / "assets" / "mini" / "replay"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--at", type=int, nargs="+", default=[100, 200])
    parser.add_argument("folders", type=Path, nargs="*", default=FOLDERS, metavar="FOLDER")
    given = parser.parse_args()
    at = given.at

    replay = read_sentences(REPLAY)
    general = {
        "replay": General(replay, english=False),
        "wordfreq": General(),
        "both": General(replay),
    }
    columns = [f"P@{n} | R@{n}" for n in at]
    print("| text | terms in it | general | proposed |", " | ".join(columns), "| P all | R all |")
    print("|---|---|---|---|" + "---|---|" * (len(at) + 1))
    for path in given.folders:
        folder, name = Domain.load(path), path.name
        terms = [term.text for label in folder.terms().values() for term in label]
        texts = {f"{name}, text.txt": read_sentences(path / "text.txt")}
        if (path / "templates.yaml").exists():
            texts[f"{name}, with templates"] = folder.text()
        for text, sentences in texts.items():
            gold = occurring(terms, sentences)
            for source, known in general.items():
                found = [candidate.term.casefold() for candidate in propose(sentences, known)]
                cells = [cell for n in [*at, len(found)] for cell in scores(found[:n], gold)]
                print(f"| {text} | {len(gold)} | {source} | {len(found)} |", *cells)


def occurring(terms: list[str], sentences: list[str]) -> set[str]:
    """The terms that stand in some sentence, as whole words, case apart."""
    text = "\n".join(sentences).casefold()
    keys = {term.casefold() for term in terms}
    return {key for key in keys if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text)}


def scores(found: list[str], gold: set[str]) -> list[str]:
    """Precision and recall, as cells."""
    right = len(gold & set(found))
    return [f"{right / max(1, len(found)):.0%} |", f"{right / len(gold):.0%} |"]


if __name__ == "__main__":
    main()
