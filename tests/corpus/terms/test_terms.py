"""Proposing terms: cases worked by hand, what holds for any text, and the command itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.domain.folder import create
from asr_llm.corpus.terms.propose import Candidate, General, propose, propose_from_files
from asr_llm.errors import DomainError

ENGLISH = General()


def proposed(*sentences: str, general: General = ENGLISH) -> dict[str, Candidate]:
    return {candidate.term: candidate for candidate in propose(sentences, general)}


# By hand -------------------------------------------------------------------------------


def test_a_rare_word_with_its_count_and_contexts() -> None:
    found = proposed(
        "She took apixaban for years before she stopped.",
        "Apixaban was good for her.",
        "We gave him apixaban.",
    )
    assert list(found) == ["apixaban"]
    assert found["apixaban"].count == 3
    assert found["apixaban"].contexts == (
        "She took apixaban for years before she …",
        "Apixaban was good for her",
    )
    assert found["apixaban"].why == ("-xaban", "rare (zipf 1.2)")


def test_common_words_are_not_proposed() -> None:
    assert not proposed("The doctor said that we should come back in the morning.")


def test_a_capital_counts_inside_a_sentence_only() -> None:
    assert list(proposed("We met Walker there.", "Walker was late.")) == ["Walker"]
    assert not proposed("I know. Walker was late.", "WALKER WAS LATE.")
    assert list(proposed("I saw Dr. Walker today.")) == ["Walker"]


def test_a_frequent_word_of_the_text_is_proposed() -> None:
    lines = ["The tablet is here.", "She has a tablet.", "Give him the tablet."]
    assert proposed(*lines)["tablet"].why == ("frequent here",)
    assert not proposed(lines[0])


@pytest.mark.parametrize(
    ("sentence", "term"),
    [
        ("We found a pulmonary embolism in her.", "pulmonary embolism"),
        ("Pulmonary embolism was not found.", "pulmonary embolism"),
        ("He has irritable bowel syndrome and is well.", "irritable bowel syndrome"),
        ("He has Crohn's disease now.", "Crohn's disease"),
        ("He has a PULMONARY EMBOLISM.", "PULMONARY EMBOLISM"),
        ("They sued under the Sherman Act today.", "Sherman Act"),
        ("It is a matter of res ipsa loquitur here.", "res ipsa loquitur"),
        ("They said it in Roe v. Wade last year.", "Roe v. Wade"),
        ("In Roe v. Wade they said it.", "Roe v. Wade"),
        ("It follows Brown versus Board of Education today.", "Brown versus Board of Education"),
        ("They want to end it under Rule 12(b)(6) now.", "Rule 12(b)(6)"),
        ("It was brought under 42 U.S.C. § 1983 last year.", "42 U.S.C. § 1983"),
    ],
)
def test_phrases_are_kept_whole(sentence: str, term: str) -> None:
    assert list(proposed(sentence)) == [term]


def test_a_phrase_ends_at_punctuation() -> None:
    assert set(proposed("She takes apixaban, ramipril and aspirin.")) == {
        "apixaban",
        "ramipril",
        "aspirin",
    }


def test_a_part_is_proposed_only_where_it_stands_alone() -> None:
    whole = "He had a pulmonary embolism then."
    assert list(proposed(whole)) == ["pulmonary embolism"]
    both = proposed(whole, "The embolism was small.")
    assert (both["embolism"].count, both["pulmonary embolism"].count) == (2, 1)


def test_common_neighbours_are_joined_when_they_are_often_together() -> None:
    lines = ["The carpal tunnel is narrow.", "Her carpal tunnel hurts.", "A tunnel."]
    assert "carpal tunnel" in proposed(*lines)


def test_shape_counts() -> None:
    assert proposed("She had a colonoscopy.")["colonoscopy"].why[0] == "-scopy"
    assert "diagnosis" not in proposed("We have no diagnosis.")


def test_words_of_general_text_are_not_proposed() -> None:
    text = "Then he asked for a cappuccino."
    assert list(proposed(text)) == ["cappuccino"]
    general = General(["One cappuccino, please."] * 3)
    assert not proposed(text, general=general)


def test_inflections_are_as_common_as_their_words() -> None:
    assert ENGLISH.zipf("stopped") >= ENGLISH.zipf("stop")
    assert ENGLISH.zipf("landlord’s") == ENGLISH.zipf("landlord's") >= ENGLISH.zipf("landlord")
    alone = General(["we index it"], english=False)
    assert alone.zipf("indexed") == alone.zipf("index") > 0 == alone.zipf("other")


# For any text --------------------------------------------------------------------------

WORDS = (
    "the she Monday of in apixaban Pulmonary pulmonary embolism Roe v. Wade versus disease "
    "Crohn's Rule 12(b)(6) ipsa loquitur post se, stenosis. aortic Board & 5 U.S. § 1983 é"
)
SENTENCES = st.lists(
    st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join) | st.text(max_size=40),
    max_size=8,
)


@settings(max_examples=200)
@given(SENTENCES)
def test_every_term_stands_in_the_text_as_often_as_counted(sentences: list[str]) -> None:
    text = [" ".join(sentence.split()) for sentence in sentences]
    for found in propose(sentences, ENGLISH):
        key = found.term.casefold()
        assert any(key in line.casefold() for line in text)
        places = re.compile(f"(?={re.escape(key)})")  # overlapping ones too
        assert 1 <= found.count <= sum(len(places.findall(line.casefold())) for line in text)
        assert 1 <= len(found.contexts) <= min(2, found.count)
        assert all(key in context.casefold() for context in found.contexts)
        assert "\t" not in found.term + "".join(found.contexts)
        assert not found.term.startswith("#")


@given(st.lists(st.sampled_from(["apixaban", "the", "was", "given"]), max_size=30))
def test_counts_are_those_of_a_plain_search(words: list[str]) -> None:
    found = {c.term: c.count for c in propose([" ".join(words)], ENGLISH)}
    for term, count in found.items():
        assert count == len(re.findall(rf"(?<!\w)(?={term}(?!\w))", " ".join(words)))


@given(SENTENCES, st.randoms())
def test_the_order_of_lines_does_not_matter(sentences: list[str], random) -> None:  # type: ignore[no-untyped-def]
    facts = {(c.term, c.count, c.why, c.score) for c in propose(sentences, ENGLISH)}
    random.shuffle(sentences)
    assert {(c.term, c.count, c.why, c.score) for c in propose(sentences, ENGLISH)} == facts


# Files and the command -----------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_llm.cli", "terms", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_command_prints_a_table_whose_first_column_is_a_term_list(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("She takes apixaban.\nHe had a pulmonary embolism.\nMore apixaban.\n", "utf-8")
    done = run(text)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line[0] for line in lines[:2]] == ["#", "#"]
    rows = [line.split("\t") for line in lines[2:]]
    assert rows[0][:2] == ["apixaban", "2"]
    assert rows[0][3] == "She takes apixaban | More apixaban"
    assert [row[0] for row in rows] == ["apixaban", "pulmonary embolism"]
    assert list(tmp_path.iterdir()) == [text]
    [only] = json.loads(run(text, "--least", 2, "--json").stdout)
    assert (only["term"], only["count"]) == ("apixaban", 2)
    assert len(run(text, "--limit", 1).stdout.splitlines()) == 3
    general = tmp_path / "general.txt"
    general.write_text("We all know apixaban.\n" * 5, "utf-8")
    assert "apixaban" not in run(text, "--against", general).stdout.split("\t")[2]


def test_a_domain_folder_is_read_too(tmp_path: Path) -> None:
    assert propose_from_files([create(tmp_path / "shop")])


def test_torch_is_not_imported(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("She takes apixaban.\n", "utf-8")
    script = (
        "import sys\nfrom asr_llm.cli import main\n"
        f"sys.argv = ['asr-llm', 'terms', {str(text)!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'torch', 'nemo', 'transformers', 'spacy', 'lhotse'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not found; expected a text file or a domain folder: check the path"),
        (b"# only a comment\n\n", "no text in it; expected one utterance a line"),
        (b"fine\n\xff\xfe\n", ":2: not UTF-8 text; save it as UTF-8"),
        (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", "this looks like audio; expected a text file"),
    ],
)
def test_unreadable_input_is_rejected(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DomainError, match=re.escape(str(path))) as caught:
        propose_from_files([path])
    assert words in str(caught.value)
    done = run(path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_recording_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "visit.WAV").write_bytes(b"what it holds does not matter")
    done = run(tmp_path / "visit.WAV")
    assert (done.returncode, done.stdout) == (2, "")
    assert "found a recording; expected text. Get it with: asr-llm transcribe" in done.stderr


def test_a_folder_that_is_no_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match=r"no domain\.yaml"):
        propose_from_files([tmp_path])
