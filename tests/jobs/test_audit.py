"""The audit of a vocabulary, by its command; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asr_llm.cli import app
from asr_llm.corpus.speech import hibari
from asr_llm.corpus.speech.synthesis import held_out_voices, select_voices, synthesize
from asr_llm.errors import DomainError, SynthesisError
from asr_llm.jobs import audit as job
from asr_llm.transcription.speech_llm import SpeechLLM

YAML = """\
name: shop
labels: {DRINK: A drink., DEVICE: A machine.}
voices: {dev: [en-us+linda, en-gb-x-rp, en-us], test: [en-us+Annie]}
"""
FILES = {
    "domain.yaml": YAML,
    "text.txt": "Two teas and a lungo.\nA lungo, please.\n",
    "terms/drink.tsv": "lungo\nflat white\n",
    "terms/device.tsv": "CPAP\tsee pap\n",
    "entities.jsonl": '{"label": "DRINK", "pattern": "lungo"}\n'
    '{"label": "DEVICE", "pattern": "mill  X2"}\n'
    '{"label": "DRINK", "pattern": [{"LOWER": "tea"}]}\n',
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "shop"
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content, "utf-8")
    return path


class Recogniser:
    """Hears "lungo" rightly from one voice, and with a list "flat white" from all."""

    def __init__(self) -> None:
        self.preferred: Any = None
        self.asked: list[list[tuple[str, str]]] = []

    def prefer(self, biasing: Any) -> None:
        self.preferred = biasing

    def transcribe_cuts(self, cuts: Any, progress: Any = None) -> dict[str, str]:
        said = {cut.id: (cut.supervisions[0].text, cut.supervisions[0].speaker) for cut in cuts}
        self.asked.append(list(said.values()))
        return {i: self.heard(*spoken) for i, spoken in said.items()}

    def heard(self, text: str, voice: str) -> str:
        if voice != "en-us+linda":
            text = text.replace("lungo", "long go")
        if self.preferred is None:
            text = text.replace("flat white", "flight")
        return text.replace("CPAP", "see pap").replace("mill X2", "milk to")


@pytest.fixture
def recogniser(monkeypatch: pytest.MonkeyPatch) -> Recogniser:
    fake = Recogniser()
    monkeypatch.setattr(SpeechLLM, "load", lambda *args, **options: fake)
    return fake


def test_audit(folder: Path, recogniser: Recogniser) -> None:
    found = job.audit(folder)
    assert found.voices == ("en-us+linda", "en-gb-x-rp")  # two of those that speak dev
    assert found.carriers == job.CARRIERS
    once, again = recogniser.asked
    assert len(once) == 4 * 4 and len(set(once)) == 16  # each term in each sentence and voice
    assert len(again) == 16 - 2  # what was missed
    assert set(recogniser.preferred.phrases) == {"lungo", "flat white", "CPAP", "mill X2"}
    said = {term.text: (term.right, term.right_with_list, term.helps) for term in found.terms}
    assert said == {
        "flat white": (0, 4, ("list",)),
        "CPAP": (0, 0, ("text",)),
        "mill X2": (0, 0, ("spoken form", "text")),
        "lungo": (2, 2, ("text",)),
    }
    assert {term.text: term.sentences for term in found.terms}["lungo"] == 2


def test_terms_are_spoken_as_they_are_said(
    folder: Path, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str | None] = []

    def noted(text: str, voice: str, delivery: Any, spoken: str | None = None) -> Any:
        given.append(spoken)
        return synthesize(text, voice, delivery, spoken)

    monkeypatch.setattr("asr_llm.corpus.speech.spoken.synthesize", noted)
    stimuli = job.Stimuli(["en-us"], ["Use the {term} now."])
    job.audit(folder, only=["CPAP"], stimuli=stimuli)
    assert given == ["Use the see pap now."]


def test_invalid_audits_are_rejected(folder: Path, recogniser: Recogniser) -> None:
    for carrier in ("no place", "{term} and {term}"):
        with pytest.raises(DomainError, match=r"expected \{term\} exactly once"):
            job.audit(folder, stimuli=job.Stimuli(carriers=[carrier]))
    with pytest.raises(SynthesisError, match="no espeak-ng voice matches 'nobody'"):
        job.audit(folder, stimuli=job.Stimuli(["nobody"]))
    with pytest.raises(DomainError, match="no terms to audit"):
        job.audit(folder, only=[])
    (folder / "domain.yaml").write_text(YAML + "language: de\n", "utf-8")
    with pytest.raises(DomainError, match=r"the language is 'de'.*--carrier"):
        job.audit(folder)
    assert recogniser.asked == []


def test_domains_without_voices_are_spoken_by_ours(
    folder: Path, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "domain.yaml").write_text(YAML.split("voices")[0], "utf-8")
    if hibari.is_installed():
        held_out = select_voices(held_out_voices("dev"))
        assert job.audit(folder, only=["lungo"]).voices == held_out[:2]
    monkeypatch.setattr(hibari, "is_installed", lambda: False)
    assert job.audit(folder, only=["lungo"]).voices == job.VOICES


def test_the_command(folder: Path, recogniser: Recogniser, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "audit.html"
    done = CliRunner().invoke(app, ["domain", "audit", str(folder), "--report", str(page)])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    said = (
        "speaking 4 terms, each in 2 sentences by 2 voices, and decoding 16 recordings with "
        "mini: this can take some minutes\n"
    )
    assert said in done.stderr
    assert lines[-1] == "4 of 4 terms are likely to be misheard by mini; a list helps 1 of them"
    (row,) = [line.split() for line in lines if "flat white" in line]
    assert row == ["flat", "white", "DRINK", "0/4", "flight", "4/4", "0", "list"]
    assert "4 of 4 terms are likely to be misheard" in page.read_text("utf-8")
    done = CliRunner().invoke(app, ["domain", "audit", str(folder), "--json"])
    assert {term["text"] for term in json.loads(done.stdout)["terms"]} == {
        "lungo", "flat white", "CPAP", "mill X2",
    }  # fmt: skip


def test_with_a_model(folder: Path, lively: Path) -> None:
    """Decoded in earnest, by a model that writes nonsense."""
    found = job.audit(folder, model=str(lively), only=["lungo"], num_beams=1)
    (term,) = found.terms
    assert (term.right, term.said, term.misheard) == (0, 4, True)
    assert term.heard
