"""Sentences for the text stages of `mini`: books, dictionary glosses, question-answer passages.

Everything here is a pure function of its input files: no randomness but a seeded one, and every
order is by a hash of the sentence, so a second run writes the same bytes.
"""

import csv
import hashlib
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

# Books besides the held-out speakers' that give no sentences, and why.
# Verse has a capital at every line start; two of the general books are about medicine.
NOT_FOR_TEXT = {
    "01004_divine-comedy-longfellow-s-translation-complete.txt": "verse",
    "01566_the-evolution-of-modern-medicine-a-series-of-lectu.txt": "medical",
    "17366_notes-on-nursing-what-it-is-and-what-it-is-not.txt": "medical",
}
PASSAGE_MARGIN = 600  # characters cut before and after a passage that somebody reads

WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
ALLOWED = re.compile(r"[A-Za-z ,.?!'\-;:]+")
MARKERS = re.compile(  # of a gloss about medicine or law, or of a rude one
    r"\b(drugs?|disease|disorder|medic\w*|surg\w*|laws?|courts?|legal\w*|illegal\w*|plaintiff|"
    r"inflammation|syndrome|symptoms?|infect\w*|patients?|therap\w*|tumou?rs?|cancer\w*|clinic\w*|"
    r"physicians?|hospitals?|trademark|vaccine|pain|lesions?|pathol\w*|antibiotic|diagnos\w*|"
    r"lawyers?|judges?|judicial|statutes?|defendants?|crim\w*|lawsuits?|attorney|jurisdiction|"
    r"vulgar|obscen\w*|offensive|disparag\w*|derogat\w*|slang|sexual\w*|ethnic|"
    r"bacteri\w*|virus\w*|arter\w*|muscles?|nerves?|bones?|blood|dose|treatment)\b",
    re.IGNORECASE,
)
ABBREVIATION = re.compile(  # whose full stop ends no sentence
    "Mrs?|Ms|Dr|Messrs|Mme|Mlle|St|Capt|Col|Gen|Lieut|Lt|Sgt|Prof|Rev|Hon|Sir|Jr|Sr|Esq|Nos?|"
    r"[Vv]ol|pp?|ch|[Ff]ig|cf|viz|vs|i\.e|e\.g|[A-HJ-Z]"
)
SLURS = re.compile(r"\b(nigg|darkey|darkie)", re.IGNORECASE)
LEMMA = re.compile(r"[A-Za-z][A-Za-z' -]{2,24}")
PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "…": "...", "—": "--"}
    | {"–": "--", "―": "--", "‑": "-", "æ": "ae", "œ": "oe", "Æ": "Ae", "Œ": "Oe", "`": "'"}
)


def plain(text: str) -> str:
    """`text` on one line in plain ASCII marks: quotation marks gone, dashes as commas.

    Accents are folded (Ántonia, Antonia), italics' underscores dropped, an apostrophe stays only
    inside a word. Characters which have no plain form are left for `acceptable` to refuse.
    """
    text = unicodedata.normalize("NFKD", text.translate(PLAIN))
    text = "".join(c for c in text if not unicodedata.combining(c)).translate(PLAIN)
    text = text.replace("_", "").replace('"', "")
    text = re.sub(r"(?<![A-Za-z])'(?!(?:tis|twas|em|twould|twere)\b)|'(?![A-Za-z])", "", text)
    text = text.replace(" n't", "n't")
    text = re.sub(r"\s*\.(?:\s*\.)+(?=\s*[a-z])", ",", text)  # ... between words
    text = re.sub(r"\s*\.(?:\s*\.)+", ".", text)
    text = re.sub(r"\s*([,.;:?!])?\s*-{2,}\s*", lambda m: (m[1] or ",") + " ", text)
    text = re.sub(r"([,;:.?!])(?:\s*,)+", r"\1", text)  # the comma of a dash beside another mark
    text = re.sub(r"\s+([,.;:?!])", r"\1", " ".join(text.split()))
    return text.lstrip(",.;:?!- ")


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of a plain paragraph; "Mr. Smith" and "J. Smith" stay together."""
    pieces: list[str] = []
    start = 0
    for match in re.finditer(r"(?<=[.?!])\s+(?=[A-Z'])", paragraph):
        before = paragraph[start : match.start()]
        last = before.split()[-1][:-1] if before.endswith(".") else ""
        if ABBREVIATION.fullmatch(last):
            continue
        pieces.append(before)
        start = match.end()
    return [*pieces, paragraph[start:]]


def acceptable(sentence: str) -> bool:
    """Whether a plain sentence may be trained on: 2-28 words, at most 170 characters, cased."""
    if not 4 <= len(sentence) <= 170 or not ALLOWED.fullmatch(sentence):
        return False
    if not sentence[0].isupper() or sentence[-1] not in ".?!":
        return False
    words = WORD.findall(sentence)
    if SLURS.search(sentence):
        return False
    if not 2 <= len(words) <= 28:
        return False
    # Capitals beyond a word's first letter are headings, roman numerals or emphasis: no model.
    return not any(len(word) > 1 and word.isupper() and "-" not in word for word in words)


def paragraphs(text: str) -> Iterator[str]:
    """The prose paragraphs of a book, on one line each; verse, tables and headings are left out."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines or all(line.startswith("  ") for line in lines):
            continue
        if len(lines) > 2:
            body = lines[:-1]
            capitals = sum(line.lstrip("\"'“‘ ")[:1].isupper() for line in body) / len(body)
            if capitals > 0.8 or sum(map(len, body)) / len(body) < 40:
                continue
        yield plain(block)


