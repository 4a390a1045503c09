"""Written transcripts for the speech stages of `mini`: case and punctuation from the books read.

LibriSpeech's transcripts are bare words. The book each chapter was read from is known, so the
words are aligned with the passage, and a word the two share is written as the book writes it.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from prepare_text import ABBREVIATION, ALLOWED, digest, plain, read_passages

Row = dict[str, Any]

VERSE = "01004_divine-comedy-longfellow-s-translation-complete.txt"
PASSAGE_REACH = 1500  # characters read before and after a passage's stated range
LONGEST = 15.0  # seconds, of learners' speech: beyond, mostly silence and repeats
# As LibriSpeech spells them, so that "mister" takes the book's "Mr."
SPOKEN = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "messrs": "messieurs"}
QUESTION_WORD = re.compile("(who|what|where|when|how)('s)?|whom|whose|which|why")
AUXILIARY = re.compile(
    "am|may|(is|are|was|were|do|does|did|can|could|will|would|shall|should|have|has|had)(n't)?"
    "|can't|won't|else"
)
SUBJECT = re.compile(
    "i|you|he|she|it|we|they|the|a|an|this|that|these|those|there|my|your|his|her|our|their"
    "|(any|every|some|no)(one|body|thing)"
)
# Names among the learners' words which the books hold too seldom to be sure of.
NAMES = ["god", "wednesday", "thursday", "friday", "congress", "englishman", "australia"]
NAMES += ["russians", "republicans"]


@dataclass(frozen=True)
class Written:
    """A word as a book writes it: `key` to compare by, `mark` what follows before the next word.

    `mark` is "-" inside a compound, otherwise one of , . ; : ? ! or nothing.
    """

    key: str
    form: str
    mark: str


def key_of(word: str) -> str:
    """The form in which a transcript's word and a book's word are compared."""
    letters = re.sub(r"[^a-z0-9]", "", word.lower())
    return SPOKEN.get(letters, letters)


def written_words(passage: str) -> list[Written]:
    """The words of a passage of a book, in order."""
    words: list[Written] = []
    for block in re.split(r"\n\s*\n", passage):
        text = plain(block)
        starts = True  # whether the next word begins a sentence
        for match in re.finditer(
            r"('?[A-Za-z]+(?:'[A-Za-z]+)*|[0-9][0-9,]*[0-9]|[0-9])([^A-Za-z0-9']*)", text
        ):
            form, gap = match[1], match[2]
            if gap.startswith(".") and ABBREVIATION.fullmatch(form):
                form, gap = form + ".", gap[1:]
            if len(form) > 1 and form.isupper() and not form.startswith("I'"):
                form = form.capitalize() if starts else form.lower()
            mark = "-" if gap == "-" else (re.findall(r"[,.;:?!]", gap) or [""])[0]
            words.append(Written(key_of(form), form, mark))
            starts = mark in (".", "?", "!")
    return words


def joined(words: list[Written]) -> str:
    """The text of `words`."""
    text = "".join(word.form + word.mark + ("" if word.mark == "-" else " ") for word in words)
    return " ".join(text.split())


def verse_as_prose(text: str) -> str:
    """Verse without the capitals at its line starts: of words the text also writes small.

    The length stays the same, so that character ranges stay right.
    """
    small = set(re.findall(r"(?<=[a-z,;] )[a-z]+", text))

    def lower(match: re.Match[str]) -> str:
        word = match[2].lower()
        return match[1] + (word if word in small else match[2])

    return re.sub(r"([A-Za-z,;:-]\s*\n\s*)([A-Z][a-z]*)\b", lower, text)


def restore(utterances: list[str], passage: str) -> list[tuple[str, float]]:
    """Write the lower-case `utterances`, in reading order, as `passage` writes them.

    Returns for each its text and the share of its words found in the passage. A word that
    differs stays as spoken, but takes the book's capital and mark where one word stands for one.
    """
    spoken = [word for utterance in utterances for word in utterance.split()]
    book = written_words(passage)
    pieces = [(word, "") for word in spoken]  # (form, mark)
    found = [False] * len(spoken)
    matcher = SequenceMatcher(
        None, [key_of(word) for word in spoken], [word.key for word in book], autojunk=False
    )
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            for i, word in zip(range(i1, i2), book[j1:j2], strict=True):
                pieces[i], found[i] = (word.form, word.mark), True
        elif tag == "replace":
            if "".join(map(key_of, spoken[i1:i2])) == "".join(word.key for word in book[j1:j2]):
                # "mac donald" for "MacDonald", "tonight" for "to-night": as the book has it.
                pieces[i1:i2] = [(joined(book[j1:j2]), "")] + [("", "")] * (i2 - i1 - 1)
                found[i1:i2] = [True] * (i2 - i1)
                continue
            if i2 - i1 == j2 - j1:
                for i, word in zip(range(i1, i2), book[j1:j2], strict=True):
                    large = word.form[0].isupper()
                    pieces[i] = spoken[i].capitalize() if large else spoken[i], word.mark
            pieces[i2 - 1] = pieces[i2 - 1][0], book[j2 - 1].mark
    written = [Written("", form, mark) for form, mark in pieces]
    restored = []
    start = 0
    for utterance in utterances:
        end = start + len(utterance.split())
        text = joined(written[start:end]).rstrip("-")
        restored.append((text, sum(found[start:end]) / max(1, end - start)))
        start = end
    return restored


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder's manifest.jsonl, with absolute audio paths."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[Row] = [json.loads(line) for line in lines]
    for row in rows:
        row["audio_filepath"] = str((folder / row["audio_filepath"]).resolve())
    return rows


def manifest_row(row: Row, text: str) -> Row:
    """A NeMo manifest row."""
    names = ("audio_filepath", "duration", "text", "speaker", "id")
    return {name: {**row, "text": text}[name] for name in names}


def librispeech(folder: Path, gutenberg: Path) -> tuple[list[Row], list[tuple[Row, float]]]:
    """All dev-clean rows with written text, and with each the share of its words in the book."""
    chapters: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read_rows(folder):
        chapters[row["speaker"], row["chapter"]].append(row)
    passages = {(row["speaker"], row["chapter"]): row for row in read_passages(gutenberg)}
    rows, without_book = [], []
    for key, chapter in chapters.items():
        if key not in passages:
            without_book += chapter
            continue
        where = passages[key]
        book = (gutenberg / where["file"]).read_text(encoding="utf-8")
        if where["file"] == VERSE:
            book = verse_as_prose(book)
        start = max(0, int(where["passage_char_start"]) - PASSAGE_REACH)
        passage = book[start : int(where["passage_char_end"]) + PASSAGE_REACH]
        chapter.sort(key=lambda row: row["id"])
        texts = restore([row["text"] for row in chapter], passage)
        rows += [
            (manifest_row(row, text), share)
            for row, (text, share) in zip(chapter, texts, strict=True)
        ]
    return without_book, rows


def kathleen(folder: Path) -> list[Row]:
    """The Arctic prompts as written, in plain marks."""
    return [manifest_row(row, plain(row["text_original"])) for row in read_rows(folder)]


def names_in(sentences: Iterable[str]) -> dict[str, str]:
    """Words that nearly always have a capital inside a sentence: {"london": "London"}."""
    large: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for sentence in sentences:
        for word in re.findall(r"(?<=[a-z,;] )[A-Za-z']+", sentence):
            total[word.lower()] += 1
            large[word.lower()] += word[0].isupper()
    return {word: word.capitalize() for word in NAMES} | {
        word: word.capitalize()
        for word, count in total.items()
        if count >= 10 and large[word] > 0.97 * count and word[:2] != "i'" and len(word) > 2
    }


def learners(folder: Path, names: dict[str, str]) -> list[Row]:
    """SpeechOcean's prompts with capitals and a final mark, the long recordings left out."""
    return [
        manifest_row(row, as_sentence(row["text"], names))
        for row in read_rows(folder)
        if row["duration"] <= LONGEST
    ]


