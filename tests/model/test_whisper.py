"""Whisper as SALM's perception, with random weights."""

import math

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HuggingFaceEncoder

from asr_llm.model.whisper import WhisperEncoder, WhisperPreprocessor, WhisperProjector


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 0.1, round(seconds * 16000)).astype(np.float32))


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    torch.manual_seed(0)
    return WhisperEncoder(hidden=32, layers=2, heads=4, ffn=64).eval()


def encode(encoder: WhisperEncoder, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Frames (F, D) of each row of one batch."""
    lens = torch.tensor([len(row) for row in rows])
    signal = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.no_grad():
        encoded, counts = encoder(*WhisperPreprocessor()(signal, lens))
    return [row.T[:count] for row, count in zip(encoded, counts.tolist())]


def test_features_are_those_of_transformers_for_a_clip_of_30_s() -> None:
    signal = noise(30.0)
    expected = WhisperFeatureExtractor()(
        signal.numpy(), sampling_rate=16000, return_tensors="pt"
    ).input_features
    features, frames = WhisperPreprocessor()(signal[None], torch.tensor([len(signal)]))
    assert frames.tolist() == [3000]
    # The very last frame differs: transformers reflects there, we pad with silence.
    assert torch.allclose(features[..., :-2], expected[..., :-2], atol=1e-3)


def test_encoder_is_that_of_transformers_for_a_clip_of_30_s() -> None:
    torch.manual_seed(1)
    ours = WhisperEncoder(hidden=32, layers=2, heads=4, ffn=64).eval()
    config = WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64
    )
    theirs = HuggingFaceEncoder(config).eval()
    theirs.load_state_dict(ours.whisper.state_dict())
    features = torch.randn(1, 80, 3000)
    with torch.no_grad():
        expected = theirs(features).last_hidden_state
        encoded, counts = ours(features, torch.tensor([3000]))
    assert counts.tolist() == [375]
    assert torch.allclose(encoded.transpose(1, 2).reshape(1, 1500, 32), expected, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.08, 0.4, 1.0, 2.56, 7.0])
def test_a_clip_gives_the_same_frames_alone_and_beside_a_longer_one(
    encoder: WhisperEncoder, seconds: float
) -> None:
    clip, longer = noise(seconds), noise(8.0, seed=1) * 5
    (alone,) = encode(encoder, [clip])
    beside, _ = encode(encoder, [clip, longer])
    assert len(alone) == math.ceil(seconds / 0.08)
    assert torch.allclose(alone, beside, atol=1e-4)


@pytest.mark.parametrize(("samples", "frames"), [(1280, 1), (1281, 1), (1440, 2), (2560, 2)])
def test_frames_of_80_ms_cover_the_whole_10_ms_steps_of_the_audio(
    encoder: WhisperEncoder, samples: int, frames: int
) -> None:
    (encoded,) = encode(encoder, [noise(1.0)[:samples]])
    assert encoded.shape == (frames, 128)


def test_scaling_goes_by_the_loudest_frame_of_each_row() -> None:
    """A splice is scaled as a whole: a quiet piece beside a loud one loses its floor."""
    quiet = noise(1.0) * 1e-4
    lens = torch.tensor([16000])
    alone, _ = WhisperPreprocessor()(quiet[None], lens)
    spliced, _ = WhisperPreprocessor()(torch.cat([quiet, noise(1.0, 1) * 10])[None], 2 * lens)
    assert float(alone.max() - alone.min()) <= 2.0 + 1e-5  # 8 powers of ten, a quarter each
    floor = spliced.max() - 2.0
    assert torch.allclose(spliced[..., :90], torch.full_like(spliced[..., :90], float(floor)))


def test_silence_is_finite() -> None:
    features, _ = WhisperPreprocessor()(torch.zeros(1, 16000), torch.tensor([16000]))
    assert bool(features.isfinite().all())


def test_layers_in_two_parts_are_the_encoder(encoder: WhisperEncoder) -> None:
    features, lens = WhisperPreprocessor()(noise(2.0)[None], torch.tensor([32000]))
    with torch.no_grad():
        whole, counts = encoder(features, lens)
        states, states_lens = encoder.states(features, lens, last=1)
        again, counts_again = encoder.finish(states, states_lens, first=1)
    assert torch.equal(whole, again) and counts.tolist() == counts_again.tolist()


def test_more_than_30_s_is_refused(encoder: WhisperEncoder) -> None:
    with pytest.raises(ValueError, match=r"found 31\.0 s .* at most 30 s"):
        encode(encoder, [noise(31.0)])


def test_projector_keeps_the_frames() -> None:
    projector = WhisperProjector(width=128, d_model=48)
    out, lens = projector(torch.randn(2, 128, 5), torch.tensor([5, 3]))
    assert out.shape == (2, 48, 5) and lens.tolist() == [5, 3]
