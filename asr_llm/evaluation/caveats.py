"""What makes figures unreliable, in sentences for the user: ``warnings`` of `scores.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from asr_llm.errors import number_of
from asr_llm.evaluation.blocks import FEW_BLOCKS, Bootstrap
from asr_llm.evaluation.entities import Mention
from asr_llm.evaluation.measured import Texts

_CURLY = re.compile(r"(?<=\w)[’ʼ](?=\w)")
_FEW_UNSAID = 10  # tolerated: chance, or names that others share


def of_sample(
    drawn: Bootstrap, known: bool, mentions: Mapping[str, Sequence[Mention]] | None
) -> list[str]:
    """Warn of too few blocks, unknown speakers, or references without terms."""
    found = []
    if not known:
        found.append(
            "speakers are unknown: intervals are resampled by utterance, and too narrow if "
            "speakers have several"
        )
    else:
        found += of_few(len(drawn.grouped), drawn.of)
    if mentions and not any(mentions.values()):
        found.append("no term occurs in the references")
    return found


def of_few(count: int, drawn: str) -> list[str]:
    """Warn of intervals drawn from too few speakers, questions or the like."""
    if count >= FEW_BLOCKS:
        return []
    drawn_from = number_of(count, drawn)
    if count < 2:
        return [f"{drawn_from}: no intervals; reliable ones need at least {FEW_BLOCKS}"]
    return [f"{drawn_from}: intervals drawn from fewer than {FEW_BLOCKS} are too narrow to rely on"]


def of_apostrophes(normalizer: str, texts: Mapping[str, Texts]) -> list[str]:
    """Warn that OpenAI's normaliser splits "don’t" into "don t", unlike "don't" (do not)."""
    if normalizer != "whisper-en":
        return []
    counts = {
        name: sum(len(_CURLY.findall(text)) for text in of_one.values())
        for name, of_one in texts.items()
    }
    told = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    return (
        [
            f"curly apostrophes ({told}): whisper-en, which is OpenAI's normaliser, takes don’t "
            "and don't for different words; make them straight, or use basic or medical-en"
        ]
        if told
        else []
    )


def of_insertions(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Warn of systems that insert terms falsely more often than they find them."""
    told = []
    for name, figures in systems.items():
        raw = figures.get("entities", {}).get("raw", {})
        unsaid, said = raw.get("false_insertions", 0), raw.get("bag_found", 0)
        if unsaid >= _FEW_UNSAID and unsaid > said:
            told.append(
                f"{name}: {unsaid} terms were falsely inserted, and only {said} found; if they are "
                "on a biasing list, lower --biasing-strength"
            )
    return told
