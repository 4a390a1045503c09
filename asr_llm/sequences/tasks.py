"""Tasks: functions from an utterance or text to a sequence of spans."""

from __future__ import annotations

import random
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.sequences.spans import SpanSequence, Speech, Text, num_frames, snap

AUDIO, WORDS, FIRST_PASS = "{audio}", "{words}", "{first_pass}"
PROMPT_WORDS = 100
"""Maximum number of words named in a prompt."""


@dataclass(frozen=True)
class Chat:
    """The chat template around a prompt, as text, the same in training and inference.

    ``before`` and ``after`` enclose the user's message, ``end`` ends the answer, and ``asr_prompt``
    is the message that requests a transcript, with ``{audio}`` for the speech. Checkpoints trained
    for it also have ``biasing_prompt``, which names words that may occur, with ``{words}``, and
    ``first_pass_prompt``, which follows either and shows another recogniser's transcript, with
    ``{first_pass}``.
    """

    before: str
    after: str
    end: str
    asr_prompt: str = "Transcribe the following: {audio}"
    frame_samples: int = 1280
    sample_rate: int = 16000
    biasing_prompt: str | None = None
    first_pass_prompt: str | None = None

    def naming(self, words: Iterable[str]) -> Chat:
        """The chat whose ASR prompt names the first of these words, if it was trained for that."""
        named = ", ".join(islice(words, PROMPT_WORDS)).replace(AUDIO, "")
        if self.biasing_prompt is None or not named:
            return self
        return replace(self, asr_prompt=self.biasing_prompt.replace(WORDS, named))

    def around_audio(self, first_pass: str | None = None) -> tuple[str, str]:
        """The text before and after the speech in the ASR prompt."""
        head, tail = self.asr_prompt.split(AUDIO)
        if first_pass and self.first_pass_prompt is not None:
            tail += self.first_pass_prompt.replace(FIRST_PASS, first_pass)
        return self.before + head, tail + self.after


def asr(utterance: Utterance, chat: Chat) -> SpanSequence:
    """Prompt, speech, transcript: Text(prompt) Speech(A) Text(T)*.

    If the checkpoint reads a first pass, it follows the speech, and the LLM deliberates on both
    (arXiv 2003.07962).
    """
    head, tail = chat.around_audio(utterance.first_pass)
    speech = Speech(utterance, 0, num_frames(utterance, chat.frame_samples))
    return Text(head), speech, Text(tail), Text(utterance.text + chat.end, loss=True)


def text_only(text: str, chat: Chat) -> SpanSequence:
    """Raw text ending in the end token: Text(T)*."""
    return (Text(text + chat.end, loss=True),)


def prompted_text(text: str, chat: Chat) -> SpanSequence:
    """The ASR prompt without the speech: Text(prompt) Text(T)*."""
    return Text("".join(chat.around_audio())), Text(text + chat.end, loss=True)


def denoise(text: str, chat: Chat, rng: random.Random) -> SpanSequence:
    """The ASR prompt with noisy text in place of the speech (arXiv 2601.20900)."""
    head, tail = chat.around_audio()
    return Text(head), Text(add_noise(text, rng)), Text(tail), Text(text + chat.end, loss=True)


def restore(text: str, chat: Chat, rng: random.Random) -> SpanSequence:
    """Denoising of text that also lacks case and punctuation, like CTC output."""
    head, tail = chat.around_audio()
    noisy = add_noise(normalize(text, "basic"), rng)
    return Text(head), Text(noisy), Text(tail), Text(text + chat.end, loss=True)


def misheard(text: str, chat: Chat, rng: random.Random, words: float = 0.5) -> SpanSequence:
    """Text as a recogniser without the vocabulary would write it, to be corrected.

    Denoising with phonetic instead of random errors: no case, no punctuation, letters replaced by
    similar sounds, dropped letters, split words.
    """
    head, tail = chat.around_audio()
    noisy = spell_by_ear(normalize(text, "basic"), rng, words)
    return Text(head), Text(noisy), Text(tail), Text(text + chat.end, loss=True)


def word_synchronous(utterance: Utterance, chat: Chat) -> SpanSequence | None:
    """A1 T1* A2 T2* …: each word right after its own audio.

    A curriculum: the model learns what speech embeddings mean before it has to learn where to
    attend. None if the words have no times or outnumber the frames.
    """
    words = utterance.words
    cuts = snap(
        [word.start for word in words],
        num_frames(utterance, chat.frame_samples),
        chat.frame_samples / chat.sample_rate,
    )
    if cuts is None:
        return None
    head, tail = chat.around_audio()
    spans: list[Text | Speech] = [Text(head + tail)]
    for i, (word, start, end) in enumerate(zip(words, cuts, cuts[1:])):
        spans.append(Speech(utterance, start, end))
        spans.append(Text(word.text if i == 0 else " " + word.text, loss=True))
    return *spans, Text(chat.end, loss=True)


def message(parts: list[str | Utterance], chat: Chat) -> SpanSequence:
    """A user message of alternating written and spoken parts, up to the start of the answer."""
    spans: list[Text | Speech] = []
    written = chat.before
    for i, part in enumerate(parts):
        gap = " " if i else ""
        if isinstance(part, Utterance):
            spans.append(Text(written + gap))
            spans.append(Speech(part, 0, num_frames(part, chat.frame_samples)))
            written = ""
        else:
            written += gap + part
    return *spans, Text(written + chat.after)


def question(passage: str, prompt: str, answer: str, chat: Chat) -> SpanSequence:
    """A written question about a written passage: Text(prompt) Text(answer)*."""
    return *message([passage, prompt], chat), Text(answer + chat.end, loss=True)


_SOUNDS = ("aeiouy", "bpv", "dt", "gkcq", "fv", "szcx", "mn", "lrw", "jgy", "h")


def spell_by_ear(text: str, rng: random.Random, words: float, characters: float = 0.25) -> str:
    """Misspell a share of the words: letters are replaced by others of similar sound.

    Args:
        words: share of words to misspell.
        characters: share of a misspelt word's letters to replace; a third as many are dropped, and
            a tenth of the misspelt words are split in two.
    """
    heard: list[str] = []
    for word in text.split():
        if rng.random() >= words:
            heard.append(word)
            continue
        letters = ""
        for letter in word:
            chance = rng.random()
            alike = [x for sounds in _SOUNDS if letter in sounds for x in sounds if x != letter]
            if chance < characters and alike:
                letters += rng.choice(alike)
            elif chance < characters * 4 / 3 and len(word) > 3:
                continue
            else:
                letters += letter
        if len(letters) > 4 and rng.random() < 0.1:
            cut = rng.randrange(2, len(letters) - 1)
            letters = f"{letters[:cut]} {letters[cut:]}"
        heard.append(letters or word)
    return " ".join(heard)


def add_noise(
    text: str,
    rng: random.Random,
    words: float = 0.15,
    characters: float = 0.3,
    duplicates: float = 0.1,
) -> str:
    """Corrupt text as in arXiv 2601.20900.

    Args:
        words: share of words to corrupt.
        characters: share of a corrupted word's characters to substitute.
        duplicates: share of words to repeat.
    """
    noisy: list[str] = []
    for word in text.split():
        heard = word
        if rng.random() < words:
            heard = "".join(
                rng.choice(string.ascii_lowercase) if rng.random() < characters else c for c in word
            )
        noisy.append(heard)
        if rng.random() < duplicates:
            noisy.append(heard)
    return " ".join(noisy)
