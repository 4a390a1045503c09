"""Frames kept on disk: what comes out is what the encoder makes."""

import os
from pathlib import Path

import pytest
import torch

from asr_llm.model.frame_cache import CachedEncoder, FrameCache
from asr_llm.model.whisper import WhisperEncoder, WhisperPreprocessor


class Perception(torch.nn.Module):
    """Whisper's front of a SALM, tiny, which counts the rows that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.preprocessor = WhisperPreprocessor()
        self.encoder = WhisperEncoder(hidden=32, layers=3, heads=4, ffn=64).eval()
        self.rows = 0
        self.preprocessor.register_forward_hook(self._count)

    def _count(self, module: object, inputs: object, output: tuple[torch.Tensor, ...]) -> None:
        self.rows += len(output[0])


@pytest.fixture
def perception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Perception:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))
    return Perception()


AUDIOS = torch.sin(torch.arange(2 * 12800).reshape(2, 12800) / 7.0)
LENS = torch.tensor([12800, 6400])


@pytest.mark.parametrize("trained", [0, 1])
def test_cached_frames_are_those_of_the_encoder(perception: Perception, trained: int) -> None:
    cached = CachedEncoder(perception, trained)
    with torch.no_grad():
        expected, counts = perception.encoder(*perception.preprocessor(AUDIOS, LENS))
        first, first_counts = cached(AUDIOS, LENS, ["a", "b"])
        second, second_counts = cached(AUDIOS, LENS, ["a", "b"])
    assert counts.tolist() == first_counts.tolist() == second_counts.tolist() == [10, 5]
    for row, count in enumerate(counts):
        truth = expected[row].T[:count]
        assert torch.allclose(first[row, :count], truth, atol=1e-4)
        assert torch.allclose(second[row, :count], truth, atol=5e-3)  # 16 bits on disk
    assert perception.rows == 2 * len(AUDIOS)  # once for ``expected``, once for the cache


def test_what_has_no_key_is_encoded_every_time(perception: Perception) -> None:
    cached = CachedEncoder(perception)
    for _ in range(2):
        cached(AUDIOS, LENS, [None, "b"])
    assert perception.rows == 3
    assert [path.stem for path in cached.cache.folder.glob("*.npy")] == ["b"]


def test_layers_that_are_trained_get_gradients(perception: Perception) -> None:
    cached = CachedEncoder(perception, trained_layers=1)
    encoded, _ = cached(AUDIOS, LENS, ["a", "b"])
    encoded.sum().backward()
    layers = perception.encoder.layers
    assert layers[2].fc1.weight.grad is not None
    assert layers[1].fc1.weight.grad is None


def test_frames_of_other_weights_are_not_taken(perception: Perception) -> None:
    before = CachedEncoder(perception, trained_layers=1).cache.folder
    with torch.no_grad():
        perception.encoder.layers[2].fc1.weight.add_(1)
    assert CachedEncoder(perception, trained_layers=1).cache.folder == before
    assert CachedEncoder(perception).cache.folder != before
    with torch.no_grad():
        perception.encoder.layers[0].fc1.weight.add_(1)
    assert CachedEncoder(perception, trained_layers=1).cache.folder != before


def test_the_oldest_go_beyond_the_limit(tmp_path: Path) -> None:
    frames = torch.ones(10, 100)  # 2,000 bytes and a header of 128
    cache = FrameCache(tmp_path, limit=5000)
    for key in "abc":
        cache.put(key, frames)
    assert sorted(path.stem for path in tmp_path.glob("*.npy")) == ["b", "c"]
    assert cache.get("a") is None
    again = FrameCache(tmp_path, limit=5000)
    os.utime(tmp_path / "b.npy", (2e9, 2e9))
    again.put("d", frames)
    assert cache.get("b") is None and again.get("c") is not None


def test_a_file_cut_short_counts_as_absent(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    cache.put("a", torch.ones(10, 100))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
    assert cache.get("a") is None
