"""Spoken test sets: recordings first, else spoken once, cached, and made again if damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.alignment import word_items
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.speech import cache, spoken
from asr_llm.corpus.speech.spoken import spoken_set, vary_delivery
from asr_llm.corpus.speech.synthesis import suggested_voice, synthesize
from asr_llm.errors import AsrLlmError, DomainError, SynthesisError

TEXTS = ["The pump is loud.", "Turn the CPAP off - please.", "Is the filter clean?"]
YAML = """\
name: sleep
language: en
labels: {DEVICE: A device}
voices:
  test: [en-us+Annie, en-gb-x-rp+m2]
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "sleep"
    for name, content in {
        "domain.yaml": YAML,
        "text.txt": "We talk about sleep.\n",
        "test/text.txt": "\n".join(TEXTS) + "\n",
        "terms/device.tsv": "CPAP\tsee pap\n",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


def test_sentences_are_spoken_by_the_voices_in_turn(folder: Path) -> None:
    cuts = list(spoken_set(Domain.load(folder), "test"))
    assert [cut.id for cut in cuts] == ["sleep-test-0001", "sleep-test-0002", "sleep-test-0003"]
    said = [cut.supervisions[0] for cut in cuts]
    assert [s.text for s in said] == TEXTS
    assert [s.speaker for s in said] == ["en-us+Annie", "en-gb-x-rp+m2", "en-us+Annie"]
    assert {s.language for s in said} == {"en"}
    for cut, text in zip(cuts, TEXTS):
        words = cut.supervisions[0].alignment["word"]
        assert [word.symbol for word in words] == text.split()
        assert all(0 <= word.start <= word.end <= cut.duration for word in words)
        assert cut.sampling_rate == 16000 and cut.num_samples == len(cut_audio(cut))


def test_terms_are_spoken_as_respelled(folder: Path) -> None:
    cut = list(spoken_set(Domain.load(folder), "test"))[1]
    expected = synthesize(
        TEXTS[1], "en-gb-x-rp+m2", vary_delivery(TEXTS[1]), "Turn the see pap off - please."
    )
    assert np.abs(cut_audio(cut) - expected.samples).max() < 1e-4  # 16 bits
    assert cut.supervisions[0].alignment["word"][2].start == pytest.approx(expected.words[2].start)


def test_delivery_varies_mildly_and_is_fixed_by_the_text() -> None:
    deliveries = [vary_delivery(f"Sentence {i}.") for i in range(300)]
    assert deliveries == [vary_delivery(f"Sentence {i}.") for i in range(300)]
    assert {d.rate for d in deliveries} == set(range(150, 186))
    assert {d.pitch for d in deliveries} == set(range(40, 61))


def test_nothing_is_spoken_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = spoken_set(Domain.load(folder), "test").to_eager()
    monkeypatch.setattr(spoken, "synthesize", None)
    assert list(spoken_set(Domain.load(folder), "test")) == list(first)
    assert [(entry.kind, entry.count) for entry in cache.entries()] == [("spoken", 6)]


def test_only_what_changed_is_spoken_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken_set(Domain.load(folder), "test")
    calls = count_calls(monkeypatch)
    (folder / "terms/device.tsv").write_text("CPAP\tsee pee ay pee\n")
    spoken_set(Domain.load(folder), "test")
    assert calls == [TEXTS[1]]
    monkeypatch.setattr(spoken, "synthesiser", lambda voice: "espeakng-loader 99")
    spoken_set(Domain.load(folder), "test")
    assert calls == [TEXTS[1], *TEXTS]


@pytest.mark.parametrize("suffix", [".flac", ".json"])
@pytest.mark.parametrize("damage", ["delete", "empty", "truncate", "flip"])
def test_damaged_entries_are_regenerated(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, damage: str
) -> None:
    before = [cut_audio(cut) for cut in spoken_set(Domain.load(folder), "test")]
    path = sorted((own_cache / "spoken").glob(f"*{suffix}"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    half = path.read_bytes()[: len(content) // 2]
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "truncate": half, "flip": bytes(content)}[damage])
    calls = count_calls(monkeypatch)
    after = [cut_audio(cut) for cut in spoken_set(Domain.load(folder), "test")]
    assert len(calls) == 1
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert {p.suffix for p in (own_cache / "spoken").iterdir()} == {".flac", ".json", ".TAG"}


def test_entries_are_private_to_the_user(folder: Path, own_cache: Path) -> None:
    spoken_set(Domain.load(folder), "test")
    entries = [p for p in (own_cache / "spoken").iterdir() if p.suffix in (".flac", ".json")]
    assert {path.stat().st_mode & 0o777 for path in entries} == {0o600}
    facts = [json.loads(p.read_text()) for p in entries if p.suffix == ".json"]
    assert {fact["text"] for fact in facts} == set(TEXTS)
    assert "Turn the see pap off - please." in {fact["spoken"] for fact in facts}
    assert {soundfile.info(p).samplerate for p in entries if p.suffix == ".flac"} == {16000}


def test_recordings_are_preferred(folder: Path, own_cache: Path) -> None:
    soundfile.write(folder / "test/a.wav", np.full(8000, 0.1, np.float32), 16000)
    (folder / "test/trans.txt").write_text("a.wav\tThe real thing.\n")
    (cut,) = spoken_set(Domain.load(folder), "test")
    assert cut.supervisions[0].text == "The real thing."
    assert not own_cache.exists()
    spoken = spoken_set(Domain.load(folder), "test", recorded=False)
    assert "The real thing." in {cut.supervisions[0].text for cut in spoken}
    assert all(word_items(cut) for cut in spoken)


def test_without_voices_it_says_what_to_add(folder: Path) -> None:
    (folder / "dev").mkdir()
    (folder / "dev/text.txt").write_text("Hello.\n")
    with pytest.raises(DomainError) as error:
        spoken_set(Domain.load(folder), "dev")
    assert "domain.yaml: no voices for dev, and no recordings in" in str(error.value)
    assert f"voices: {{dev: [{suggested_voice()}]}}" in str(error.value)


def test_without_sentences_it_says_what_was_expected(folder: Path) -> None:
    (folder / "test/text.txt").unlink()
    with pytest.raises(DomainError, match=r"no test sentences to speak; expected test/text.txt"):
        spoken_set(Domain.load(folder), "test")


def test_an_unknown_voice_names_the_file(folder: Path) -> None:
    (folder / "domain.yaml").write_text(YAML.replace("Annie", "Nobody"))
    with pytest.raises(SynthesisError, match=r"domain.yaml: voices: test: no .* 'en-us\+Nobody'"):
        spoken_set(Domain.load(folder), "test")


def test_no_voice_is_left(folder: Path) -> None:
    (folder / "domain.yaml").write_text(YAML.split("  test")[0] + "  test: [en-us, '!en-us']\n")
    with pytest.raises(DomainError, match=r"patterns exclude every voice"):
        spoken_set(Domain.load(folder), "test")


def test_a_sentence_that_cannot_be_spoken_is_named_by_its_id(folder: Path) -> None:
    (folder / "test/text.txt").write_text("Fine.\n...\n")
    with pytest.raises(SynthesisError, match=r"^sleep-test-0002, sentence 2: voice .* no speech"):
        spoken_set(Domain.load(folder), "test")


def test_a_cache_that_cannot_be_written(folder: Path, own_cache: Path) -> None:
    own_cache.write_text("in the way")
    with pytest.raises(AsrLlmError, match=r"set ASR_LLM_CACHE"):
        spoken_set(Domain.load(folder), "test")


def test_a_full_disk(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(AsrLlmError, match=r"cannot write to the cache .No space left on device"):
        spoken_set(Domain.load(folder), "test")
    assert [p.name for p in (own_cache / "spoken").iterdir()] == ["CACHEDIR.TAG"]


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts which are synthesised from now on."""
    calls: list[str] = []

    def count(text: str, *args: object) -> object:
        calls.append(text)
        return synthesize(text, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(spoken, "synthesize", count)
    return calls
