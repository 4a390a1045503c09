"""Spoken dev and test sets of a domain: its recordings, or its text synthesised.

Synthesised speech is cached as FLAC with a JSON file, named by a hash of everything it depends on.
So it is synthesised once, and again when any of that changes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.alignment import alignment_items
from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech import cache
from asr_llm.corpus.speech.synthesis import (
    Delivery,
    Utterance,
    Word,
    select_voices,
    suggested_voice,
    synthesiser,
    synthesize,
)
from asr_llm.errors import AsrLlmError, DomainError, SynthesisError

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import MonoCut

_KIND = "spoken"
_FORMAT = 1  # of an entry; raised when word timings improve, so that they are made again


def spoken_set(domain: Domain, split: str, recorded: bool = True) -> CutSet:
    """The recordings of a split if it has any; else its sentences spoken by its voices.

    Spoken cuts are named ``<domain>-<split>-0001`` etc. Voices alternate; rate and pitch vary
    slightly, determined by the text.

    Args:
        recorded: use recordings; if false, sentences are always synthesised, so that word times are
            known.

    Raises:
        DomainError: the split has neither recordings nor both text and voices.
        SynthesisError: a voice does not exist, or a sentence cannot be spoken.
        AsrLlmError: the cache cannot be written.
    """
    if recorded and (recordings := domain.recordings(split)) is not None:
        return recordings
    file = domain.path / "domain.yaml"
    patterns = domain.voices(split)
    if not patterns:
        raise DomainError(
            f"{file}: no voices for {split}, and no recordings in {domain.path / split}; add to "
            f"domain.yaml for instance: voices: {{{split}: [{suggested_voice()}]}}"
        )
    texts = domain.text(split)
    if not texts:
        raise DomainError(
            f"{domain.path}: no {split} sentences to speak; expected {split}/text.txt, {split} "
            f"templates in templates.yaml, or recordings with a trans.txt in {split}/"
        )
    try:
        voices = select_voices(patterns)
    except SynthesisError as error:
        raise SynthesisError(f"{file}: voices: {split}: {error}") from error
    if not voices:
        raise DomainError(f"{file}: voices: {split}: the '!' patterns exclude every voice")
    return speak_texts(
        texts,
        [domain.spoken(text) for text in texts],
        voices,
        prefix=f"{domain.name}-{split}",
        language=domain.config.language,
    )


def speak_texts(
    texts: Sequence[str],
    spoken: Sequence[str],
    voices: Sequence[str],
    prefix: str,
    language: str = "en",
    progress: Callable[[float, float], None] | None = None,
) -> CutSet:
    """Cuts ``<prefix>-0001`` etc. of spoken texts, from the cache if present.

    Args:
        texts: of the supervisions.
        spoken: spoken form of each, for the voices.
        voices: names, as for ``synthesize``; text i is spoken by voice i modulo their number.
        progress: called with the number of texts spoken and their total.

    Raises:
        SynthesisError: a voice does not exist, or a text cannot be spoken; names the cut.
        AsrLlmError: the cache cannot be written.
    """
    from lhotse import CutSet

    folder = cache.folder(_KIND)
    versions = {voice: synthesiser(voice) for voice in dict.fromkeys(voices)}
    cuts = []
    for i, (text, form) in enumerate(zip(texts, spoken, strict=True)):
        name, voice = f"{prefix}-{i + 1:04d}", voices[i % len(voices)]
        delivery = vary_delivery(text)
        key = _make_key([_FORMAT, versions[voice], text, form, voice, asdict(delivery)])
        entry = _read(folder, key)
        if entry is None:
            try:
                utterance = synthesize(text, voice, delivery, form)
            except SynthesisError as error:
                raise SynthesisError(f"{name}, sentence {i + 1}: {error}") from error
            entry = _write(folder, key, utterance, form)
        cuts.append(_make_cut(name, entry, language))
        if progress is not None:
            progress(i + 1, len(texts))
    return CutSet.from_cuts(cuts)


def vary_delivery(text: str) -> Delivery:
    """A rate of 150 to 185 and a pitch of 40 to 60, determined by the text."""
    digest = hashlib.sha256(text.encode()).digest()
    rate = 150 + int.from_bytes(digest[:4], "big") % 36
    return Delivery(rate=rate, pitch=40 + int.from_bytes(digest[4:8], "big") % 21)


@dataclass(frozen=True)
class _Entry:
    """One cached utterance: its audio file, and what the JSON says of it."""

    audio: Path
    text: str
    voice: str
    num_samples: int
    words: tuple[Word, ...]


def _make_key(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(folder: Path, key: str) -> _Entry | None:
    """The entry, or None if it is missing, incomplete or damaged."""
    audio = folder / f"{key}.flac"
    try:
        facts = json.loads((folder / f"{key}.json").read_text("utf-8"))
        if hashlib.sha256(audio.read_bytes()).hexdigest() != facts["sha256"]:
            return None
        words = tuple(Word(str(text), float(b), float(e)) for text, b, e in facts["words"])
        return _Entry(audio, facts["text"], facts["voice"], int(facts["num_samples"]), words)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, key: str, utterance: Utterance, spoken: str) -> _Entry:
    """Write an entry; the JSON comes last and marks it complete."""
    import soundfile

    flac = io.BytesIO()
    soundfile.write(flac, utterance.samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    facts = {
        "text": utterance.text,
        "spoken": spoken,
        "voice": utterance.speaker,
        "num_samples": len(utterance.samples),
        "words": [
            [word.text, round(word.start, 6), round(word.end, 6)] for word in utterance.words
        ],
        "sha256": hashlib.sha256(flac.getvalue()).hexdigest(),
    }
    _replace(folder / f"{key}.flac", flac.getvalue())
    _replace(folder / f"{key}.json", json.dumps(facts, ensure_ascii=False).encode())
    entry = _read(folder, key)
    if entry is None:
        raise AsrLlmError(f"{folder}: what was written there cannot be read back; is it emptied?")
    return entry


def _replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name (readable by its owner only), then rename it."""
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = file.name
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise AsrLlmError(
            f"{path.parent}: cannot write to the cache ({error.strerror}); "
            "make room, or set ASR_LLM_CACHE to a folder that you may write to"
        ) from error


def _make_cut(name: str, entry: _Entry, language: str) -> MonoCut:
    from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

    duration = entry.num_samples / SAMPLE_RATE
    recording = Recording(
        id=name,
        sources=[AudioSource(type="file", channels=[0], source=str(entry.audio))],
        sampling_rate=SAMPLE_RATE,
        num_samples=entry.num_samples,
        duration=duration,
    )
    supervision = SupervisionSegment(
        id=name,
        recording_id=name,
        start=0.0,
        duration=duration,
        channel=0,
        text=entry.text,
        speaker=entry.voice,
        language=language,
        alignment={"word": alignment_items(entry.words)},
    )
    return MonoCut(
        id=name,
        start=0.0,
        duration=duration,
        channel=0,
        recording=recording,
        supervisions=[supervision],
    )
