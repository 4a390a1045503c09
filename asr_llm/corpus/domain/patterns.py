"""Validates entity patterns for spaCy's EntityRuler.

spaCy compiles most of a pattern only when it first meets a text, and then raises errors that users
cannot understand. So each token pattern is tried here by itself, where its file and line are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

EXAMPLE = '{"label": "DRUG", "pattern": "metoprolol"}'
_MOST_REPEATS = 50
_TRIAL = "A trial of 5 words."
_WORDS = {"LOWER", "TEXT", "ORTH", "NORM", "SHAPE", "PREFIX", "SUFFIX"}
_FLAGS = {"IS_DIGIT", "IS_ALPHA", "IS_UPPER", "IS_TITLE", "LIKE_NUM"}
_NEEDS_MODEL = {
    "LEMMA": "a lemmatizer",
    "POS": "a tagger",
    "TAG": "a tagger",
    "MORPH": "a morphologizer",
    "DEP": "a parser",
    "ENT_TYPE": "a pipeline's own entities",
    "ENT_ID": "a pipeline's own entities",
    "ENT_KB_ID": "a pipeline's own entities",
    "ENT_IOB": "a pipeline's own entities",
}
"""Attributes that the blank tokeniser, which patterns are matched with, leaves empty."""


def pattern_problem(pattern: Any) -> str | None:
    """What is wrong with an EntityRuler pattern, whatever its label; None if valid."""
    if not isinstance(pattern, dict):
        return "not a JSON object"
    label = pattern.get("label")
    if not isinstance(label, str) or not label.strip():
        return "no label"
    if not isinstance(pattern.get("id", ""), str):
        return "an 'id' that is not text"
    body = pattern.get("pattern")
    if isinstance(body, str):
        if not body.strip():
            return "no pattern"
        return None if any(map(str.isalnum, body)) else "no letter or digit in the pattern"
    if not isinstance(body, list) or not body or not all(isinstance(t, dict) for t in body):
        return "no pattern"
    return _token_problem(body)


def _token_problem(tokens: list[dict[str, Any]]) -> str | None:
    for name in _names(tokens):
        if what := _NEEDS_MODEL.get(name.upper()):
            return (
                f"{name} needs {what}, which patterns are matched without; use TEXT, LOWER, "
                "SHAPE or IS_... (for lemmas: LOWER with IN)"
            )
    for written in _regexes(tokens):
        try:
            re.compile(written)
        except (re.error, RecursionError, OverflowError) as error:
            return f"REGEX is not a regular expression ({error})"
    if any(_repeats(token.get("OP")) > _MOST_REPEATS for token in tokens):
        return f"an OP of more than {_MOST_REPEATS} words"
    if all(token.get("OP") in ("?", "*", "!") for token in tokens):
        return "a pattern that matches no words: every token of it may be left out"
    return None if all(map(_is_plain, tokens)) else _tried(tokens)


def _is_plain(token: dict[str, Any]) -> bool:
    """Whether a token is of the most common kind, which spaCy always accepts."""
    return bool(token) and all(
        isinstance(value, str) if name in _WORDS else value is True and name in _FLAGS
        for name, value in token.items()
    )


def _tried(tokens: list[dict[str, Any]]) -> str | None:
    """spaCy's error for a pattern, on its own and on a short text."""
    from spacy.matcher import Matcher  # 2 to 3 s
    from spacy.tokens import Span

    nlp = _blank()
    try:
        matcher = Matcher(nlp.vocab, validate=True)
        matcher.add("TRIAL", [tokens])
        for _, start, end in matcher(nlp(_TRIAL)):
            Span(nlp(_TRIAL), start, end, "TRIAL")
    except Exception as error:  # malformed patterns make spaCy raise anything
        said = str(error).strip() or type(error).__name__
        first = said.partition("Pattern 0:")[2].strip(" -\n").partition("\n")[0] or said
        reason = " ".join(first.split()).replace("Value error, ", "")  # pydantic's words
        return f"spaCy rejects the pattern: {reason[:160]}"
    return None


@cache
def _blank() -> Any:
    import spacy

    return spacy.blank("en")


def _repeats(operator: Any) -> int:
    """The largest number in an operator such as ``{2,5}``, because spaCy unrolls repetitions."""
    return max(map(int, re.findall(r"[0-9]{1,9}", str(operator))), default=0)


def _names(tokens: list[dict[str, Any]]) -> Iterator[str]:
    """The attributes that token patterns ask for."""
    for token in tokens:
        yield from map(str, token)


def _regexes(found: Any) -> Iterator[str]:
    """Every REGEX within a pattern, however deep."""
    if isinstance(found, dict):
        for key, value in found.items():
            if str(key).upper() == "REGEX" and isinstance(value, str):
                yield value
            else:
                yield from _regexes(value)
    elif isinstance(found, list):
        for value in found:
            yield from _regexes(value)