def book_sentences(text: str, passages: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Acceptable sentences of a book without the character ranges `passages` and their margins."""
    for start, end in sorted(passages, reverse=True):
        cut = max(0, start - PASSAGE_MARGIN), end + PASSAGE_MARGIN
        text = text[: cut[0]] + "\n\n" + text[cut[1] :]
    for paragraph in paragraphs(text):
        pieces = split_sentences(paragraph)
        # A cut paragraph begins in the middle of a sentence: acceptable() wants a capital.
        yield from (piece for piece in pieces if acceptable(piece))


def gloss_sentences(folder: Path) -> Iterator[str]:
    """Readable definitions and examples of a WordNet `dict` folder, medicine and law left out."""
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{kind}").read_text(encoding="utf-8").splitlines():
            head, bar, gloss = line.partition(" | ")
            fields = head.split()
            if not bar or line.startswith(" ") or fields[1] == "08" or MARKERS.search(gloss):
                continue  # 08 is noun.body
            lemma = re.sub(r"\(.*?\)", "", fields[4]).replace("_", " ")
            if fields[1] in ("05", "20") and not lemma.islower():
                continue  # Latin names of animals and plants
            examples = re.findall(r'"([^"]+)"', gloss)
            definition = re.sub(r"\([^)]*\)", "", gloss.partition('"')[0]).split(";")[0]
            definition = " ".join(definition.split()).rstrip(" :,")
            written = [_definition(kind, lemma, definition), *map(_example, examples)]
            yield from (piece for piece in map(plain, written) if acceptable(piece))


def lemmas(folder: Path) -> set[str]:
    """The words and phrases of a WordNet `dict` folder, as written, of plain letters."""
    found: set[str] = set()
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{kind}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):  # the licence
                continue
            fields = line.partition(" | ")[0].split()
            words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            found.update(re.sub(r"\(.*?\)", "", word).replace("_", " ") for word in words)
    return {word for word in found if LEMMA.fullmatch(word) and not word.isupper()}


def word_lists(words: Iterable[str], size: int = 5) -> Iterator[str]:
    """Every word once, in an arbitrary but stable order: "Oxbow, carnation, lute and Peoria."

    Rare words in the company of rare words: they are spelt by their sound, not by memory.
    """
    ordered = sorted(words, key=digest)
    for i in range(0, len(ordered), size):
        *some, last = ordered[i : i + size]
        text = f"{', '.join(some)} and {last}." if some else f"{last}."
        yield text[0].upper() + text[1:]


def _definition(kind: str, lemma: str, gloss: str) -> str:
    first = gloss.split(" ")[0]
    if not first or lemma.startswith(("genus ", "family ", "order ")):
        return ""
    if kind == "verb":
        return f"To {lemma} is to {gloss}."
    if kind == "noun" and first in ("a", "an", "any", "someone", "something") and lemma.islower():
        return f"{'An' if lemma[0] in 'aeiou' else 'A'} {lemma} is {gloss}."
    if kind == "noun" and first in ("a", "an", "the", "any", "one"):
        return f"{lemma[0].upper()}{lemma[1:]} is {gloss}."
    if kind == "noun" and not lemma.islower():  # a person or a place
        return (
            f"{lemma[0].upper()}{lemma[1:]} is {'an' if first[0] in 'aeiouAEIO' else 'a'} {gloss}."
        )
    return f"{lemma[0].upper()}{lemma[1:]} means {gloss}."


def _example(example: str) -> str:
    example = re.sub(r"\bi\b", "I", example.strip(" .;,"))
    if len(example.split()) < 4:
        return ""
    return example[0].upper() + example[1:] + ("" if example[-1] in "?!" else ".")


class Exclusion:
    """Domain terms the base model must not have seen, and the everyday words among them."""

    def __init__(self, terms: Iterable[str]) -> None:
        self.terms = {key for term in terms if (key := _words(term))}
        self.everyday: set[tuple[str, ...]] = set()
        self._longest = max(map(len, self.terms), default=0)

    @classmethod
    def from_domains(cls, folders: Iterable[Path]) -> "Exclusion":
        """Every first column of every `terms/*.tsv` of the domain folders."""
        files = [file for folder in folders for file in sorted((folder / "terms").glob("*.tsv"))]
        lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        return cls(line.split("\t")[0] for line in lines if not line.startswith("#"))

    def found(self, sentence: str) -> set[tuple[str, ...]]:
        """The terms, as tuples of lower-case words, which `sentence` holds as whole words."""
        words = _words(sentence)
        spans = (words[i : i + n] for i in range(len(words)) for n in range(1, self._longest + 1))
        return self.terms.intersection(spans)

    def learn_everyday(self, sentences: Iterable[str], limit: int = 30) -> None:
        """Take terms which more than `limit` sentences hold for ordinary words."""
        counts = Counter(term for sentence in sentences for term in self.found(sentence))
        self.everyday = {term for term, count in counts.items() if count > limit}

    def keeps(self, sentence: str) -> bool:
        """Whether `sentence` holds no term but everyday ones."""
        return self.found(sentence) <= self.everyday


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower().replace("'s", "")))


def digest(text: str) -> str:
    """A stable hash to order and split by."""
    return hashlib.sha1(text.encode()).hexdigest()


def read_passages(gutenberg: Path) -> list[dict[str, str]]:
    """The rows of passages.tsv: which speaker reads which characters of which book."""
    with (gutenberg / "passages.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def all_book_sentences(gutenberg: Path, held_out_books: set[str]) -> list[str]:
    """Acceptable sentences of the training books, each once."""
    rows = read_passages(gutenberg)
    sentences: dict[str, None] = {}
    for path in sorted(gutenberg.rglob("*.txt")):
        name = path.relative_to(gutenberg).as_posix()
        if name in held_out_books or name in NOT_FOR_TEXT:
            continue
        spans = [
            (int(row["passage_char_start"]), int(row["passage_char_end"]))
            for row in rows
            if row["file"] == name
        ]
        sentences.update(dict.fromkeys(book_sentences(path.read_text(encoding="utf-8"), spans)))
    return list(sentences)


def qa_examples(path: Path, count: int, seed: int = 1) -> list[dict[str, str]]:
    """`count` distinct passages of 2-4 sentences, each with a question answered by a part of it.

    `path` holds `slots` (name: list of words) and `facts` (text, ask: question, answer slot).
    No value occurs twice in a passage, so that a question has one answer. An answer which the
    passage lacks is a mistake in the file: ValueError names the fact.
    """
    material = yaml.safe_load(path.read_text(encoding="utf-8"))
    slots, facts = material["slots"], material["facts"]
    rng = random.Random(seed)
    made: dict[str, dict[str, str]] = {}
    while len(made) < count:
        pools = {name: rng.sample(values, len(values)) for name, values in slots.items()}
        chosen = rng.sample(facts, rng.choice((2, 2, 3)))
        if rng.random() < 0.3:  # the same kind of fact twice: names alone tell them apart
            chosen[1] = chosen[0]
        filled = []
        for fact in chosen:
            used = set(re.findall(r"\{(\w+)\}", fact["text"]))
            filled.append({slot: pools[slot].pop() for slot in sorted(used)})
        texts = [_fill(fact["text"], values) for fact, values in zip(chosen, filled, strict=True)]
        passage = " ".join(texts)
        asked = rng.randrange(len(chosen))
        question, slot = rng.choice(chosen[asked]["ask"])
        answer = filled[asked][slot]
        if answer not in passage:
            raise ValueError(f"{path}: answer {answer!r} is not in {passage!r}")
        twice = chosen.count(chosen[asked]) > 1 and "{" not in question
        if len(split_sentences(passage)) > 4 or twice:
            continue  # too long, or both facts would answer
        question = _fill(question, filled[asked])
        made[passage] = {"passage": passage, "question": question, "answer": answer}
    return list(made.values())


def _fill(template: str, values: dict[str, str]) -> str:
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.format(**values))
    return text[0].upper() + text[1:]
