"""The spoken test sets that come with the domains are whole, and say what the text says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import audio_info

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["general", "legal", "medical"])
def test_recordings_are_whole_and_of_the_domains_text(name: str) -> None:
    folder = ROOT / "domains" / name / "test"
    lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    found = {entry["audio_filepath"] for entry in entries}
    assert found == {path.name for path in folder.glob("*.ogg")}
    assert len(found) == len(entries) >= 30
    assert len({entry["speaker"] for entry in entries}) == 8
    # A text that changed without its recordings is found out by its number.
    texts = Domain.load(folder.parent).text("test")
    for entry in entries:
        assert entry["text"] == texts[int(Path(entry["audio_filepath"]).stem) - 1]
    for entry in entries:
        info = audio_info(folder / entry["audio_filepath"])
        assert (info.sampling_rate, info.num_channels) == (16000, 1)
        assert info.duration == pytest.approx(entry["duration"], abs=1e-3)
    assert sum((folder / file).stat().st_size for file in found) < 2_500_000
