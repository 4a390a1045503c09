"""Mentions found in the reference, and the strict rule that carries them to the hypothesis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.text.normalizers import NORMALIZERS, normalize
from asr_llm.errors import ScoreError
from asr_llm.evaluation.entities import (
    EntityFinder,
    Mention,
    MentionOutcome,
    TermCounter,
    outcomes,
    term_of,
)
from asr_llm.evaluation.normalized import TextPair
from asr_llm.evaluation.scores import score

FINDER = EntityFinder(
    [
        {"label": "DRUG", "pattern": "Lipitor"},
        {"label": "DRUG", "pattern": "beta-blocker"},
        {"label": "DRUG", "pattern": "5-HT"},
        {"label": "CONDITION", "pattern": "fibrillation"},
        {"label": "CONDITION", "pattern": "atrial fibrillation"},
        {"label": "CONDITION", "pattern": "Crohn's disease"},
        {"label": "CASE", "pattern": "Roe v. Wade"},
        {"label": "SIGN", "pattern": "&"},
        {"label": "DOSE", "pattern": [{"LIKE_NUM": True}, {"LOWER": "milligrams"}]},
    ]
)


def found(reference: str, hypothesis: str, normalizer: str = "none") -> list[bool]:
    return [o.found for o in carried(reference, hypothesis, normalizer)]


def carried(reference: str, hypothesis: str, normalizer: str = "none") -> list[MentionOutcome]:
    texts = TextPair(reference, hypothesis, normalizer)
    return outcomes(texts, FINDER.find(reference), utterance="u1")


# --- finding ---


def test_find_gives_characters_whatever_the_case() -> None:
    assert FINDER.find("Take LIPITOR, now.") == [Mention(5, 12, "DRUG", "LIPITOR")]


def test_the_longest_match_wins_and_adjacent_and_repeated_mentions_are_kept() -> None:
    text = "atrial fibrillation fibrillation Lipitor Lipitor"
    assert [(m.text, m.label) for m in FINDER.find(text)] == [
        ("atrial fibrillation", "CONDITION"),
        ("fibrillation", "CONDITION"),
        ("Lipitor", "DRUG"),
        ("Lipitor", "DRUG"),
    ]


def test_token_patterns_and_possessives() -> None:
    text = "Ten milligrams for Crohn's disease."
    assert [m.text for m in FINDER.find(text)] == ["Ten milligrams", "Crohn's disease"]


def test_no_patterns_and_no_text_find_nothing(recwarn: pytest.WarningsRecorder) -> None:
    assert EntityFinder([]).find("Lipitor") == []
    assert FINDER.find("") == []
    assert not recwarn.list


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"pattern": "x"}, "pattern 2 has no label"),
        ({"label": "", "pattern": "x"}, "pattern 2 has no label"),
        ({"label": "DRUG"}, "pattern 2 has no phrase"),
        ({"label": "DRUG", "pattern": " "}, "pattern 2 has no phrase"),
        ({"label": "DRUG", "pattern": []}, "pattern 2 has no phrase"),
        ({"label": "DRUG", "pattern": [1]}, "pattern 2 has no phrase"),
        ("Lipitor", "pattern 2 has no label"),
        ({"label": "DRUG", "pattern": [{"LOVER": "x"}]}, "spaCy rejects a token pattern"),
    ],
)
def test_a_malformed_pattern_is_named(pattern: object, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        EntityFinder([{"label": "DRUG", "pattern": "Lipitor"}, pattern])  # type: ignore[list-item]


def test_a_mention_of_another_text_is_refused() -> None:
    with pytest.raises(ScoreError, match="'Lipitor' is not at characters 0-7"):
        outcomes(TextPair("aspirin", "aspirin"), [Mention(0, 7, "DRUG", "Lipitor")], utterance="u1")


# --- the strict rule ---


@pytest.mark.parametrize(
    ("reference", "hypothesis", "raw", "normalized"),
    [
        # one word
        ("He takes Lipitor daily", "He takes Lipitor daily", True, True),
        ("He takes Lipitor daily", "He takes lipitor daily", False, True),
        ("He takes Lipitor daily", "He takes lip it or daily", False, False),
        ("He takes Lipitor daily", "He takes daily", False, False),
        ("He takes Lipitor daily", "", False, False),
        ("Lipitor", "Lipitor", True, True),
        # everything else wrong, and insertions around it
        ("He takes Lipitor daily", "She took uh Lipitor uh weekly", True, True),
        # punctuation outside the mention, on either side
        ("He takes Lipitor.", "He takes Lipitor", True, True),
        ("He takes Lipitor", "He takes Lipitor!", True, True),
        ("He takes (Lipitor), daily", "He takes “Lipitor” daily", True, True),
        ("Lipitor, daily", "Lipitor uh daily", True, True),
        # what is joined to it by an apostrophe, a hyphen or a slash is not of the mention
        ("Lipitor's price", "Lipitor's price", True, True),
        ("Lipitor's price", "Lipitor price", True, True),
        ("Lipitor price", "Lipitor's price", True, True),
        ("Lipitor’s price", "Lipitor is pricey", True, True),
        ("the Lipitor-related pain", "the Lipitor related pain", True, True),
        ("non-Lipitor/tea days", "non Lipitor days", True, True),
        ("no Lipitor.Then", "no Lipitor then", True, True),
        ("Lipitor's price", "lip it's price", False, False),
        # other letters are part of the word
        ("Lipitor price", "Lipitors price", False, False),
        # hyphens
        ("a beta-blocker", "a beta-blocker.", True, True),
        ("a beta-blocker", "a beta blocker", False, True),
        ("a beta-blocker", "a betablocker", False, False),
        # several words
        ("an atrial fibrillation", "an atrial fibrillation", True, True),
        ("an atrial fibrillation", "an atrial vibration", False, False),
        ("an atrial fibrillation", "an fibrillation", False, False),
        ("an atrial fibrillation", "an atrial, fibrillation", False, True),
        # an insertion breaks it; a stutter in front of it or behind it does not
        ("an atrial fibrillation", "an atrial uh fibrillation", False, False),
        ("an atrial fibrillation", "an atrial atrial fibrillation", True, True),
        ("atrial fibrillation is", "atrial fibrillation fibrillation is", True, True),
        # possessive and apostrophes
        ("has Crohn's disease", "has Crohn's disease", True, True),
        ("has Crohn's disease", "has Crohns disease", False, False),
        ("has Crohn's disease", "has Crohn’s disease", False, True),
        # punctuation inside the mention
        ("In Roe v. Wade.", "In Roe v. Wade", True, True),
        ("In Roe v. Wade", "In Roe v Wade", False, True),
        # nothing left after normalisation: the raw verdict stands
        ("salt & water", "salt & water", True, True),
        ("salt & water", "salt and water", False, False),
    ],
)
def test_strict_rule_by_hand(reference: str, hypothesis: str, raw: bool, normalized: bool) -> None:
    assert found(reference, hypothesis) == [raw]
    assert found(reference, hypothesis, "basic") == [normalized]


def test_repeated_mentions_are_judged_each_in_its_place() -> None:
    assert found("Lipitor now and Lipitor later", "Lipitor now and later") == [True, False]
    assert found("Lipitor Lipitor", "Lipitor lipid") == [True, False]


def test_adjacent_mentions_share_no_verdict() -> None:
    reference = "Lipitor atrial fibrillation beta-blocker"
    assert found(reference, "Lipitor a trial fibrillation beta-blocker") == [True, False, True]


@pytest.mark.parametrize(
    ("hypothesis", "heard"),
    [
        ("He takes Lipitor, daily", "Lipitor,"),
        ("He takes lip it or daily", "lip it or"),
        ("He takes daily", ""),
        ("", ""),
    ],
)
def test_replacements_of_missed_mentions(hypothesis: str, heard: str) -> None:
    (outcome,) = carried("He takes Lipitor daily", hypothesis)
    assert outcome.utterance == "u1"
    assert outcome.mention == Mention(9, 16, "DRUG", "Lipitor")
    assert outcome.heard == heard


@pytest.mark.parametrize(
    ("reference", "hypothesis", "verdicts"),
    [
        ("Give five milligrams Lipitor.", "give 5 mg lipitor", [True, True]),
        ("Give five milligrams Lipitor.", "give 50 mg lipitor", [False, True]),
        ("Give 5 milligrams, then Lipitor", "give five milligrams uh then Lipitor", [True, True]),
        ("Okay, Crohn's disease, mum.", "ok crohn's disease mom", [True]),
        ("Crohn's disease", "crohns disease", [False]),
    ],
)
def test_a_mention_is_carried_through_words_that_are_joined(
    reference: str, hypothesis: str, verdicts: list[bool]
) -> None:
    assert found(reference, hypothesis, "medical-en") == verdicts


def verdict(reference: str, term: str, hypothesis: str, normalizer: str) -> bool:
    start = reference.index(term)
    mention = Mention(start, start + len(term), "T", term)
    (outcome,) = outcomes(TextPair(reference, hypothesis, normalizer), [mention], utterance="u1")
    return outcome.found


FORMS = [
    # reference, term, hypothesis; found by: none, basic, whisper-en, medical-en
    ("Give 10 mg now.", "10 mg", "give 10 mg now", "yyyy"),
    ("Give 10 mg now.", "10 mg", "give ten mg now", "nnyy"),
    ("Give 10 mg now.", "10 mg", "give ten milligrams now", "nnny"),
    ("Give 10 mg now.", "10 mg", "give 100 mg now", "nnnn"),
    ("a beta-blocker, daily", "beta-blocker", "a beta blocker daily", "nyyy"),
    ("a beta-blocker, daily", "beta-blocker", "a beta uh blocker daily", "nnyy"),
    ("Ask O'Neill.", "O'Neill", "ask O'Neill", "yyyy"),
    ("Ask O'Neill.", "O'Neill", "ask O\u2019Neill", "nyyy"),
    ("Ask O'Neill.", "O'Neill", "ask a Neill", "nnnn"),
    ("See Dr. Chen.", "Dr. Chen", "see Dr. Chen", "yyyy"),
    ("See Dr. Chen.", "Dr. Chen", "see Dr Chen", "nyyy"),
    ("See Dr. Chen.", "Dr. Chen", "see doctor Chen", "nnyy"),
    ("Has COVID-19.", "COVID-19", "has covid 19", "nyyy"),
    ("Has COVID-19.", "COVID-19", "has COVID nineteen", "nnyy"),
    ("Take 3.5 now.", "3.5", "take 3.5 now", "yyyy"),
    ("Take 3.5 now.", "3.5", "take 35 now", "nnnn"),
    ("Take 3.5 now.", "3.5", "take three point five now", "nnyy"),
    # Neither a possessive nor a contraction beside the mention belongs to it.
    ("Lipitor's price", "Lipitor", "Lipitor's price", "yyyy"),
    ("Lipitor's price", "Lipitor", "Lipitor price", "yyyy"),
    ("her gout's back", "gout", "her gout was back", "yyyy"),
    ("ulcer-related pain", "ulcer", "ulcer related pain", "yyyy"),
    ("ulcer-related pain", "ulcer", "Ulcer related pain", "nyyy"),
    # Of an annotated mention the rest of the word is part.
    ("two Lipitors now", "Lipitor", "two Lipitor now", "nnnn"),
    # The whole phrase is the mention, whatever stands at its joints.
    ("a beta-blocker's use", "beta-blocker", "a beta blocker use", "nyyy"),
    ("COVID-19-related", "COVID-19", "covid 19 related", "nyyy"),
    ("post-COVID-19 fog", "COVID-19", "post COVID-19 fog", "yyyy"),
    ("the tibia/fibula", "fibula", "the tibia and fibula", "yyyy"),
    ("Ann won't go.", "Ann", "Ann will not go", "yyyy"),
    ("She didn't take Lipitor.", "Lipitor", "she did not take Lipitor", "yyyy"),
    # Diacritics: whisper's normaliser drops them, basic does not.
    ("Has Sjögren.", "Sjögren", "has Sjogren", "nnyy"),
]


@pytest.mark.parametrize(("reference", "term", "hypothesis", "expected"), FORMS)
def test_forms_of_terms_through_every_normalizer(
    reference: str, term: str, hypothesis: str, expected: str
) -> None:
    names = ("none", "basic", "whisper-en", "medical-en")
    found = ["ny"[verdict(reference, term, hypothesis, name)] for name in names]
    assert "".join(found) == expected
    assert all(verdict(reference, term, reference, name) for name in names)


VOCABULARY = ["He", "Lipitor", "lipitor,", "atrial", "fibrillation.", "Crohn's", "disease", "&"]
SENTENCES = st.lists(st.sampled_from(VOCABULARY), max_size=10).map(" ".join)

TERMS = (
    "gout,the gout,5 mg,half,twenty,ten fifteen,beta-blocker,beta,Crohn's disease,Crohn,COVID-19,"
    "vitamin D,U.S.C.,oedema,edema,A&E,K,x ray,oh,um,five,120/80,$5,AT&T,H,N H S,Ménière,β-hCG,"
    "§ 1983,Roe v. Wade,alright,1980s,okay,cause"
)
TRICKY = EntityFinder([{"label": "A", "pattern": term} for term in TERMS.split(",")])
PIECES = (
    "gout Gout's gout-related gout. the The 5 mg 5mg half a milligram twenty thirty minutes ten "
    "fifteen beta-blocker beta blocker beta's Crohn’s Crohn's disease crohn COVID-19 covid‑19's "
    "vitamin D D. D-deficient 42 U.S.C. oedema edema's A&E K. K x-ray x ray oh um five 120/80 over "
    "$5 AT&T N H S Me\u0301nie\u0300re's β-hCG § 1983 Roe v. Wade alright all right nineteen "
    "eighties 1980s okay 'cause cause because point million & ( ) [ ] \u201cgout\u201d is 's"
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES.split(" ")), max_size=9),
    st.sampled_from([" ", " ", " ", "", "\u00a0", "-", "/", "."]),
    st.sampled_from(list(NORMALIZERS)),
)
def test_references_against_themselves(pieces: list[str], by: str, normalizer: str) -> None:
    """Nothing is lost, in its place or in the bag, and nothing is written that was not said."""
    text = by.join(pieces)
    scores = score(
        references={"u": text}, systems={"a": {"u": text}}, finder=TRICKY, normalizer=normalizer
    ).scores
    for one in scores["systems"]["a"]["entities"].values():
        mentions = scores["reference"]["mentions"]
        assert one["found"] == one["bag_found"] == one["mentions"] == mentions
        assert (one["false_insertions"], one["ne_errors"], one["partial"]) == (0, 0, 0)
        assert not mentions or (one["eer"], one["bag_recall"], one["precision"]) == (0, 1, 1)


def test_a_mention_found_in_its_place_is_in_the_bag_and_not_inserted() -> None:
    for normalizer in NORMALIZERS:
        scores = score(
            references={"u": "her gout's back and gout-like"},
            systems={"a": {"u": "her gout was back and gout like"}},
            finder=TRICKY,
            normalizer=normalizer,
        ).scores
        for one in scores["systems"]["a"]["entities"].values():
            assert (one["mentions"], one["found"], one["bag_found"]) == (2, 2, 2)
            assert one["false_insertions"] == 0


@given(SENTENCES, st.sampled_from(["none", "basic"]))
def test_a_perfect_hypothesis_finds_every_mention(text: str, normalizer: str) -> None:
    assert all(found(text, text, normalizer))


@given(SENTENCES)
def test_case_and_punctuation_cost_nothing_once_normalized(text: str) -> None:
    assert all(found(text, text.upper().replace(",", "").replace(".", "!"), "basic"))


@given(st.text(max_size=30))
def test_basic_normalizer_works_word_by_word(text: str) -> None:
    whole = normalize(text, "basic").split()
    assert whole == [w for word in text.split() for w in normalize(word, "basic").split()]


def test_terms_are_counted_longest_first_and_without_overlap() -> None:
    counter = TermCounter([("atrial",), ("atrial", "fibrillation"), ("a", "b", "a"), ()])
    words = term_of("Atrial fibrillation, atrial flutter; a b a b a.")
    assert counter.count(words) == {
        ("atrial", "fibrillation"): 1,
        ("atrial",): 1,
        ("a", "b", "a"): 1,
    }


def test_a_pipeline_of_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    import spacy

    made = spacy.blank("en")
    monkeypatch.setattr(spacy, "load", lambda name: made)
    with pytest.raises(ScoreError, match="finds no entities"):
        EntityFinder.of_pipeline("en_core_web_sm")
    ruler: Any = made.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "GPE", "pattern": "Rome"}])
    finder = EntityFinder.of_pipeline("en_core_web_sm")
    assert finder.find("In Rome.") == [Mention(3, 7, "GPE", "Rome")]
    assert finder.listed == {}
