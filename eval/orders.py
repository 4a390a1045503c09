"""Recorded coffee orders: no transcripts, but the values of their slots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from asr_llm.corpus.text.normalizers import normalize


@dataclass(frozen=True)
class Order:
    """A recording at 16 kHz, and what was ordered."""

    id: str
    samples: np.ndarray
    slots: tuple[str, ...]


def read_orders(data: Path) -> Iterator[Order]:
    """The recorded orders of ``data``/speech/coffee-orders, in the order of their manifest."""
    folder = data / "speech" / "coffee-orders"
    for line in (folder / "manifest.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        samples, _ = sf.read(folder / row["audio_filepath"], dtype="float32")
        yield Order(row["id"], samples, tuple(row["slots"].values()))


def slots_found(slots: tuple[str, ...], text: str) -> int:
    """How many slot values are in a text, word for word, both as `whisper-en` writes them."""
    said = f" {normalize(text, 'whisper-en')} "
    return sum(f" {normalize(value, 'whisper-en')} " in said for value in slots)
