"""The normaliser ``basic``: case and punctuation, of any language."""

from __future__ import annotations

import re
import unicodedata

_WORD = r"[^\W_]"  # a letter or a digit
_LETTER = r"[^\W\d_]"
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\u2032\u00b4`", "'"))
# What stands between two words without a space; apostrophes are looked at apart.
_INNER = re.compile(rf"(?<={_WORD})[^\w\s]+(?={_WORD})")
# Kept inside what they join: the apostrophe of "don't" and the point of "2.5",
# without which 2.5 mg and 25 mg would be the same dose.
_KEPT = re.compile(rf"(?<={_WORD})'(?={_WORD})|(?<=\d)\.(?=\d)")
# What joins without a space: G.P., A&E, 10:30, 1,000, tablet(s).
_JOINS = re.compile(
    rf"(?<=(?<!{_WORD}){_LETTER})[.&](?={_LETTER}(?!{_WORD}))"
    r"|(?<=\d)(?::(?=\d)|,(?=\d{3}(?!\d)))"
    rf"|(?<={_LETTER})\((?=e?s\))"
)
_SPACED = frozenset("/\u2044\\")


def basic(text: str) -> str:
    """NFKC, lower-case, no punctuation but inner apostrophes and decimal points.

    Hyphens, dashes and slashes become spaces, and so does any punctuation between two words that
    lack a space ("any fever?Yes"), save between single letters ("G.P.") and between digits
    ("1.5", "10:30"). White space is collapsed.
    """
    if text.isascii():
        return _basic_ascii(text.lower())
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).lower()
    text = "".join(c for c in text.translate(_APOSTROPHES) if not _dropped(c))
    text = _spaced(text)
    kept = {match.start() for match in _KEPT.finditer(text)}
    text = "".join(c if i in kept else _character(c) for i, c in enumerate(text))
    # Again, because a mark may now stand beside the letter it composes with.
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _basic_ascii(text: str) -> str:
    """The same for lower-case ASCII, which most text is, at a tenth of the cost."""
    if not text.isprintable():
        text = text.translate(_CONTROLS)
    text = _spaced(text.replace("`", "'"))
    if "'" in text or "." in text:
        text = _KEPT.sub(lambda match: _HELD[match.group()], text)
    return " ".join(text.translate(_ASCII).split()).translate(_RELEASED)


def _spaced(text: str) -> str:
    """A space for the punctuation between two words that have none."""
    return _INNER.sub(_between, _JOINS.sub("", text))


def _between(match: re.Match[str]) -> str:
    marks = match[0]
    if marks == "'" or (marks == "." and _KEPT.match(match.string, match.start())):
        return marks
    # A mark of a letter (Mn, Mc) is none of punctuation.
    return " " if all(unicodedata.category(c)[0] in "PS" for c in marks) else marks


def _dropped(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") and not character.isspace()


def _character(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category == "Pd" or character in _SPACED:
        return " "
    return "" if category[0] in "PS" or category in ("Cc", "Cf") else character


# Kept marks are held by private characters, which ASCII text cannot have, while others go.
_HELD = {"'": "\ue000", ".": "\ue001"}
_RELEASED = str.maketrans({held: mark for mark, held in _HELD.items()})
_CONTROLS = {code: None for code in range(128) if _dropped(chr(code))}
_ASCII = {code: _character(chr(code)) for code in range(128)}
