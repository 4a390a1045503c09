"""Entity patterns that spaCy would only stumble over once it meets a text."""

from __future__ import annotations

from typing import Any

import pytest

from asr_llm.corpus.domain.patterns import pattern_problem


@pytest.mark.parametrize(
    "body",
    [
        "cassette key",
        [{"LOWER": "hex"}, {"TEXT": "key"}],
        [{"LOWER": {"IN": ["hex", "torx"]}, "OP": "?"}, {"IS_DIGIT": True}],
        [{"TEXT": {"REGEX": r"^M\d+$"}}],
        [{}, {"LOWER": "bolt", "OP": "{1,3}"}],
    ],
)
def test_patterns_that_can_be_used(body: Any) -> None:
    assert pattern_problem({"label": "TOOL", "pattern": body}) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ([], "not a JSON object"),
        ({"pattern": "rim"}, "no label"),
        ({"label": 5, "pattern": "rim"}, "no label"),
        ({"label": "A", "pattern": "rim", "id": 3}, "an 'id' that is not text"),
        ({"label": "A", "pattern": " "}, "no pattern"),
        ({"label": "A", "pattern": "—"}, "no letter or digit"),
        ({"label": "A", "pattern": ["rim"]}, "no pattern"),
        ({"label": "A", "pattern": [{"LEMMA": "be"}]}, "LEMMA needs a lemmatizer"),
        ({"label": "A", "pattern": [{"pos": "NOUN"}]}, "pos needs a tagger"),
        ({"label": "A", "pattern": [{"LOWER": "x"}, {"ENT_TYPE": "ORG"}]}, "a pipeline's own"),
        ({"label": "A", "pattern": [{"TEXT": {"REGEX": "[a"}}]}, "not a regular expression"),
        ({"label": "A", "pattern": [{"TEXT": {"REGEX": {"IN": ["[a"]}}}]}, "spaCy rejects"),
        ({"label": "A", "pattern": [{"LOWR": "rim"}]}, "Extra inputs are not permitted"),
        ({"label": "A", "pattern": [{"LOWER": "rim", "OP": "{9000}"}]}, "of more than 50 words"),
        ({"label": "A", "pattern": [{"LOWER": "rim", "OP": "?"}]}, "matches no words"),
        ({"label": "A", "pattern": [{"_": {"mine": 1}}]}, "unregistered extension"),
        ({"label": "A", "pattern": [{"LOWER": 5}]}, "spaCy rejects the pattern"),
    ],
)
def test_patterns_that_cannot(pattern: Any, message: str) -> None:
    assert message in (pattern_problem(pattern) or "")
