"""The pure functions that prepare the training material of `mini`, on hand-made examples."""

import importlib
import sys
from pathlib import Path

import pytest

from asr_llm.corpus.domain.folder import Domain

FOLDER = Path(__file__).resolve().parent.parent / "adapt" / "mini"
sys.path.insert(0, str(FOLDER))
text = importlib.import_module("prepare_text")
speech = importlib.import_module("prepare_speech")
prepare = importlib.import_module("prepare")
sys.path.remove(str(FOLDER))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("“Go!” said _Ántonia_.", "Go! said Antonia."),
        ("He came—and\n  saw the boys’ hats.", "He came, and saw the boys hats."),
        ("‘I don’t know,’ he said. . . .", "I don't know, he said."),
        ("Well ... perhaps.--Never!", "Well, perhaps. Never!"),
        ("'Tis late; tell 'em.", "Tis late; tell 'em."),
    ],
)
def test_plain(raw: str, expected: str) -> None:
    assert text.plain(raw) == expected


def test_split_sentences_keeps_titles_and_initials_together() -> None:
    assert text.split_sentences("Mr. Lee met J. Smith. Was it I? Yes! he said.") == [
        "Mr. Lee met J. Smith.",
        "Was it I?",
        "Yes! he said.",
    ]


@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        ("The old man went home.", True),
        ("Go on!", True),
        ("Alone.", False),  # one word
        ("the old man went home.", False),  # begins small
        ("The old man went home", False),  # does not end
        ("He was born in 1871.", False),
        ("He paid (too much) for it.", False),
        ("THE old man went home.", False),
        ("He went " + "on and on " * 17 + "home.", False),  # too long
        (" ".join(["So"] + ["it"] * 27) + ".", True),  # 28 words
        (" ".join(["So"] + ["it"] * 28) + ".", False),
    ],
)
def test_acceptable(sentence: str, wanted: bool) -> None:
    assert text.acceptable(sentence) is wanted


def test_book_sentences_leave_out_headings_verse_and_passages() -> None:
    read = "This was read aloud."
    margin = "\n\n" + "A long road it was to the sea and the hills beyond it. " * 11 + "\n\n"
    book = (
        "CHAPTER ONE\n\nThe day was fine and we went out\nto see the ships. They were gone.\n\n"
        "Tiger tiger\nBurning bright\nIn the forests\nOf the night.\n\n"
    )
    book += margin + read + margin + "The rest stayed."
    start = book.index(read)
    assert list(text.book_sentences(book, [(start, start + len(read))])) == [
        "The day was fine and we went out to see the ships.",
        "They were gone.",
        "The rest stayed.",
    ]


def test_exclusion_matches_whole_words_and_keeps_everyday_ones() -> None:
    exclusion = text.Exclusion(["Metoprolol", "stare decisis", "heart"])
    assert exclusion.found("The metoprolol works.") == {("metoprolol",)}
    assert exclusion.found("Stare decisis, he said.") == {("stare", "decisis")}
    assert exclusion.keeps("They stare; it is hearty.")
    assert not exclusion.keeps("Her heart sank.")
    exclusion.learn_everyday(["Her heart sank."] * 3 + ["Take metoprolol."], limit=2)
    assert exclusion.everyday == {("heart",)}
    assert exclusion.keeps("Her heart sank.")
    assert not exclusion.keeps("Her heart needs metoprolol.")


def test_exclusion_reads_domain_folders(tmp_path: Path) -> None:
    (tmp_path / "terms").mkdir()
    (tmp_path / "terms" / "drug.tsv").write_text("# names\nCPAP\tsee pap\nasa\n", encoding="utf-8")
    assert text.Exclusion.from_domains([tmp_path]).terms == {("cpap",), ("asa",)}
    assert text.Exclusion.from_domains([tmp_path / "missing"]).keeps("Anything goes.")


def test_gloss_sentences(tmp_path: Path) -> None:
    for kind in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{kind}").write_text("  1 licence\n", encoding="utf-8")
    (tmp_path / "data.noun").write_text(
        '1 06 n 01 oar 0 000 | a pole used in a boat (to row); "he pulled the oar"\n'
        "2 08 n 01 shin 0 000 | the front part of the leg\n"
        "3 06 n 01 pill 0 000 | a small drug\n"
        "4 15 n 01 Lyon 0 000 | the largest city on the Rhone\n",
        encoding="utf-8",
    )
    assert list(text.gloss_sentences(tmp_path)) == [
        "An oar is a pole used in a boat.",
        "He pulled the oar.",
        "Lyon is the largest city on the Rhone.",
    ]


