"""Domain folders that are damaged in many ways: what `check` passes is never refused later."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr_llm.corpus.domain.folder import Domain, check
from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.corpus.speech.synthesis import select_voices
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import DomainError
from asr_llm.evaluation.entities import EntityFinder

FILES = {
    "domain.yaml": "name: bikes\nlabels:\n  PART: a part\n  TOOL: a tool\n"
    "voices:\n  test: [en-us+Annie, en-gb-x-rp]\n",
    "text.txt": "# shop talk\nThe bottom bracket creaks.\nPass me the #2 spanner.\n",
    "templates.yaml": "sentences: {train: 5, dev: 2, test: 2}\nfillers:\n  state: [worn, bent]\n"
    "train:\n  - The {PART} is {state}.\ndev:\n  - Is the {PART} {state}?\n"
    "test:\n  - Bring a {TOOL} for the {PART}.\n",
    "terms/part.tsv": "derailleur\tdee ray lure\nbottom bracket\n",
    "terms/tool.csv": 'term,spoken\n"spanner, #2",spanner number two\ncassette key,\n',
    "entities.jsonl": '{"label": "TOOL", "pattern": [{"LOWER": "hex"}, {"LOWER": "key"}]}\n',
    "train/trans.txt": "a.wav\tThe rim is out of true.\n",
    "dev/metadata.jsonl": '{"file_name": "b.wav", "text": "Two spokes."}\n',
}


def make(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for place in ("train/a.wav", "dev/b.wav"):
        soundfile.write(folder / place, np.sin(np.arange(4000) / 9) / 4, 16000)
    return folder


def use(folder: Path) -> None:
    """All that adapting and evaluating build of a domain before a model hears anything."""
    domain = Domain.load(folder)
    for split in ("train", "dev", "test"):
        for text in domain.text(split):
            domain.spoken(text)
        assert select_voices(domain.voices(split) or ["en-us"])
        for cut in domain.recordings(split) or ():
            cut_audio(cut)
    terms = [term.text for terms in domain.terms().values() for term in terms]
    BiasingList(tuple(terms))
    EntityFinder(domain.patterns()).find("The bottom bracket, a hex key and 5 words.")
    if domain.text("test") or domain.recordings("test") is not None:
        assert len(spoken_set(domain, "test"))


Damage = Callable[[Path, st.DataObject], object]


def _flip(path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)


def _junk(path: Path, data: st.DataObject) -> None:
    lines = [
        "—",
        "\tspoken",
        '"open',
        "a\t—",
        "{",
        '{"label": "PART", "pattern": [{"LEMMA": "rim"}]}',
        '{"label": "TOOL", "pattern": "?!"}',
        '{"label": "TOOL", "pattern": [{"TEXT": {"REGEX": "(a"}}]}',
        '{"label": "TOOL", "pattern": [{"LOWER": "a", "OP": "{9999}"}]}',
        '{"file_name": "b.wav", "text": "\\ud800"}',
        '{"audio_filepath": "b.wav", "text": "x", "offset": 3}',
        '{"type": "MonoCut", "id": "x", "start": 0, "duration": 1, "recording": {"sources": []}}',
        "gone.wav\tNothing.",
        "name: ../up",
        "voices: {test: ['!en-us+Annie']}",
        "voices: {test: [piper:nobody-has-this]}",
        "  - '{PART'",
        "x: &a [*a]",
    ]
    path.write_bytes(path.read_bytes() + data.draw(st.sampled_from(lines)).encode() + b"\n")


def _empty(path: Path, data: st.DataObject) -> None:
    path.write_bytes(b"")


def _cut(path: Path, data: st.DataObject) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])


def _encode(path: Path, data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(["utf-16", "utf-16-le", "utf-8-sig", "cp037"]))
    path.write_bytes(path.read_bytes().decode("latin-1").encode(encoding, "replace"))


def _folder(path: Path, data: st.DataObject) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, data: st.DataObject) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, data: st.DataObject) -> None:
    path.unlink()
    path.symlink_to(data.draw(st.sampled_from(["/etc/passwd", "nowhere", path.name, "/dev/zero"])))


def _rename(path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["organ.tsv", "Part.tsv", "text.txt", "part.tsv.txt", "x.md"]))
    path.rename(path.with_name(name))


def _remove(path: Path, data: st.DataObject) -> None:
    path.unlink()


DAMAGES = [_flip, _junk, _empty, _cut, _encode, _folder, _pipe, _link, _rename, _remove]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    before = os.environ.get("ASR_LLM_CACHE")
    os.environ["ASR_LLM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("ASR_LLM_CACHE")
    if before is not None:
        os.environ["ASR_LLM_CACHE"] = before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_check_accepts_is_accepted_later(data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        make(folder)
        for _ in range(data.draw(st.integers(0, 2))):
            files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
            path = data.draw(st.sampled_from(files), label="file")
            data.draw(st.sampled_from(DAMAGES), label="damage")(path, data)
        try:
            errors = check(folder).errors
        except DomainError:
            return  # no domain.yaml
        if not errors:
            use(folder)
    finally:
        shutil.rmtree(folder)


def test_the_folder_itself_is_sound(tmp_path: Path) -> None:
    make(tmp_path)
    report = check(tmp_path)
    assert not report.errors
    assert report.terms == {"PART": 2, "TOOL": 2}
    assert report.comments == {str(tmp_path / "text.txt"): 1}
    use(tmp_path)
    assert json.loads(FILES["entities.jsonl"])["label"] == "TOOL"
