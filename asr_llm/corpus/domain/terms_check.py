"""Problems of a domain's terms: what no voice can say, what is listed twice, what is no term."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from asr_llm.corpus.domain.files import Problem, Term
from asr_llm.corpus.speech.synthesis import speakable
from asr_llm.corpus.terms.phrases import key
from asr_llm.corpus.terms.words import FUNCTION, english_zipf


def term_problems(terms: Sequence[Term], language: str) -> Iterator[Problem]:
    """All that is wrong with single terms, then those listed twice, within or across labels."""
    yield from _unspeakable(terms, language)
    if language == "en":
        yield from _common(terms)
    yield from _unclean(terms)
    first: dict[str, Term] = {}
    for term in terms:
        known = first.setdefault(key(term.text), term)
        if known is not term:
            assert known.file is not None  # it was read from one
            where = f"{known.file.name}:{known.line}"
            yield _warning(term, f"duplicate term, first at {where}", "keep one of them")


def _unspeakable(terms: Iterable[Term], language: str) -> Iterator[Problem]:
    """Terms and spoken forms that no voice can say."""
    for term in terms:
        if term.spoken and not speakable(term.spoken, language):
            message = "a spoken form without a letter or digit, which no voice can say"
            fix = "respell the term, or leave it out"
            yield Problem(str(term.file), term.line, "error", message, fix)
        elif not term.spoken and not speakable(term.text, language):
            message = "a term without a Latin letter or digit, which no voice can say"
            yield _warning(term, message, "add its spoken form after a tab")


def _common(terms: Iterable[Term]) -> Iterator[Problem]:
    """Words in most sentences; not those in capitals, which may be acronyms (IT, US)."""
    for term in terms:
        if term.text.islower() and term.text.isalpha() and english_zipf(term.text) >= FUNCTION:
            message = "one of the commonest words of English, which needs no list"
            yield _warning(term, message, "remove it: a list makes its words likelier everywhere")


def _unclean(terms: Iterable[Term]) -> Iterator[Problem]:
    for term in terms:
        if term.text.endswith((",", ";")):
            yield _warning(term, f"a term that ends in {term.text[-1]!r}", "remove the mark")


def _warning(term: Term, message: str, fix: str) -> Problem:
    return Problem(str(term.file), term.line, "warning", message, fix)
