"""What people say where others write: hesitations, repeated words, and corrections."""

from __future__ import annotations

import random

_FILLERS = ("um", "uh", "er", "you know", "I mean", "let me see")
_CORRECTIONS = (
    "No, wait.",
    "Sorry, no.",
    "Actually, no.",
    "Oh, I changed my mind.",
    "Scratch that.",
)


def disfluent(text: str, rng: random.Random, fillers: float = 0.15, repeats: float = 0.1) -> str:
    """Put fillers before some words, and say some words twice; there is always a filler.

    Args:
        fillers: share of the words with a filler before them.
        repeats: share of the words that are said twice.
    """
    words = text.split()
    hesitating = {i for i in range(len(words)) if rng.random() < fillers}
    hesitating = hesitating or {rng.randrange(max(len(words), 1))}
    said: list[str] = []
    for i, word in enumerate(words):
        if i in hesitating:
            said.append(f"{rng.choice(_FILLERS)},")
        if word.isalpha() and rng.random() < repeats:
            said.append(word)
        said.append(word)
    return " ".join(said)


def corrected(earlier: str, text: str, rng: random.Random) -> str:
    """Ask for one thing, take it back, and ask for another."""
    return f"{earlier} {rng.choice(_CORRECTIONS)} {text}"
