"""Tasks: the exact spans of each, and what noise does."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.corpus.speech.synthesis import Utterance, Word
from asr_llm.sequences import tasks
from asr_llm.sequences.spans import SpanSequence, Speech, Text
from asr_llm.sequences.tasks import Chat, add_noise

CHAT = Chat("<u>", "</u><a>", "</a>", "Write: {audio}!", frame_samples=1280, sample_rate=16000)
SPEECH = Utterance(
    "The CPAP, please.",
    "ann",
    np.ones(1280 * 10 + 1, np.float32),
    (Word("The", 0.1, 0.2), Word("CPAP,", 0.25, 0.5), Word("please.", 0.56, 0.8)),
)


def lost(sequence: SpanSequence) -> str:
    return "".join(span.text for span in sequence if isinstance(span, Text) and span.loss)


def test_the_prompt_around_the_audio() -> None:
    assert CHAT.around_audio() == ("<u>Write: ", "!</u><a>")


def test_a_first_pass_ends_the_message() -> None:
    chat = replace(CHAT, first_pass_prompt=" Heard: {first_pass}.")
    assert chat.around_audio("a cpap") == ("<u>Write: ", "! Heard: a cpap.</u><a>")
    assert chat.around_audio("{audio}")[1] == "! Heard: {audio}.</u><a>"
    for chat_of, heard in ((chat, None), (chat, ""), (CHAT, "a cpap")):
        assert chat_of.around_audio(heard) == ("<u>Write: ", "!</u><a>")
    naming = replace(chat, biasing_prompt="Of {words}: {audio}").naming(["CPAP"])
    assert tasks.asr(replace(SPEECH, first_pass="a cpap"), naming)[2] == Text(
        " Heard: a cpap.</u><a>"
    )


def test_asr() -> None:
    assert tasks.asr(SPEECH, CHAT) == (
        Text("<u>Write: "),
        Speech(SPEECH, 0, 11),
        Text("!</u><a>"),
        Text("The CPAP, please.</a>", loss=True),
    )


def test_text_only() -> None:
    assert tasks.text_only("Hello there.", CHAT) == (Text("Hello there.</a>", loss=True),)


def test_word_synchronous() -> None:
    # Starts at 0, 0.25 / 0.08 = 3.1 and 0.56 / 0.08 = 7 frames.
    assert tasks.word_synchronous(SPEECH, CHAT) == (
        Text("<u>Write: !</u><a>"),
        Speech(SPEECH, 0, 3),
        Text("The", loss=True),
        Speech(SPEECH, 3, 7),
        Text(" CPAP,", loss=True),
        Speech(SPEECH, 7, 11),
        Text(" please.", loss=True),
        Text("</a>", loss=True),
    )


def test_word_synchronous_needs_timed_words_and_frames_for_them() -> None:
    untimed = Utterance(SPEECH.text, "ann", SPEECH.samples)
    short = Utterance(SPEECH.text, "ann", SPEECH.samples[:2000], SPEECH.words)
    assert tasks.word_synchronous(untimed, CHAT) is None
    assert tasks.word_synchronous(short, CHAT) is None


def test_denoise_puts_noisy_text_where_speech_would_be() -> None:
    text = "The patient was started on metformin. " * 5
    noisy = add_noise(text, random.Random(7))
    assert tasks.denoise(text, CHAT, random.Random(7)) == (
        Text("<u>Write: "),
        Text(noisy),
        Text("!</u><a>"),
        Text(text + "</a>", loss=True),
    )
    assert noisy != text


def test_restore_takes_case_and_punctuation_away() -> None:
    text = "Dr. O'Neill's follow-up, at last!"
    no_noise = random.Random()
    no_noise.random = lambda: 0.99  # type: ignore[method-assign]
    assert tasks.restore(text, CHAT, no_noise) == (
        Text("<u>Write: "),
        Text("dr o'neill's follow up at last"),
        Text("!</u><a>"),
        Text(text + "</a>", loss=True),
    )


def test_question() -> None:
    assert tasks.question("Ann has a cat.", "Who has it?", "Ann.", CHAT) == (
        Text("<u>Ann has a cat. Who has it?</u><a>"),
        Text("Ann.</a>", loss=True),
    )


def test_the_loss_is_on_the_transcript_and_its_end_alone() -> None:
    rng = random.Random(1)
    expected = SPEECH.text + "</a>"
    for sequence in (
        tasks.asr(SPEECH, CHAT),
        tasks.text_only(SPEECH.text, CHAT),
        tasks.denoise(SPEECH.text, CHAT, rng),
        tasks.restore(SPEECH.text, CHAT, rng),
        tasks.word_synchronous(SPEECH, CHAT),
    ):
        assert sequence is not None
        assert lost(sequence) == expected


def test_noise_without_probability_changes_nothing() -> None:
    assert add_noise("Ann  has\ta cat.", random.Random(1), 0, 0, 0) == "Ann has a cat."
    assert add_noise("", random.Random(1)) == ""


def test_noise_in_full_replaces_every_letter() -> None:
    noisy = add_noise("ABC DEFG", random.Random(1), words=1, characters=1, duplicates=1)
    a, b, c, d = noisy.split()
    assert (a, c) == (b, d)
    assert (len(a), len(c)) == (3, 4)
    assert set(a + c) <= set(string.ascii_lowercase)


def test_noise_has_the_shares_it_is_given() -> None:
    # Words of one capital each tell what became of every word and every character.
    count = 20_000
    words = ["ABCDEFGHIJ"] * count
    noisy = add_noise(" ".join(words), random.Random(5)).split()
    assert len(noisy) / count == pytest.approx(1.10, abs=0.01)  # said twice
    corrupted = [w for w in noisy if w != "ABCDEFGHIJ"]
    # A word picked for corruption escapes where none of its ten characters is picked.
    assert len(corrupted) / len(noisy) == pytest.approx(0.15 * (1 - 0.7**10), abs=0.01)
    changed = sum(c.islower() for w in corrupted for c in w)
    share = changed / (10 * len(corrupted)) * (1 - 0.7**10)
    assert share == pytest.approx(0.3, abs=0.01)
    assert all(len(w) == 10 for w in noisy)


def test_noise_is_a_function_of_its_generator() -> None:
    text = "one two three four five six seven eight nine ten " * 3
    assert add_noise(text, random.Random(4)) == add_noise(text, random.Random(4))
    assert add_noise(text, random.Random(4)) != add_noise(text, random.Random(5))


# Spelling by ear -----------------------------------------------------------------------


def test_no_word_is_misspelt_where_none_is_asked_for() -> None:
    assert tasks.spell_by_ear("the heart rate", random.Random(0), words=0.0) == "the heart rate"


def test_letters_are_taken_for_others_of_their_sound() -> None:
    heard = tasks.spell_by_ear("bad", random.Random(3), words=1.0, characters=1.0)
    assert len(heard) == 3
    assert heard[0] in "pv"
    assert heard[1] in "eiouy"
    assert heard[2] == "t"


@given(st.lists(st.from_regex(r"[a-z]{1,12}", fullmatch=True), min_size=1), st.integers(0, 99))
def test_misspelt_text_keeps_its_words_in_order(words: list[str], seed: int) -> None:
    heard = tasks.spell_by_ear(" ".join(words), random.Random(seed), words=0.5).split()
    assert len(words) <= len(heard) <= 2 * len(words)


def test_misheard_puts_the_written_text_right() -> None:
    text = "Dr. Smith gave two doses."
    head, noisy, tail, answer = tasks.misheard(text, CHAT, random.Random(1), words=0.0)
    assert noisy == Text("dr smith gave two doses")
    assert answer == Text(text + CHAT.end, loss=True)
    assert not (head.loss or tail.loss)
