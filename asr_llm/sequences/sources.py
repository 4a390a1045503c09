"""From what a recipe names to examples: text is spoken on the fly, recordings are loaded."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm.corpus.alignment import word_items
from asr_llm.corpus.audio import cut_audio
from asr_llm.corpus.augment import augment, change_speed
from asr_llm.corpus.domain import Domain
from asr_llm.corpus.domain_files import read_text, strictly
from asr_llm.corpus.importers import read_manifest
from asr_llm.corpus.pieces import LONGEST_SECONDS, cut_pieces, text_pieces
from asr_llm.corpus.synthesis import Delivery, Utterance, Word, select_voices, synthesize
from asr_llm.errors import DomainError, RecipeError, SynthesisError
from asr_llm.recipe import TIMED_TASKS, SourceRecipe
from asr_llm.sequences import tasks
from asr_llm.sequences.batching import Item, Source
from asr_llm.sequences.interleave import (
    insert_speech,
    interleave,
    segment_units,
    select_spans,
    word_units,
)
from asr_llm.sequences.spans import Sequence
from asr_llm.sequences.tasks import Chat

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut

_CHARACTERS_PER_TOKEN = 3.0  # rough; only used to make batches of similar cost
_CHARACTERS_PER_SECOND = 15.0
_PROMPT = 16

_NOISY = {"denoise": tasks.denoise, "restore": tasks.restore, "misheard": tasks.misheard}

Speak = Callable[[np.random.Generator], Utterance]
Build = Callable[[Utterance, Chat, SourceRecipe, random.Random], Sequence | None]


def make_source(
    recipe: SourceRecipe,
    chat: Chat,
    domain: Domain | None = None,
    replay: Domain | None = None,
    split: str = "train",
) -> Source | None:
    """The examples a recipe's source stands for; None where an optional one has no data.

    Raises:
        RecipeError: the data it names is absent or unfit for its task.
        DomainError: the data is malformed or empty.
    """
    if recipe.task == "question":
        return _questions(recipe, chat)
    folder = {"domain": domain, "replay": replay}.get(recipe.data)
    path = Path(recipe.data)
    if folder is None and recipe.data in ("domain", "replay"):
        raise RecipeError(
            f"a source has data: {recipe.data}, but there is none; expected "
            + (
                "a domain folder on the command line ('asr-llm adapt DOMAIN')"
                if recipe.data == "domain"
                else "a base model that brings replay text, or 'replay: FOLDER' in the recipe "
                "(without general speech, training on text makes the model ignore the audio)"
            )
        )
    if folder is None and path.is_dir() and (path / "domain.yaml").is_file():
        folder = Domain.load(path)
    if folder is None and not path.exists():
        raise RecipeError(
            f"a source has data: {recipe.data}, but nothing is there; paths count from the current "
            f"folder, {Path.cwd()}"
        )

    if recipe.optional and folder is not None and _is_absent(recipe, folder, split):
        return None
    if recipe.task in _SPOKEN:
        cuts = _recordings(recipe, folder, path, split)
        if cuts is None:
            return _spoken_source(recipe, folder, path, split, chat)
        return _recorded_source(recipe, cuts, chat)
    lines = _sentences(recipe, folder, path, split)
    if recipe.task == "insert":
        return _insert_source(recipe, lines, _voices(recipe, folder, split), chat)
    return _text_source(recipe, lines, chat)


def _is_absent(recipe: SourceRecipe, folder: Domain, split: str) -> bool:
    spoken = recipe.task in _SPOKEN
    recorded = spoken and recipe.speech != "synthetic" and folder.manifest(split) is not None
    if spoken and recipe.speech == "recorded":
        return not recorded
    return not recorded and not folder.has_text(split)


def _text_source(recipe: SourceRecipe, lines: list[str], chat: Chat) -> Source:
    def item(i: int) -> Item:
        text = lines[i]
        cost = len(text) / _CHARACTERS_PER_TOKEN
        if recipe.task == "text" and recipe.prompt:
            return Item(cost + _PROMPT, lambda rng: tasks.prompted_text(text, chat))
        if recipe.task == "text":
            return Item(cost + 1, lambda rng: tasks.text_only(text, chat))
        build = _NOISY[recipe.task]
        return Item(2 * cost + _PROMPT, lambda rng: build(text, chat, _python_rng(rng)))

    return Source(len(lines), recipe.weight, item)


def _interleaved(
    utterance: Utterance, chat: Chat, source: SourceRecipe, rng: random.Random
) -> Sequence | None:
    """Word or segment level, speech or text first: drawn anew for each sequence."""
    recipe = source.interleave
    build = functools.partial(
        interleave,
        utterance,
        chat=chat,
        speech_first=rng.random() < 0.5,
        sliced=recipe.encode == "slice",
    )
    drawn = "word" if rng.random() < recipe.words else "segment"
    if (drawn if recipe.units == "mixed" else recipe.units) == "segment":
        units = segment_units(utterance.words, recipe.silence, recipe.punctuation)
        # One segment has nothing to alternate with.
        if len(units) > 1 or recipe.units == "segment":
            return build(units, leading=recipe.leading)
    return build(word_units(utterance.words))


_SPOKEN: dict[str, Build] = {
    "asr": lambda utterance, chat, source, rng: tasks.asr(utterance, chat),
    "word_synchronous": lambda utterance, chat, source, rng: tasks.word_synchronous(
        utterance, chat
    ),
    "interleave": _interleaved,
}


def _insert_source(
    recipe: SourceRecipe, lines: list[str], voices: tuple[str, ...], chat: Chat
) -> Source:
    def make(text: str, rng: np.random.Generator) -> Sequence:
        level, share = recipe.insert.level, recipe.insert.share
        pieces = select_spans(text, _python_rng(rng), level, share)
        voice = voices[int(rng.integers(len(voices)))]

        def speak(piece: str) -> Utterance:
            return _augmented(speak_at_random(piece, None, (voice,), rng), recipe, rng)

        return insert_speech(pieces, speak, chat)

    def item(i: int) -> Item:
        cost = len(lines[i]) / _CHARACTERS_PER_TOKEN
        return Item(cost + 1, functools.partial(make, lines[i]))

    return Source(len(lines), recipe.weight, item)


def _augmented(utterance: Utterance, recipe: SourceRecipe, rng: np.random.Generator) -> Utterance:
    if recipe.speed:
        utterance = change_speed(utterance, rng.uniform(1 - recipe.speed, 1 + recipe.speed))
    if not recipe.augment:
        return utterance
    samples = augment(utterance.samples, rng, recipe.augment)
    return replace(utterance, samples=samples, recorded=False)


def _speech_source(recipe: SourceRecipe, speakers: list[tuple[float, Speak]], chat: Chat) -> Source:
    frame = chat.frame_samples / chat.sample_rate

    def make(speak: Speak, rng: np.random.Generator) -> Sequence | None:
        utterance = _augmented(speak(rng), recipe, rng)
        if utterance.duration > LONGEST_SECONDS:
            return None
        return _SPOKEN[recipe.task](utterance, chat, recipe, _python_rng(rng))

    def item(i: int) -> Item:
        seconds, speak = speakers[i]
        cost = seconds / frame + seconds * _CHARACTERS_PER_SECOND / _CHARACTERS_PER_TOKEN
        return Item(cost + _PROMPT, functools.partial(make, speak))

    return Source(len(speakers), recipe.weight, item)


def _recordings(
    recipe: SourceRecipe, folder: Domain | None, path: Path, split: str
) -> CutSet | None:
    """The recordings that a source is of; None where text is to be spoken."""
    cuts = None
    if folder is not None and recipe.speech != "synthetic":
        cuts = folder.recordings(split)
    if folder is None and (path.suffix in (".json", ".jsonl", ".gz") or path.name == "trans.txt"):
        cuts = read_manifest(path)
    if cuts is None and recipe.speech == "recorded":
        raise DomainError(
            f"{folder.path if folder else path}: no recordings for the {recipe.task!r} source; "
            f"expected a manifest and audio in {split}/, or leave out 'speech: recorded'"
        )
    return cuts


def _recorded_source(recipe: SourceRecipe, cuts: CutSet, chat: Chat) -> Source:
    """Recordings, long ones in pieces; those that lack the times of their words are named."""
    needs_times = recipe.task in TIMED_TASKS
    found: list[Cut] = []
    left_out: set[str] = set()
    for cut in cuts:
        pieces = cut_pieces(cut) if word_items(cut) or not needs_times else []
        found += pieces
        if not pieces:
            left_out.add(cut.id)
    if not found:
        raise DomainError(f"{recipe.data}: nothing to learn from: {untimed(left_out)}")
    speakers: list[tuple[float, Speak]] = [
        (cut.duration, functools.partial(load_utterance, cut)) for cut in found
    ]
    return replace(_speech_source(recipe, speakers, chat), left_out=frozenset(left_out))


def untimed(left_out: Collection[str]) -> str:
    """What to tell of recordings that were not learned from."""
    return (
        f"left out {len(left_out)} recordings (the first: {min(left_out)}): it is not known when "
        "their words are said, as it must be to interleave them, or to cut those longer than "
        f"{LONGEST_SECONDS:g} s. Find out with: asr-llm align MANIFEST"
    )


def _spoken_source(
    recipe: SourceRecipe, folder: Domain | None, path: Path, split: str, chat: Chat
) -> Source:
    """Text, to be spoken when its turn comes."""
    lines = _sentences(recipe, folder, path, split)
    voices = _voices(recipe, folder, split)
    speakers: list[tuple[float, Speak]] = []
    for line in lines:
        form = folder.spoken(line) if folder else None
        speak = functools.partial(speak_at_random, line, form, voices)
        speakers.append((len(line) / _CHARACTERS_PER_SECOND, speak))
    return _speech_source(recipe, speakers, chat)


def _sentences(recipe: SourceRecipe, folder: Domain | None, path: Path, split: str) -> list[str]:
    lines = folder.text(split) if folder else _lines(path)
    if not lines:
        raise DomainError(f"no text for the {recipe.task!r} source {recipe.data}; add sentences")
    return [piece for line in lines for piece in text_pieces(line)]


def _voices(recipe: SourceRecipe, folder: Domain | None, split: str) -> tuple[str, ...]:
    patterns = recipe.voices or (folder.voices(split) if folder else [])
    voices = select_voices(patterns or ["en-us"])
    if not voices:
        raise DomainError(
            f"no voices left for the source {recipe.data} after those taken away with '!'; "
            "expected at least one"
        )
    return voices


def speak_at_random(
    text: str, spoken: str | None, voices: tuple[str, ...], rng: np.random.Generator
) -> Utterance:
    """Speak a text in a random voice, at a random rate, pitch, liveliness and vocal tract."""
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
    raise SynthesisError(f"three voices said nothing for a text of {len(text)} characters")


def _tract(rng: np.random.Generator) -> int:
    """Drawn apart: what is drawn next from ``rng`` stays what it was without."""
    return int(rng.spawn(1)[0].integers(25, 76))


def load_utterance(cut: Any, rng: np.random.Generator | None = None) -> Utterance:
    """A lhotse cut with one supervision, loaded: samples, text, and words if aligned."""
    supervision = cut.supervisions[0]
    words = tuple(Word(a.symbol, a.start, a.start + a.duration) for a in word_items(cut))
    speaker = supervision.speaker or cut.id
    return Utterance(supervision.text or "", speaker, cut_audio(cut), words, recorded=True)


def _questions(recipe: SourceRecipe, chat: Chat) -> Source:
    path = Path(recipe.data)
    rows: list[dict[str, str]] = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
            rows.append({key: str(row[key]) for key in ("passage", "question", "answer")})
        except (ValueError, KeyError, TypeError) as error:
            raise DomainError(
                f"{path}:{number}: expected a JSON object with passage, question and answer; "
                f"found a line without ({error})"
            ) from error

    if not rows:
        raise DomainError(f"{path}: no questions; expected a JSON object in each line")

    def item(i: int) -> Item:
        row = rows[i]
        cost = sum(map(len, row.values())) / _CHARACTERS_PER_TOKEN + _PROMPT
        return Item(
            cost,
            lambda rng: tasks.question(row["passage"], row["question"], row["answer"], chat),
        )

    return Source(len(rows), recipe.weight, item)


def _lines(path: Path) -> list[str]:
    """The lines of a text file, without comments."""
    return [line.text for line in strictly(lambda problems: read_text(path, problems))]


def _python_rng(rng: np.random.Generator) -> random.Random:
    return random.Random(int(rng.integers(2**63)))
