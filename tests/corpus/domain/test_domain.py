"""A domain folder: made, read, checked."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.domain.folder import CheckReport, Domain, Term, check, create
from asr_llm.corpus.speech import hibari
from asr_llm.corpus.speech.synthesis import select_voices, suggested_voice, training_voices
from asr_llm.errors import AsrLlmError, DomainError

DOMAIN = """\
name: heart
description: Cardiology visits.
labels:
  DRUG: a medicine
  TEST: an examination
voices:
  test: [en-us+Annie, en-gb-x-rp]
"""
TEMPLATES = """\
seed: 3
sentences: {train: 4, dev: 2, test: 2}
fillers:
  dose: [once daily, twice daily]
train:
  - she takes {DRUG} {dose}.
dev:
  - Was {DRUG} stopped?
test:
  - Order a {TEST} before {DRUG}.
"""


NO_DEV = (
    "warning dev: no dev set: training keeps its last weights, which may not be its best; "
    "add dev/text.txt, recordings with transcripts, or dev templates"
)
UNSPOKEN = (
    "beside recordings, which alone are tested; remove either, or make the sentences a "
    "domain of their own"
)
NO_TEST = (
    "warning test: no test set: what is learned is not measured, and there is no report; "
    "add test/text.txt, recordings with transcripts, or test templates"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "heart"
    files = {
        "domain.yaml": DOMAIN,
        "templates.yaml": TEMPLATES,
        "text.txt": "# what is said\nThe ECG was  normal.\n\nThe ECG was normal.\nEcho next.\n",
        "terms/drug.tsv": "metoprolol\tmeh toe pro lol\naspirin\n",
        "terms/test.tsv": "ECG\tee see gee\nECG strip\tee see gee strip\necho\t\n",
        "entities.jsonl": '{"label": "DRUG", "pattern": [{"LOWER": "asa"}]}\n',
        "test/text.txt": "Stop the metoprolol.\n",
    }
    for name, text in files.items():
        write(folder, name, text)
    return folder


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def found(report: CheckReport) -> list[str]:
    """Problems as "severity file:line: message; fix", files relative to the folder."""
    return [f"{p.severity} {p}".replace(f"{report.path}/", "") for p in report.problems]


def test_text_is_lines_then_templates_without_duplicates(folder: Path) -> None:
    domain = Domain.load(folder)
    train = domain.text("train")
    assert train[:2] == ["The ECG was normal.", "Echo next."]
    assert sorted(train[2:]) == [
        "She takes aspirin once daily.",
        "She takes aspirin twice daily.",
        "She takes metoprolol once daily.",
        "She takes metoprolol twice daily.",
    ]
    assert train == Domain.load(folder).text("train")
    assert sorted(domain.text("dev")) == ["Was aspirin stopped?", "Was metoprolol stopped?"]
    first, *expanded = domain.text("test")
    assert first == "Stop the metoprolol."
    assert len(expanded) == 2
    with pytest.raises(DomainError, match="unknown split 'tset'; expected one of: train, dev, tes"):
        domain.text("tset")


def test_terms_patterns_voices(folder: Path) -> None:
    domain = Domain.load(str(folder))
    assert domain.name == "heart"
    assert domain.terms() == {
        "DRUG": [
            Term("metoprolol", "meh toe pro lol", "DRUG", 1),
            Term("aspirin", None, "DRUG", 2),
        ],
        "TEST": [
            Term("ECG", "ee see gee", "TEST", 1),
            Term("ECG strip", "ee see gee strip", "TEST", 2),
            Term("echo", None, "TEST", 3),
        ],
    }
    patterns = domain.patterns()
    assert patterns[0] == {"label": "DRUG", "pattern": "metoprolol"}
    assert patterns[-1] == {"label": "DRUG", "pattern": [{"LOWER": "asa"}]}
    assert len(patterns) == 6
    assert domain.voices("test") == ["en-us+Annie", "en-gb-x-rp"]
    assert domain.voices("dev") == []
    assert domain.voices("train") == training_voices(["en-us+Annie", "en-gb-x-rp"])


def test_a_domain_without_voices_uses_installed_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "domain.yaml", DOMAIN[: DOMAIN.index("voices:")])
    monkeypatch.setattr(hibari, "find_spec", lambda name: None)
    domain = Domain.load(folder)
    assert (domain.voices("dev"), domain.voices("test")) == ([], [])
    assert domain.voices("train") == training_voices([])
    (error,) = check(folder).errors
    assert "no voices for test" in error.message
    assert error.fix == "add for instance: voices: {test: [en-us+Annie]}"
    monkeypatch.undo()
    if not hibari.is_installed():
        pytest.skip("hibari-tts is optional")
    assert suggested_voice() == "hibari:heart"
    assert not check(folder).errors
    sets = [set(select_voices(domain.voices(split))) for split in ("train", "dev", "test")]
    assert [len(voices) for voices in sets] == [9, 2, 4]
    assert len(set.union(*sets)) == 15  # disjoint


def test_patterns_are_spacys(folder: Path) -> None:
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(Domain.load(folder).patterns())
    document = nlp("The ECG strip before metoprolol or ASA")
    entities = [(entity.text, entity.label_) for entity in document.ents]
    assert entities == [("ECG strip", "TEST"), ("metoprolol", "DRUG"), ("ASA", "DRUG")]


def test_spoken_replaces_whole_words_longest_first(folder: Path) -> None:
    domain = Domain.load(folder)
    assert domain.spoken("Metoprolol, then an ECG strip and an ECG.") == (
        "meh toe pro lol, then an ee see gee strip and an ee see gee."
    )
    assert domain.spoken("metoprolols and ecg and VECG") == "metoprolols and ecg and VECG"
    write(folder, "terms/drug.tsv", "aspirin\n")
    write(folder, "terms/test.tsv", "# none\n")
    assert Domain.load(folder).spoken("an ECG") == "an ECG"


def test_recordings(folder: Path) -> None:
    soundfile.write(folder / "test" / "a.wav", np.full(16000, 0.1), 16000)
    write(folder, "test/trans.txt", "a.wav\tNo ECG today.\n")
    domain = Domain.load(folder)
    assert domain.recordings("train") is None
    cuts = domain.recordings("test")
    assert cuts is not None
    assert [cut.supervisions[0].text for cut in cuts] == ["No ECG today."]
    report = check(folder)
    assert (report.recordings["test"], report.seconds["test"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "domain.yaml",
            "name: x\nlabel: {}\n",
            "domain.yaml:2: label: unknown key; expected one of",
        ),
        ("domain.yaml", "name: x\nlabels: {drug: y}\n", "domain.yaml:2: labels: found a mapping"),
        ("terms/drug.tsv", "a\tb\tc\n", "drug.tsv:1: found 3 columns; expected term [TAB spoken f"),
        (
            "terms/drug.tsv",
            "a\n\tb\n",
            "drug.tsv:2: found no term; expected term [TAB spoken form]",
        ),
        ("terms/drug.tsv", "a\n+/-\n", "drug.tsv:2: found a term without a letter or digit, whi"),
        (
            "terms/organ.tsv",
            "a\n",
            "organ.tsv: no label for this file in domain.yaml; expected: dr",
        ),
        (
            "entities.jsonl",
            "\n{]\n",
            "entities.jsonl:2: not JSON (from column",
        ),
        (
            "entities.jsonl",
            '{"label": "X", "pattern": "a"}',
            "entities.jsonl:1: label 'X' is not de",
        ),
        ("entities.jsonl", '{"label": "DRUG"}', "entities.jsonl:1: no pattern; write"),
        (
            "templates.yaml",
            "train: [a {XY}]\n",
            "templates.yaml:1: expected ',' or ']', but got '{'",
        ),
        ("templates.yaml", "trian: []\n", "templates.yaml:1: trian: unknown key"),
        ("templates.yaml", "train:\n- a {XY}\n", "templates.yaml:2: no terms for slot {XY}; add"),
    ],
)
def test_malformed_files_are_named_on_use_and_by_check(
    folder: Path, name: str, text: str, message: str
) -> None:
    write(folder, name, text)
    with pytest.raises(DomainError) as error:
        domain = Domain.load(folder)
        domain.text("train")
        domain.patterns()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert check(folder).errors


def test_a_file_without_terms_is_reported(folder: Path) -> None:
    write(folder, "terms/drug.tsv", "# to be written\n")
    (told,) = [p for p in check(folder).warnings if p.file.endswith("drug.tsv")]
    assert (told.line, told.message) == (None, "no terms in it")


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for function in (Domain.load, check):
        with pytest.raises(DomainError, match="not found; expected a domain folder"):
            function(tmp_path / "none")
        with pytest.raises(DomainError, match="found a file"):
            function(tmp_path / "file")
        with pytest.raises(DomainError, match=r"no domain\.yaml in it"):
            function(tmp_path)


def test_no_text_is_an_error_in_train_only(folder: Path) -> None:
    (folder / "text.txt").unlink()
    (folder / "templates.yaml").unlink()
    domain = Domain.load(folder)
    assert domain.text("dev") == []
    with pytest.raises(DomainError, match=r"text\.txt: no domain text; expected one utterance"):
        domain.text("train")
    assert found(check(folder)) == [
        "error text.txt: no domain text; add one utterance a line, train templates in "
        "templates.yaml, or recordings with transcripts in train/",
        NO_DEV,
    ]


def test_transcripts_of_recordings_are_domain_text(folder: Path) -> None:
    for name in ("text.txt", "templates.yaml"):
        (folder / name).unlink()
    for split in ("train", "dev"):
        (folder / split).mkdir(exist_ok=True)
        for name in "abc":
            soundfile.write(folder / split / f"{name}.wav", np.zeros(8000), 16000)
        said = "a.wav\tMore  metoprolol.\nb.wav\t\nc.wav\tMore metoprolol.\n"
        write(folder, f"{split}/trans.txt", said)
    domain = Domain.load(folder)
    assert domain.text("train") == domain.text("dev") == ["More metoprolol."]
    assert domain.has_text("dev")
    report = check(folder)
    assert not report.errors
    assert any("1 of 2 terms is not in" in problem.message for problem in report.warnings)
    write(folder, "train/trans.txt", "a.wav Without a tab\n")
    with pytest.raises(DomainError, match=r"trans\.txt:1: found no TAB"):
        domain.text("train")


def test_check_counts(folder: Path) -> None:
    report = check(folder)
    assert report.sentences == {"train": 6, "dev": 2, "test": 3}
    # 4 + 2 of text.txt, 5 in each of 4; 3 in each of 2; 3, and 5 or 6 in each of 2.
    assert report.words["train"] == 26
    assert report.words["dev"] == 6
    assert report.terms == {"DRUG": 2, "TEST": 3}
    assert report.recordings == {"train": 0, "dev": 0, "test": 0}
    assert found(report) == [
        "warning terms/test.tsv:2: 1 of 3 terms is not in the text (lines 2); "
        "add sentences which use them"
    ]


def test_a_term_listed_twice_counts_once(folder: Path) -> None:
    write(folder, "terms/test.tsv", "CA-125\nca‑125\nferritin\nferritin\n")
    report = check(folder)
    assert report.terms["TEST"] == 2
    assert "warning terms/test.tsv:2: duplicate term, first at test.tsv:1; keep one of them" in (
        found(report)
    )
    assert any("2 of 2 terms are not in the text (lines 1, 2, 3, 4)" in x for x in found(report))


def test_terms_that_are_a_slip(folder: Path) -> None:
    write(folder, "terms/test.tsv", "ECG,\nwith\nIT\ntrans-\n")
    assert [told for told in found(check(folder)) if "terms/test" in told][:2] == [
        "warning terms/test.tsv:2: one of the commonest words of English, which needs no list; "
        "remove it: a list makes its words likelier everywhere",
        "warning terms/test.tsv:1: a term that ends in ','; remove the mark",
    ]


def test_test_templates_beside_recordings_are_kept(folder: Path) -> None:
    (folder / "test/text.txt").unlink()
    soundfile.write(folder / "test" / "a.wav", np.zeros(16000), 16000)
    write(folder, "test/trans.txt", "a.wav\tStop it.\n")
    assert not [told for told in found(check(folder)) if "beside recordings" in told]


def test_what_no_voice_can_say(folder: Path) -> None:
    write(folder, "test/text.txt", "Stop the metoprolol.\n你好吗\n")
    write(folder, "terms/test.tsv", "ECG\n你好\n吗\tma\n你\t你\n")
    told = [p for p in found(check(folder)) if "no voice can say" in p]
    sentence, term, form = "a sentence", "a term", "a spoken form"
    assert sorted(told) == [
        f"error terms/test.tsv:4: {form} without a letter or digit, which no voice can say; "
        "respell the term, or leave it out",
        f"error test/text.txt:2: {sentence} without a Latin letter or digit, which no voice can "
        "say; write it out, or remove it",
        f"warning terms/test.tsv:2: {term} without a Latin letter or digit, which no voice can "
        "say; add its spoken form after a tab",
    ]
    write(folder, "domain.yaml", f"language: zh\n{DOMAIN}")
    assert not any("Latin" in p for p in found(check(folder)))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_text_in_another_encoding_is_not_reported_as_absent_too(folder: Path, split: str) -> None:
    (folder / "templates.yaml").unlink()
    place = folder if split == "train" else folder / split
    place.mkdir(exist_ok=True)
    (place / "text.txt").write_bytes("Caf\xe9\n".encode("latin-1"))
    problems = check(folder).problems
    (wrong,) = (p for p in problems if p.file == str(place / "text.txt"))
    assert (wrong.line, wrong.severity) == (1, "error")
    missing = [p.message.partition(":")[0] for p in problems if "no d" in p.message]
    assert missing == ([] if split == "dev" else ["no dev set"])


def test_check_reports_everything_at_once(folder: Path) -> None:
    write(folder, "domain.yaml", DOMAIN + "licens: CC0\n")
    write(folder, "terms/drug.tsv", "metoprolol\naspirin\ta\tb\nMetoprolol\necho\n")
    write(folder, "terms/organ.tsv", "heart\n")
    write(folder, "entities.jsonl", "{}\n")
    write(folder, "templates.yaml", "train:\n- a {ORGAN}\n- a {side}\n- a {DRUG\n- Fine.\n")
    (folder / "text.txt").write_bytes(b"good\ncaf\xe9\n")
    write(folder, "test/manifest.json", '{"audio_filepath": "a.wav", "text": "x"}\n{"text": "y"}\n')
    write(folder, "term/x.tsv", "")
    soundfile.write(folder / "test" / "b.wav", np.zeros(100), 16000)
    soundfile.write(folder / "dev.wav", np.zeros(100), 16000)
    (folder / "dev").mkdir()
    (folder / "dev.wav").rename(folder / "dev" / "c.wav")
    layouts = (
        "cuts.jsonl.gz, cuts.jsonl, manifest.json, manifest.jsonl, metadata.jsonl, metadata.csv, "
        "trans.txt"
    )
    assert found(check(folder)) == [
        "warning term: unknown name, ignored; did you mean 'terms'?",
        "error domain.yaml:8: licens: unknown key; expected one of name, language, description, "
        "licence, labels, convention, sources, voices; did you mean 'licence'?",
        "error terms/drug.tsv:2: found 3 columns; expected term [TAB spoken form]; fix this line",
        "error terms/organ.tsv: no label for this file in domain.yaml; expected: drug.tsv, "
        "test.tsv; rename the file, or declare the label under 'labels'",
        "warning terms/drug.tsv:3: duplicate term, first at drug.tsv:1; keep one of them",
        "warning terms/test.tsv:3: duplicate term, first at drug.tsv:4; keep one of them",
        "error entities.jsonl:1: label None is not declared in domain.yaml; "
        'write {"label": "LABEL", "pattern": "text or list of token patterns"}',
        "error text.txt:2: not UTF-8 text; save it as UTF-8",
        "error templates.yaml:3: no words for slot {side}; add it under 'fillers'",
        "error templates.yaml:4: unmatched brace; expected {LABEL} or {filler}",
        f"error dev: 1 audio file without transcripts; list them in one of {layouts}",
        "error test/manifest.json:2: found no 'audio_filepath'; expected one that is "
        "not empty; fix this line",
        "error test/manifest.json:1: test/a.wav: no such file; check the path",
        "warning test/manifest.json: 1 audio file without transcripts, ignored (b.wav); "
        "list them here, or remove them",
        f"warning test/text.txt: 1 sentence {UNSPOKEN}",
    ]


def test_a_missing_term_file_is_one_error(folder: Path) -> None:
    (folder / "terms/drug.tsv").unlink()
    write(folder, "templates.yaml", "train:\n- a {DRUG}\n- the {DRUG}\n")
    (folder / "text.txt").unlink()
    (error,) = check(folder).errors
    assert str(error) == (
        f"{folder}/templates.yaml:2: no terms for slot {{DRUG}} (so in 2 templates); "
        "add terms/drug.tsv"
    )


def test_a_term_file_that_cannot_be_read_explains_the_templates_without_terms(folder: Path) -> None:
    (folder / "terms/drug.tsv").write_bytes(b"aspirin\x07\n")
    (folder / "text.txt").unlink()
    (error,) = check(folder).errors
    assert str(error).startswith(f"{folder}/terms/drug.tsv:1: not text")


def test_missing_terms_of_several_labels_are_one_error(folder: Path) -> None:
    (folder / "terms/drug.tsv").unlink()
    (folder / "terms/test.tsv").unlink()
    (error,) = check(folder).errors
    assert str(error) == (
        f"{folder}/templates.yaml:6: no terms for slots {{DRUG}}, {{TEST}} (so in 3 templates); "
        "add terms/drug.tsv, terms/test.tsv, or take these templates out"
    )


def test_terms_changed_without_their_labels_are_one_error_with_its_cause(tmp_path: Path) -> None:
    """What a first user does: other text and terms in the example, and nothing else."""
    folder = create(tmp_path / "mine")
    write(folder, "text.txt", "She has taken zyrtex.\n")
    for file in (folder / "terms").iterdir():
        file.unlink()
    write(folder, "terms/drug.tsv", "zyrtex\n")
    assert found(check(folder)) == [
        "error terms: 8 templates ask for PART, PRODUCT, for which there are no terms, and the "
        "terms of DRUG have no declared label; declare DRUG under 'labels' in domain.yaml instead, "
        "and use DRUG in templates.yaml or delete it"
    ]


def test_templates_that_give_fewer_sentences_than_asked_for_are_warned_of(folder: Path) -> None:
    """Two drugs in one template are two sentences, whatever number is asked for."""
    write(folder, "terms/drug.tsv", "aspirin\nmetoprolol\n")
    write(folder, "templates.yaml", "sentences: {train: 9}\ntrain: ['Take {DRUG}.']\n")
    assert (
        "warning templates.yaml:1: train templates give 2 different sentences, not 9; add "
        "templates, terms or fillers, or lower the number under 'sentences'" in found(check(folder))
    )
    write(folder, "templates.yaml", "sentences: {train: 2}\ntrain: ['Take {DRUG}.']\n")
    assert not [line for line in found(check(folder)) if "different sentences" in line]


def test_a_domain_without_sets_to_measure_by_is_warned_of(folder: Path) -> None:
    (folder / "templates.yaml").unlink()
    (folder / "test" / "text.txt").unlink()
    assert found(check(folder))[-2:] == [NO_DEV, NO_TEST]
    # Recordings do as well; broken ones are told as what they are.
    soundfile.write(folder / "test" / "a.wav", np.zeros(100), 16000)
    assert NO_TEST not in found(check(folder))
    write(folder, "test/trans.txt", "a.wav\tAn ECG.\n")
    assert NO_TEST not in found(check(folder))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a {Drug}", "slot {Drug} is not in capitals; write {DRUG}, as labels are"),
        ("a {drug}", "slot {drug} is not in capitals; write {DRUG}, as labels are"),
        ("{DOSE}, please", "slot {DOSE} is in capitals; write {dose}, as under 'fillers'"),
    ],
)
def test_a_slot_of_the_wrong_case(folder: Path, template: str, message: str) -> None:
    write(folder, "templates.yaml", f"fillers: {{dose: [once]}}\ntrain:\n- '{template}'\n")
    assert found(check(folder))[0] == f"error templates.yaml:3: {message}"


def test_labels_and_files_of_the_wrong_case(folder: Path) -> None:
    (folder / "terms/drug.tsv").rename(folder / "terms/DRUG.tsv")
    write(folder, "entities.jsonl", '{"label": "drug", "pattern": "asa"}\n')
    assert found(check(folder))[:2] == [
        "error terms/DRUG.tsv: a file name in capitals, which is another file elsewhere; "
        "rename it to drug.tsv",
        "error entities.jsonl:1: label 'drug' is not declared in domain.yaml: did you mean "
        '\'DRUG\'?; write {"label": "LABEL", "pattern": "text or list of token patterns"}',
    ]


def test_check_names_a_slot_that_was_meant(folder: Path) -> None:
    write(folder, "templates.yaml", "fillers: {when: [now]}\ntrain:\n- 'a {DRUGS}'\n- b {whem}\n")
    assert [str(error).partition("templates.yaml:")[2] for error in check(folder).errors] == [
        "3: no terms for slot {DRUGS}; add terms/drugs.tsv, or did you mean {DRUG}?",
        "4: no words for slot {whem}; add it under 'fillers', or did you mean {when}?",
    ]


def test_check_knows_the_voices(folder: Path) -> None:
    write(folder, "domain.yaml", "name: x\nvoices:\n  test:\n  - en-us\n  - en-us+Nobody\n")
    (error,) = [e for e in check(folder).errors if e.file.endswith("domain.yaml")]
    assert error.line == 5
    assert error.message.startswith("no espeak-ng voice matches 'en-us+Nobody'; expected an accent")


def test_an_unknown_key_hides_no_other_error(folder: Path) -> None:
    text = "name: x\nlanguage: Klingon\ncolour: red\nvoices:\n  test: [en-us+Nobody]\n"
    write(folder, "domain.yaml", text)
    file = str(folder / "domain.yaml")
    found = {e.line: e.message for e in check(folder).errors if e.file == file}
    assert found.keys() == {2, 3, 5}
    assert found[2] == "language: found 'Klingon'; expected a language code such as en"
    assert found[3].startswith("colour: unknown key")
    assert found[5].startswith("no espeak-ng voice matches 'en-us+Nobody'")


def test_labels_without_terms_are_warned_of(folder: Path) -> None:
    (folder / "templates.yaml").unlink()
    (folder / "terms/drug.tsv").unlink()
    write(folder, "entities.jsonl", "")

    def labels() -> list[str]:
        return [str(w) for w in check(folder).warnings if w.message.startswith("labels: ")]

    (warning,) = labels()
    assert "domain.yaml:4: labels: no terms for DRUG, so none can be counted" in warning
    assert "list the terms in terms/drug.tsv, one on each line" in warning
    write(folder, "entities.jsonl", '{"label": "DRUG", "pattern": "aspirin"}')
    assert labels() == []
    (folder / "entities.jsonl").unlink()
    (folder / "terms/test.tsv").unlink()
    (folder / "terms").rmdir()
    assert "for DRUG, TEST, so" in labels()[0]


def test_check_warns_of_overlap_and_style(folder: Path) -> None:
    long = "The ECG strip showed no change since the last visit"
    write(folder, "text.txt", f"{long}.\nall lower case.\nGive 10 mg.\nGive ten or two.\n")
    write(folder, "test/text.txt", f"Stop.\nToday, {long.lower()} here.\n")
    write(folder, "dev/text.txt", "The ECG strip showed no change since another visit.\n")
    soundfile.write(folder / "test" / "a.wav", np.zeros(100), 16000)
    write(folder, "test/trans.txt", f"a.wav\t{long}!\na.wav\t\n")
    assert found(check(folder)) == [
        "warning test/trans.txt:2: recording without transcript; write what is said",
        "warning terms/test.tsv:3: 1 of 3 terms is not in the text (lines 3); "
        "add sentences which use them",
        "warning text.txt:2: mixed casing: 1 line all lower-case, 7 with capitals; "
        "write all lines alike",
        "warning text.txt:3: mixed number style: 1 line with digits, 1 with number words; "
        "write all lines alike",
        "warning test/text.txt:2: 1 of 2 test sentences are in train too, or share 8 words in a "
        "row with it (lines 2); remove them from one of the two, or scores will be too good",
        "warning test/trans.txt:1: 1 of 2 test sentences are in train too, or share 8 words in a "
        "row with it (lines 1); remove them from one of the two, or scores will be too good",
        f"warning test/text.txt: 2 sentences {UNSPOKEN}",
    ]  # the dev sentence shares seven words


def test_overlap_by_templates_names_the_template(folder: Path) -> None:
    same = "  - The patient was given {DRUG} by the nurse on the ward.\n"
    write(folder, "templates.yaml", f"sentences: {{test: 2}}\ntrain:\n{same}test:\n{same}")
    write(folder, "text.txt", "An ECG, an ECG strip, an echo.\n")
    assert found(check(folder)) == [
        NO_DEV,
        "warning templates.yaml:5: 2 of 2 test sentences are in train too, or share 8 words in a "
        "row with it (lines 5); remove them from one of the two, or scores will be too good",
    ]


def test_an_overlapping_short_sentence_is_reported(folder: Path) -> None:
    write(folder, "text.txt", "She took the aspirin at noon.\nYes, she did.\n")
    write(
        folder, "test/text.txt", "She took the aspirin, at noon!\nYes, she did.\nTook it at noon.\n"
    )
    (told,) = [p for p in check(folder).warnings if p.file.endswith("test/text.txt")]
    assert "1 of 3 test sentences are in train too" in told.message
    assert told.line == 1


def test_check_does_not_need_torch(folder: Path) -> None:
    soundfile.write(folder / "test" / "a.wav", np.zeros(100), 16000)
    write(folder, "test/trans.txt", "a.wav\tNo ECG today.\n")
    code = (
        "import sys; from asr_llm.corpus.domain.folder import check; report = check(sys.argv[1]);"
        "assert report.recordings['test'] == 1;"
        "assert not {'torch', 'lhotse', 'spacy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, folder], check=True, cwd=Path(__file__).parents[3])


def test_the_example_works_as_it_is(tmp_path: Path) -> None:
    folder = create(tmp_path / "new" / "help: desk #1")
    report = check(folder)
    assert report.problems == ()
    assert report.terms == {"PRODUCT": 4, "PART": 5}
    domain = Domain.load(folder)
    assert domain.name == "help: desk #1"
    assert len(domain.text("train")) == 156
    assert len(domain.text("test")) == 40
    assert domain.spoken("The CX Pro") == "The see ex pro"
    assert Domain.load(create(tmp_path / "other", name="desk")).name == "desk"


def test_create_overwrites_nothing(tmp_path: Path) -> None:
    create(tmp_path / "new")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DomainError, match="is not empty; expected a new or empty folder"):
        create(tmp_path / "new")
    with pytest.raises(AsrLlmError, match="is a file"):
        create(tmp_path / "file")
    with pytest.raises(DomainError, match="cannot be written"):
        create(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", ["a/b:c", "..", ".hidden", "two\nlines", "x" * 101])
def test_a_name_that_check_would_refuse_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(DomainError, match=r"expected a name .* choose another with --name"):
        create(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()
    made = create(tmp_path / "old", "old")
    made_yaml = made / "domain.yaml"
    made_yaml.write_text(made_yaml.read_text().replace('"old"', json.dumps(name)))
    assert "name: found" in check(made).errors[0].message


def test_comments_are_counted(folder: Path) -> None:
    write(folder, "terms/test.tsv", "# a\r# b\rECG\r#4 lead\r")
    report = check(folder)
    comments = {Path(file).name: count for file, count in report.comments.items()}
    assert comments == {"text.txt": 1, "test.tsv": 2}
    assert report.terms["TEST"] == 2


def test_unread_files_are_reported(folder: Path) -> None:
    write(folder, "terms/drug.tsv.txt", "sotalol\n")
    write(folder, "terms/test.csv", 'term,spoken\n"echo, stress",\n')
    write(folder, "terms/notes.md", "x\n")
    write(folder, "more.docx", "x\n")
    write(folder, "Text.txt", "x\n")
    write(folder, "README.md", "x\n")
    write(folder, "test/transcripts.tsv", "x\n")
    report = check(folder)
    assert report.terms == {"DRUG": 3, "TEST": 4}
    named = [line for line in found(report) if "not read" in line or "ignored" in line]
    assert named == [
        "warning Text.txt: unknown name, ignored; did you mean 'text.txt'?",
        "warning more.docx: unknown name, ignored; remove it if it is not meant to be read",
        "warning terms/notes.md: not read: by its name not a list of terms; expected .tsv, .csv or "
        ".txt: save it as one, or remove it",
        "warning test: 1 file not read (transcripts.tsv); expected text.txt, audio, and one of "
        "cuts.jsonl.gz, cuts.jsonl, manifest.json, manifest.jsonl, metadata.jsonl, "
        "metadata.csv, trans.txt",
    ]


def test_ten_million_terms_are_refused_in_a_line(folder: Path) -> None:
    (folder / "terms" / "drug.tsv").write_bytes(b"ab\n" * 10_000_000)
    tracemalloc.start()
    told = [line for line in found(check(folder)) if "terms/drug.tsv: " in line]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == [
        "error terms/drug.tsv: 10,000,000 lines; expected at most 200,000; take the part that "
        "matters"
    ]
    assert most < 200e6


def test_nothing_outside_the_folder_is_read(folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.mkdir()
    (secret / "text.txt").write_text("Nobody is to know.\n")
    (secret / "trans.txt").write_text("a.wav\tNobody is to know.\n")
    (folder / "text.txt").unlink()
    (folder / "text.txt").symlink_to(secret / "text.txt")
    (folder / "train").symlink_to(secret)
    (folder / "terms/drug.tsv").unlink()
    (folder / "terms/drug.tsv").symlink_to("/dev/zero")
    errors = [line for line in found(check(folder)) if line.startswith("error")]
    assert errors[:2] == [
        "error terms/drug.tsv: a link that leads out of the folder; copy the list here",
        "error text.txt: a link that leads out of the folder; put a copy of the file here",
    ]
    assert (
        "error train/trans.txt: a link that leads out of the folder; Put a copy here; audio may "
        "lie anywhere" in errors
    )
    with pytest.raises(DomainError, match=r"text\.txt: a link that leads out"):
        Domain.load(folder).text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("domain.yaml", DOMAIN.replace("heart", "../heart"), "without slashes and no dot"),
        (
            "domain.yaml",
            DOMAIN.replace("test:", "dev:"),
            "no voices for test, and no recordings in",
        ),
        ("domain.yaml", DOMAIN + "  dev: ['!en-*']\n", "the '!' patterns exclude every voice"),
        ("domain.yaml", DOMAIN.replace("en-gb-x-rp", "piper:no-such-voice"), "no-such-voice"),
        ("text.txt", "Fine.\n…\n", "text.txt:2: a sentence without a letter or digit"),
        ("terms/drug.tsv", "aspirin\t—\n", "drug.tsv:1: a spoken form without a letter"),
        ("entities.jsonl", '{"label": "DRUG", "pattern": [{"LEMMA": "be"}]}', "jsonl:1: LEMMA"),
        ("dev/trans.txt", "", "trans.txt: lists no recordings"),
        ("test", "not a folder", "test: a file; expected a folder"),
    ],
)
def test_check_builds_what_adapt_needs(folder: Path, name: str, text: str, message: str) -> None:
    if name == "test":
        (folder / "test/text.txt").unlink()
        (folder / "test").rmdir()
    write(folder, name, text)
    errors = [str(problem) for problem in check(folder).errors]
    assert any(message in error for error in errors), errors


def test_recordings_are_read_to_their_end(folder: Path) -> None:
    (folder / "dev").mkdir()
    soundfile.write(folder / "dev/a.wav", np.full(8000, np.nan), 16000, "FLOAT")
    soundfile.write(folder / "dev/b.wav", np.full(8000, 0.1), 16000)
    rows = '{"audio_filepath": "b.wav", "text": "x", "offset": 0.3, "duration": 0.4}\n'
    write(folder, "dev/manifest.jsonl", rows + '{"audio_filepath": "a.wav", "text": "x"}\n')
    (error,) = check(folder).errors
    assert "manifest.jsonl:1: offset and duration (0.3 + 0.4 s) reach beyond" in str(error)
    write(folder, "dev/manifest.jsonl", rows.replace("0.4", "0.1") + rows.replace("b.", "a."))
    write(folder, "dev/manifest.jsonl", '{"audio_filepath": "a.wav", "text": "x"}\n')
    (error,) = check(folder).errors
    assert "manifest.jsonl:1" in str(error) and "contains samples that are NaN" in str(error)
