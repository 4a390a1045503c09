"""Synthesises text for training with random voices and delivery, and augments speech."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from asr_llm.corpus.speech.augment import augment, change_speed
from asr_llm.corpus.speech.synthesis import Delivery, Utterance, synthesize
from asr_llm.errors import SynthesisError
from asr_llm.sequences.sources.base import OptionalSource


class SpokenSource(OptionalSource):
    """A source in which text may be spoken: voices and augmentation."""

    voices: list[str] | None = Field(
        None,
        description="voices that speak text: patterns such as en-us+*, or !*+Annie to leave some "
        "out; default: the domain's own",
    )
    augment: float = Field(
        0.5, ge=0, le=1, description="probability of each of echo, band limit and noise"
    )
    speed: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="speech is played slower or faster by up to this share, pitch and formants "
        "with it; 0.1 is common",
    )

    def augmented(self, utterance: Utterance, rng: np.random.Generator) -> Utterance:
        """The utterance with augmented speed, reverberation, bandwidth and noise."""
        if self.speed:
            utterance = change_speed(utterance, rng.uniform(1 - self.speed, 1 + self.speed))
        if not self.augment:
            return utterance
        samples = augment(utterance.samples, rng, self.augment)
        return replace(utterance, samples=samples, recorded=False)


def speak_at_random(
    text: str, spoken: str | None, voices: tuple[str, ...], rng: np.random.Generator
) -> Utterance:
    """Speak a text with a random voice, rate, pitch, intonation and vocal tract."""
    delivery = Delivery(
        rate=int(rng.integers(130, 205)),
        pitch=int(rng.integers(30, 71)),
        range=int(rng.integers(30, 71)),
        tract=_tract(rng),
    )
    for _ in range(3):
        voice = voices[int(rng.integers(len(voices)))]
        try:
            return synthesize(text, voice, delivery, spoken)
        except SynthesisError:
            continue
    raise SynthesisError(f"three voices produced no speech for a text of {len(text)} characters")


def _tract(rng: np.random.Generator) -> int:
    """Drawn from a separate generator, so that later draws from ``rng`` do not change."""
    return int(rng.spawn(1)[0].integers(25, 76))
