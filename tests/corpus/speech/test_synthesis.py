"""espeak-ng: word times, the same samples for the same call, and what goes wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.synthesis import (
    Delivery,
    Utterance,
    espeak_voices,
    select_voices,
    share_time,
    synthesiser,
    synthesize,
    training_voices,
)
from asr_llm.errors import SynthesisError


def check_words(utterance: Utterance) -> None:
    """One Word for each white-space word, in order, apart, and within the audio."""
    words = utterance.words
    assert [word.text for word in words] == utterance.text.split()
    edges = [time for word in words for time in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[0] >= 0 and edges[-1] <= utterance.duration
    assert utterance.samples.dtype == np.float32
    assert np.abs(utterance.samples).max() <= 1


def lengths(text: str, spoken: str | None = None) -> dict[str, float]:
    utterance = synthesize(text, "en-us", spoken=spoken)
    check_words(utterance)
    return {word.text: word.end - word.start for word in utterance.words}


def test_a_sentence_is_timed() -> None:
    utterance = synthesize("Hello there. Good morning, doctor.", "en-us+Annie")
    check_words(utterance)
    assert utterance.speaker == "en-us+Annie"
    there, good = utterance.words[1:3]
    assert good.start - there.end > 0.15  # the pause between sentences belongs to neither
    assert utterance.duration - utterance.words[-1].end < 0.5
    pause = utterance.samples[int(there.end * SAMPLE_RATE) : int(good.start * SAMPLE_RATE) - 160]
    assert np.abs(pause).max() < 0.01


@pytest.mark.parametrize(
    "text",
    [
        "The café served naïve guests a résumé.",
        "Her well-known follow-up is twenty-five days long.",
        "She takes 25 mg of it, 3.5 times in 1990.",
        "don't we've o'clock it's 'quoted' \"words\"",
        "Smith et al. vs. Jones, A. B. C. test",
        "the the the the very very same same",
        "a\tb  c\nd",
        "日本 hello 😀 there",
        "nul\0inside and \x01control",
        "one two three",
    ],
)
def test_every_word_takes_time(text: str) -> None:
    assert all(seconds > 0.02 for seconds in lengths(text).values())


@pytest.mark.parametrize("text", ["came - and left", "came — and left", "came ... and left"])
def test_lone_punctuation_takes_no_time(text: str) -> None:
    times = lengths(text)
    assert times.pop(text.split()[1]) == 0
    assert all(seconds > 0.1 for seconds in times.values())


def test_punctuation_at_either_end_takes_no_time() -> None:
    times = lengths("- well said .")
    assert (times["-"], times["."]) == (0, 0)


def test_symbols_that_are_spoken_take_time() -> None:
    assert lengths("R & D")["&"] > 0.1


def test_words_run_together_share_their_time() -> None:
    times = lengths("he is in the garden")  # espeak-ng has one event for "in the"
    assert times["in"] > 0.03 and times["the"] > 0.03


def test_characters_are_counted_not_bytes() -> None:
    plain = synthesize("cafe cafe cafe then left", "en-us").words[3]
    accented = synthesize("café café café then left", "en-us").words[3]
    assert accented.text == "then" and accented.start > 0.8
    assert accented.end - accented.start == pytest.approx(plain.end - plain.start, abs=0.05)


def test_respelled_terms_keep_their_time() -> None:
    text = "The CPAP was set and the CPAP ran."
    utterance = synthesize(text, "en-us", spoken=text.replace("CPAP", "see pap"))
    check_words(utterance)
    said = synthesize(text.replace("CPAP", "see pap"), "en-us").words
    assert np.array_equal(
        utterance.samples, synthesize(text.replace("CPAP", "see pap"), "en-us").samples
    )
    shown = utterance.words
    assert shown[1].start == said[1].start and shown[1].end == said[2].end
    assert shown[6].start == said[7].start and shown[6].end == said[8].end
    assert shown[-1] == said[-1]


def test_a_term_of_two_words_shares_the_time_of_one() -> None:
    times = lengths("in New York today", spoken="in nooyork today")
    assert times["New"] == pytest.approx(times["York"] * 3 / 4, rel=0.01)


def test_two_thousand_words_do_not_drift() -> None:
    utterance = synthesize("The naïve cat sat - down. " * 400, "en-us", Delivery(rate=250))
    check_words(utterance)
    assert len(utterance.words) == 2400
    loud = np.abs(utterance.samples) > 0.01
    for word in utterance.words[6::6]:  # each follows a pause and begins with a sound
        start = round(word.start * SAMPLE_RATE)
        assert not loud[start - 800 : start - 80].any()
        assert loud[start : start + 1600].any()


ascii_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ascii_words, min_size=1, max_size=8).map(" ".join),
    st.sampled_from(["en-us", "en-gb-x-rp+f2", "en-029+klatt"]),
    st.none() | st.lists(ascii_words, min_size=1, max_size=8).map(" ".join),
)
def test_any_words_are_timed(text: str, voice: str, spoken: str | None) -> None:
    try:
        utterance = synthesize(text, voice, spoken=spoken)
    except SynthesisError:
        assert not any(map(str.isalnum, spoken or text))
    else:
        check_words(utterance)


def test_the_same_call_gives_the_same_samples() -> None:
    """Whatever was spoken before: these voices have flutter, breath, echo, other synthesisers."""
    voices = [
        "en-us",
        "en-us+Annie",
        "en-us+whisper",
        "en-us+klatt5",
        "en-gb-x-rp+Reed",
        "en-us+f5",
    ]
    deliveries = [Delivery(), Delivery(rate=120, pitch=80, range=90)]
    calls = [(voice, delivery) for delivery in deliveries for voice in voices]
    text = "The patient's pressure, in twenty days, went down."
    first = {call: synthesize(text, *call) for call in calls}
    for call in reversed(calls):
        synthesize("Something else is said in between!", "en-029+croak", Delivery(pitch=10))
        again = synthesize(text, *call)
        assert np.array_equal(again.samples, first[call].samples), call
        assert again.words == first[call].words
    assert len({utterance.samples.tobytes() for utterance in first.values()}) == len(calls)


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"Patient number {i} was seen." for i in range(8)]
    expected = [synthesize(text, "en-us+m3") for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: synthesize(text, "en-us+m3"), texts))
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(expected, found))


@pytest.mark.parametrize("voice", ["xx", "", "en-us+Nobody", "en-us+", "en-us+../mb", "+Annie"])
def test_an_unknown_voice_is_named_and_does_no_harm(voice: str) -> None:
    before = synthesize("Good morning.", "en-us+Annie")
    with pytest.raises(SynthesisError, match=r"no voice '.*'; expected a name such as en-us"):
        synthesize("Good morning.", voice)
    assert np.array_equal(synthesize("Good morning.", "en-us+Annie").samples, before.samples)


@pytest.mark.parametrize("text", ["", " ", "...", "-", "( )"])
def test_nothing_to_say(text: str) -> None:
    with pytest.raises(SynthesisError, match=r"produced no speech for a text of"):
        synthesize(text, "en-us")


def test_loud_voices_are_clipped() -> None:
    peaks = [np.abs(synthesize("Oh no, go away!", v).samples).max() for v in espeak_voices()[:60]]
    assert max(peaks) <= 1 and min(peaks) > 0.05


def test_voices_are_selected_by_pattern() -> None:
    assert select_voices(["en-us", "en-us+m?", "!*+m1"])[:3] == ("en-us", "en-us+m2", "en-us+m3")
    assert select_voices(["piper:en_US-x-low", "a/b.onnx"]) == ("piper:en_US-x-low", "a/b.onnx")
    assert len(espeak_voices()) == len(set(espeak_voices())) > 700
    with pytest.raises(SynthesisError, match=r"no espeak-ng voice matches 'en-xx\+\*'"):
        select_voices(["en-xx+*"])


def test_time_is_shared_by_letters() -> None:
    assert share_time(["ab", "-", "cde,"], 1.0, 2.0) == pytest.approx([1.0, 1.4, 1.4])
    assert share_time(["-", "..."], 0.0, 4.0) == [0.0, 1.0]
    assert share_time([], 0.0, 1.0) == []


def test_the_synthesiser_has_a_version() -> None:
    assert synthesiser("en-us").startswith("espeakng-loader 0.")


def test_training_voices_are_people_but_for_those_held_out_in_any_accent() -> None:
    assert training_voices([])[0] == "en-*"
    patterns = training_voices(["en-us+Annie", "en-gb-x-rp", "a/b.onnx"])
    chosen = select_voices(patterns)
    assert "en-us" in chosen and "en-us+Andy" in chosen
    assert "en-gb-x-rp" not in chosen and "en-gb-x-rp+Andy" in chosen
    assert not [name for name in chosen if "Annie" in name or "whisper" in name]
