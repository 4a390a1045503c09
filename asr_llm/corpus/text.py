"""Named text normalisers, applied alike to references and hypotheses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from asr_llm.errors import AsrLlmError

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u2032": "'"})
# Kept inside what they join: the apostrophe of "don't" and the point of "2.5",
# without which 2.5 mg and 25 mg would be the same dose.
_KEPT = re.compile(r"(?<=[^\W_])'(?=[^\W_])|(?<=\d)\.(?=\d)")
_SPACED = frozenset("/\u2044\\")


def normalize(text: str, normalizer: str = "none") -> str:
    """Apply the normaliser of that name (see ``NORMALIZERS``) to ``text``.

    Raises:
        AsrLlmError: no normaliser has that name.
    """
    try:
        function = NORMALIZERS[normalizer]
    except KeyError:
        known = ", ".join(NORMALIZERS)
        raise AsrLlmError(f"unknown normalizer {normalizer!r}; expected one of: {known}") from None
    return function(text)


def _none(text: str) -> str:
    return text


def _basic(text: str) -> str:
    """NFKC, lower-case, no punctuation but inner apostrophes and decimal points.

    Hyphens, dashes and slashes become spaces; white space is collapsed.
    """
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    kept = {match.start() for match in _KEPT.finditer(text)}
    text = "".join(c if i in kept else _basic_character(c) for i, c in enumerate(text))
    # Again, because a mark may now stand beside the letter it composes with.
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _basic_character(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category == "Pd" or character in _SPACED:
        return " "
    return "" if category[0] in "PS" or category in ("Cc", "Cf") else character


NORMALIZERS: Mapping[str, Callable[[str], str]] = MappingProxyType({"none": _none, "basic": _basic})
"""Every normaliser by name."""