def test_lemmas_are_every_word_of_plain_letters(tmp_path: Path) -> None:
    for kind in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{kind}").write_text("  1 licence n 01 0 | none\n", encoding="utf-8")
    (tmp_path / "data.adj").write_text(
        "1 00 s 03 galore(ip) 0 well-nigh 0 New_World 0 000 | in plenty\n"
        "2 00 a 02 7th 0 AARP 0 000 | as said\n",
        encoding="utf-8",
    )
    assert text.lemmas(tmp_path) == {"galore", "well-nigh", "New World"}


def test_word_lists_hold_every_word_once() -> None:
    assert list(text.word_lists(["oxbow"])) == ["Oxbow."]
    made = list(text.word_lists({"lute", "oxbow", "Peoria", "fen", "tern", "mild ale"}, size=4))
    assert made == list(text.word_lists(["tern", "fen", "lute", "oxbow", "mild ale", "Peoria"], 4))
    assert [line.count(",") for line in made] == [2, 0]
    listed = [w for line in made for w in line.rstrip(".").replace(" and ", ", ").split(", ")]
    assert sorted(map(str.lower, listed)) == ["fen", "lute", "mild ale", "oxbow", "peoria", "tern"]


def test_qa_answers_are_in_their_passages_and_stable() -> None:
    made = text.qa_examples(FOLDER / "qa.yaml", 300)
    assert made == text.qa_examples(FOLDER / "qa.yaml", 300)
    assert len({row["passage"] for row in made}) == 300
    for row in made:
        assert row["answer"] in row["passage"]
        assert "{" not in row["passage"] + row["question"]
        assert 2 <= len(text.split_sentences(row["passage"])) <= 4


def test_restore_takes_case_and_marks_from_the_book() -> None:
    passage = (
        "CHAPTER TWO\n\n“Mr. Verloc,” she cried, “what a grey old door-bell!”\n\n"
        "TO-NIGHT he would tell MacDonald—perhaps at 5 o’clock."
    )
    utterances = [
        "mister verloc she cried what a gray old door bell",
        "tonight he would tell mac donald",
        "perhaps at five o'clock",
    ]
    assert speech.restore(utterances, passage) == [
        ("Mr. Verloc, she cried, what a gray old door-bell!", 0.9),
        ("To-night he would tell MacDonald,", 1.0),
        ("perhaps at five o'clock.", 0.75),
    ]


def test_verse_as_prose_keeps_names_and_length() -> None:
    verse = "I saw, and then\nThe boat of Dante; he\nSaid the word.\nThe end, the said\nThing."
    prose = speech.verse_as_prose(verse)
    assert (
        prose == "I saw, and then\nthe boat of Dante; he\nsaid the word.\nThe end, the said\nThing."
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("i think i'm in london", "I think I'm in London."),
        ("what was he doing", "What was he doing?"),
        ("what he was doing", "What he was doing."),
        ("do you know mary", "Do you know mary?"),
        ("do not fear", "Do not fear."),
        ("what's new", "What's new?"),
    ],
)
def test_as_sentence(words: str, expected: str) -> None:
    assert speech.as_sentence(words, {"london": "London"}) == expected


def test_split_speech_shares_no_prompt_and_keeps_held_out_speakers_apart() -> None:
    def rows(name: str, speaker: str, texts: list[str]) -> list[dict[str, str]]:
        return [
            {"id": f"{name}-{i}", "speaker": speaker, "text": each} for i, each in enumerate(texts)
        ]

    books = rows("a", "1", ["One."] * 5) + rows("b", "777", ["Two.", "Room 2."])
    prompts = rows("p", "k", [f"Prompt {letter}." for letter in "abcdefghij"] * 4)
    split = speech.split_speech(books, prompts, rows("o", "so", ["Other."]), {"777"})
    assert [row["id"] for row in split["heldout"]] == ["b-0"]  # "Room 2." has a digit
    assert sum(row["speaker"] == "1" for row in split["valid"]) == 2
    valid = {row["text"] for row in split["valid"] if row["speaker"] == "k"}
    train = {row["text"] for row in split["train"] if row["speaker"] == "k"}
    assert len(valid) == 7 and not valid & train  # seven prompts of four utterances: 28 of 30
    assert "777" not in {row["speaker"] for part in ("train", "valid") for row in split[part]}


def test_held_out_books_are_read_by_nobody_else() -> None:
    assert len(prepare.HELD_OUT_SPEAKERS) == 6
    assert len(prepare.HELD_OUT_BOOKS) == 7


def test_the_books_are_a_domain_folder_in_the_voices_of_general(tmp_path: Path) -> None:
    prepare.write_domain(tmp_path / "books", "Books.", ["Call me Ishmael."], ["It was dusk."])
    books = Domain.load(tmp_path / "books")
    general = Domain.load(Path(prepare.__file__).parents[2] / "domains" / "general")
    assert books.text("train") == ["Call me Ishmael."]
    assert books.text("dev") == ["It was dusk."]
    assert books.voices("train") == general.voices("train")