def as_sentence(text: str, names: dict[str, str]) -> str:
    """`text`, bare lower-case words, as a sentence: "who is mary" gives "Who is Mary?"."""
    words = [names.get(word, word) for word in text.split()]
    words = [re.sub(r"^i(?=$|')", "I", word) for word in words]
    sentence = " ".join(words)
    mark = "?" if asks(text.split()) else "."
    return sentence[0].upper() + sentence[1:] + mark


def asks(words: list[str]) -> bool:
    """Whether lower-case `words` look like a question: "what was he", not "what he was"."""
    subject = len(words) > 1 and bool(SUBJECT.fullmatch(words[1]))
    if QUESTION_WORD.fullmatch(words[0]):
        return "'" in words[0] or (not subject and any(map(AUXILIARY.fullmatch, words[1:5])))
    return subject and bool(AUXILIARY.fullmatch(words[0]))


def split_speech(
    books: list[Row], prompts: list[Row], others: list[Row], held_out: set[str]
) -> dict[str, list[Row]]:
    """Rows for train, valid and heldout.

    valid: two utterances of each training speaker of `books`, and 30 of `prompts` whose text
    no training row has. Rows with characters outside the plain set are dropped.
    """

    def usable(rows: list[Row]) -> list[Row]:
        return [row for row in rows if ALLOWED.fullmatch(row["text"])]

    split: dict[str, list[Row]] = {"train": usable(others), "valid": [], "heldout": []}
    taken: Counter[str] = Counter()
    for row in sorted(usable(books), key=lambda row: digest(row["id"])):
        speaker = row["speaker"]
        if speaker in held_out:
            split["heldout"].append(row)
        elif taken[speaker] < 2:
            taken[speaker] += 1
            split["valid"].append(row)
        else:
            split["train"].append(row)
    by_text: dict[str, list[Row]] = defaultdict(list)
    for row in usable(prompts):
        by_text[row["text"]].append(row)
    room = 30
    for text in sorted(by_text, key=digest):
        part = "valid" if len(by_text[text]) <= room else "train"
        room -= len(by_text[text]) if part == "valid" else 0
        split[part] += by_text[text]
    return {part: sorted(rows, key=lambda row: row["id"]) for part, rows in split.items()}
