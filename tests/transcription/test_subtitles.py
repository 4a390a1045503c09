"""Cues that can be read: how long, how wide, how fast, where they are cut."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.transcription.subtitles import Cue, Layout, cues
from asr_llm.transcription.transcript import Segment, Transcript, Word

_SPACE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def transcript(*segments: Segment, duration: float) -> Transcript:
    return Transcript(Path("a.wav"), duration, segments, "mini")


def spoken(text: str, times: list[tuple[float, float]]) -> Segment:
    words = tuple(Word(w, *t) for w, t in zip(text.split(), times, strict=True))
    return Segment(words[0].start, words[-1].end, text, words)


def steady(text: str, per_character: float, start: float = 0.0) -> Segment:
    """Words one after the other, each as long as its characters and a space."""
    times = []
    for word in text.split():
        times.append((start, start + len(word) * per_character))
        start += (len(word) + 1) * per_character
    return spoken(text, times)


def test_a_short_sentence_is_one_cue() -> None:
    found = cues(transcript(Segment(0.5, 2.5, "Good morning."), duration=3.0))
    assert found == [Cue(500, 2500, ("Good morning.",))]


def test_nothing_said_is_nothing_shown() -> None:
    assert cues(transcript(duration=3.0)) == []
    assert cues(transcript(Segment(0, 1, " "), duration=3.0)) == []


def test_two_lines_of_like_length() -> None:
    """59 characters: 42 + 16 would do, 29 + 29 reads better."""
    text = "The patient was started on metformin ten milligrams daily."
    (cue,) = cues(transcript(Segment(0, 4, text), duration=4.0))
    assert cue.lines == ("The patient was started on", "metformin ten milligrams daily.")


def test_cut_after_a_sentence_and_not_within() -> None:
    one, other = (
        "She takes ten milligrams at bedtime and sleeps well now.",
        "He does not sleep at all, he says.",
    )
    found = cues(transcript(steady(f"{one} {other}", 0.06), duration=7.0))
    assert [" ".join(cue.lines) for cue in found] == [one, other]


def test_cut_at_a_pause_and_shown_on_into_it() -> None:
    """Without a mark to cut at; the first cue stays to be read, not for all of the pause."""
    first = steady("the court would hear the appeal of the defendant", 0.05)
    second = steady("and the clerk wrote down whatever they said there", 0.05, first.end + 3)
    words = first.words + second.words
    segment = Segment(0.0, second.end, f"{first.text} {second.text}", words)
    found = cues(transcript(segment, duration=second.end))
    assert [" ".join(cue.lines) for cue in found] == [first.text, second.text]
    # 48 characters at 17 a second are 2.8 s (a line's end is not counted); they took 2.4 s.
    assert (found[0].start, found[0].end) == (0, 2764)
    assert found[1].start == 5400


def test_a_brief_word_stays_for_a_second_where_there_is_room() -> None:
    yes, no = spoken("Yes.", [(0.0, 0.2)]), spoken("No.", [(9.8, 9.9)])
    assert cues(transcript(yes, no, duration=10.0)) == [
        Cue(0, 1000, ("Yes.",)),
        Cue(9800, 10000, ("No.",)),
    ]


def test_without_word_times_characters_count() -> None:
    """100 characters in 20 s, 5 a second: cues of at most 7 s, which 35 characters fill."""
    text = " ".join(["nine char"] * 10)
    found = cues(transcript(Segment(0, 20, text), duration=20.0))
    assert max(cue.end - cue.start for cue in found) <= 7000
    assert found[0].start == 0 and found[-1].end == 20000
    before = 0
    for cue in found:
        assert cue.start == 20000 * before // 99
        before += len(" ".join(cue.lines)) + 1


def test_word_times_that_do_not_say_the_same_are_not_used() -> None:
    segment = Segment(0, 2, "one two", (Word("one", 0.0, 0.1),))
    (cue,) = cues(transcript(segment, duration=2.0))
    assert cue == Cue(0, 2000, ("one two",))


def test_a_word_longer_than_a_line_goes_on_in_the_next() -> None:
    (cue,) = cues(transcript(Segment(0, 3, "abcdefgh ij"), duration=3.0), Layout(5, 3))
    assert cue.lines == ("abcde", "fgh", "ij")
    one = cues(transcript(Segment(0, 3, "abcdefgh ij"), duration=3.0), Layout(5, 1))
    assert [c.lines for c in one] == [("abcde",), ("fgh",), ("ij",)]


def test_common_speech_is_never_too_fast() -> None:
    """15 characters a second, a pause after each sentence."""
    sentences = [
        "Good morning, what brings you here today?",
        "I have had a cough for about three weeks, and it keeps me awake at night.",
        "Do you smoke, or did you ever smoke, or does anybody at home or at work smoke near you?",
        "No.",
        "Then we listen to your lungs first, we take a blood sample, and you come back on Monday.",
    ]
    segments, start = [], 0.0
    for sentence in sentences:
        segments.append(steady(sentence, 1 / 15, start))
        start = segments[-1].end + 0.5
    for cue in cues(transcript(*segments, duration=start)):
        characters = sum(map(len, cue.lines))
        assert characters / (cue.end - cue.start) * 1000 <= 20, cue
        assert cue.end - cue.start >= 500


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Segments in order, at most 40 words a second, some of the words timed."""
    chars = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
    long = st.text("abc", min_size=30, max_size=90)
    at, segments = 0.0, []
    for _ in range(draw(st.integers(0, 4))):
        texts = " ".join(draw(st.lists(st.one_of(chars, long), max_size=25))).split()
        start = at + draw(st.floats(0, 3))
        length = draw(st.floats(0.1, 1.0)) * max(1, len(texts)) / 2
        at = start + length
        words: tuple[Word, ...] = ()
        if draw(st.booleans()):
            points = st.lists(
                st.floats(start, at), min_size=2 * len(texts), max_size=2 * len(texts)
            )
            times = sorted(draw(points))
            words = tuple(Word(t, *times[2 * i : 2 * i + 2]) for i, t in enumerate(texts))
        segments.append(Segment(start, at, " ".join(texts), words))
    return transcript(*segments, duration=round(at + draw(st.floats(0, 2)), 3) + 0.001)


@given(transcripts(), st.integers(5, 60), st.integers(1, 3))
def test_all_that_cues_promise(said: Transcript, width: int, count: int) -> None:
    found = cues(said, Layout(width, count))
    shown = "".join("".join(cue.lines) for cue in found)
    assert "".join(shown.split()) == "".join(_SPACE.sub("", said.text).split())
    for cue in found:
        assert 0 < len(cue.lines) <= count
        assert all(0 < len(line) <= width for line in cue.lines)
        assert 0 <= cue.start < cue.end <= said.duration * 1000
        assert cue.end - cue.start <= 7000 or len(" ".join(cue.lines).split()) == 1
    for one, other in pairwise(found):
        assert one.end <= other.start


@pytest.mark.parametrize("duration", [0.05, 1.0])
def test_segments_beyond_the_end_and_over_each_other(duration: float) -> None:
    """Should a model's times be wrong, subtitles still follow each other inside the audio."""
    segments = [Segment(0.0, 5.0, "one."), Segment(0.0, 5.0, "two."), Segment(9.0, 9.0, "three.")]
    found = cues(transcript(*segments, duration=duration))
    assert [cue.lines for cue in found] == [("one.",), ("two.",), ("three.",)]
    assert all(0 <= cue.start < cue.end <= duration * 1000 for cue in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
