"""The names of a book, found in its text."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "adapt"))
book_domain = importlib.import_module("book_domain")


def test_names_have_a_capital_inside_sentences_often_and_nearly_always() -> None:
    sentences = ["Then Verloc spoke to May, who may come."] * 5 + ["Said Ossipon, so Ossipon."] * 2
    assert book_domain.names(sentences) == {"Verloc": 5}
    assert book_domain.names(sentences, least=2) == {"Ossipon": 4, "Verloc": 5}


def test_the_first_word_of_a_sentence_does_not_count() -> None:
    assert book_domain.names(["Verloc came."] * 9) == {}


def test_recordings_with_a_missed_name_are_corrected_in_their_order() -> None:
    rows = [{"id": name} for name in "abcd"]
    heard = [("d", "missed"), ("b", "found"), ("b", "partial"), ("c", "found"), ("a", "missed")]
    mentions = [json.dumps({"utterance": name, "raw": raw}) for name, raw in heard]
    assert book_domain.corrected(rows, mentions) == [{"id": "a"}, {"id": "b"}, {"id": "d"}]
    assert book_domain.corrected(rows, mentions, count=2) == [{"id": "a"}, {"id": "b"}]
