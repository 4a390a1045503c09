"""Shar folders: what is read, and when; damage is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from asr_llm.corpus.recordings.shar import INDEX, SharCuts, is_shar
from asr_llm.errors import AudioError, DomainError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As Lhotse writes it: six cuts, two in a shard, without an index."""
    cuts = []
    for n in range(6):
        path = tmp_path / f"{n}.wav"
        soundfile.write(path, np.full(1600, n / 100), 16000)
        cut = Recording.from_file(path, recording_id=str(n)).to_cut()
        cut.supervisions = [SupervisionSegment(str(n), str(n), 0.0, 0.1, text=f"text {n}")]
        cuts.append(cut.with_id(f"cut.{n}"))
    place = tmp_path / "shar"
    place.mkdir()
    CutSet.from_cuts(cuts).to_shar(place, fields={"recording": "wav"}, shard_size=2)
    return place


def test_lhotse_s_own_folder(folder: Path, tmp_path: Path) -> None:
    assert is_shar(folder)
    assert not is_shar(tmp_path)
    assert not is_shar(folder / "cuts.000000.jsonl.gz")
    cuts = SharCuts(folder)
    assert (len(cuts), cuts.sizes) == (6, [2, 2, 2])
    assert [cuts[i]["id"] for i in (5, 0, 3)] == ["cut.5", "cut.0", "cut.3"]
    cut = cuts.load(3)
    assert cut.supervisions[0].text == "text 3"
    np.testing.assert_allclose(cut.load_audio(), 0.03, atol=1e-4)


def test_an_index_spares_counting(folder: Path) -> None:
    (folder / INDEX).write_text('{"cuts": [2, 2, 2]}', "utf-8")
    (folder / "cuts.000002.jsonl.gz").write_bytes(b"damaged")
    cuts = SharCuts(folder)
    assert cuts[3]["id"] == "cut.3"
    with pytest.raises(DomainError, match=r"cuts.000002.jsonl.gz cannot be read .* make the fol"):
        cuts[4]


def test_missing_shards(folder: Path) -> None:
    (folder / INDEX).write_text('{"cuts": [2, 2, 2, 2]}', "utf-8")
    with pytest.raises(DomainError, match=r"found 3 shards; expected 4, as cuts.index.json says"):
        SharCuts(folder)


def test_other_audio_than_listed(folder: Path) -> None:
    path = folder / "cuts.000001.jsonl.gz"
    with gzip.open(path, "rt") as file:
        lines = file.readlines()
    with gzip.open(path, "wt") as file:
        file.writelines(reversed(lines))
    with pytest.raises(AudioError, match=r"recording.000001.tar: found cut.2.wav for cut cut.3"):
        SharCuts(folder).load(2)
    (folder / "recording.000001.tar").unlink()
    with pytest.raises(AudioError, match=r"recording.000001.tar cannot be read"):
        SharCuts(folder).load(2)


def test_lines_that_are_no_cuts_of_one_transcript(folder: Path) -> None:
    path = folder / "cuts.000000.jsonl.gz"
    with gzip.open(path, "rt") as file:
        first = json.loads(file.readline())
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(first | {"supervisions": []}) + "\n{\n")
    cuts = SharCuts(folder)
    with pytest.raises(DomainError, match=r"cuts.000000.jsonl.gz:1: found 0 supervisions"):
        cuts.load(0)
    with pytest.raises(DomainError, match=r"cuts.000000.jsonl.gz:2: not JSON"):
        cuts[1]


def test_few_shards_are_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_llm.corpus.recordings.shar.GROUP", 1)
    cuts = SharCuts(folder)
    for i in (0, 1, 2, 0, 3, 4):
        cuts[i]
    found = cuts._read.cache_info()
    assert (found.misses, found.currsize) == (3, 2)
