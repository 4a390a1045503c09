"""OpenAI's Whisper encoder as SALM's perception: log-mel features, encoder, projector.

The three classes stand behind the ``_target_`` keys of a SALM config, so that NeMo builds and
loads such a checkpoint wherever ``asr_llm`` can be imported. Audio is not padded to Whisper's
30 s: a clip is as long as it is, up to ``max_seconds``, and rows of a batch are masked, so that a
clip gives the same frames alone and beside longer ones.

Legend: B rows, T samples, M mel frames of 10 ms, S encoder states of 20 ms, F output frames,
D = ``stack`` states side by side.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HuggingFaceEncoder

SAMPLE_RATE, HOP, WINDOW = 16000, 160, 400
STATES_A_SECOND = 50


class WhisperPreprocessor(nn.Module):
    """Whisper's log-mel features, (B, T) to (B, ``features``, M).

    Whisper scales by the loudest frame of what it is given, and so does this, row by row: of
    spliced speech, by the loudest frame of the splice. Cutting one utterance apart hence shifts
    all features of a piece by up to a constant.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, features: int = 80) -> None:
        super().__init__()
        extractor = WhisperFeatureExtractor(feature_size=features)
        filters = torch.from_numpy(extractor.mel_filters).float()  # (WINDOW / 2 + 1, features)
        # NeMo and SALM ask the featurizer for its rates.
        self.featurizer = SimpleNamespace(sample_rate=SAMPLE_RATE, hop_length=HOP)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, input_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) float at 16 kHz and its lengths (B,) in samples to (B, features, M) and (B,)."""
        frames = length // HOP
        signal = F.pad(input_signal.float()[:, None], (WINDOW // 2, 0), mode="reflect")[:, 0]
        signal = F.pad(signal, (0, WINDOW // 2))
        spectrum = torch.stft(
            signal, WINDOW, HOP, window=self.window.float(), center=False, return_complex=True
        )
        power = spectrum[..., : int(frames.max())].abs() ** 2
        mel = (self.filters.float().T @ power).clamp(min=1e-10).log10()
        inside = _inside(frames, mel.shape[-1])[:, None]
        loudest = mel.masked_fill(~inside, -10.0).amax((1, 2), keepdim=True)
        scaled = (torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0
        return scaled.masked_fill(~inside, 0.0), frames


class WhisperEncoder(nn.Module):
    """Whisper's encoder, ``stack`` states of 20 ms side by side in each output frame.

    Args:
        feat_in: mel bands.
        hidden: width of the Transformer.
        layers, heads, ffn: its layers, attention heads and feed-forward width.
        stack: states in an output frame; 4 gives frames of 80 ms, ``hidden * 4`` wide.
        max_seconds: longest audio that it has positions for.
    """

    def __init__(
        self,
        feat_in: int = 80,
        hidden: int = 512,
        layers: int = 6,
        heads: int = 8,
        ffn: int = 2048,
        stack: int = 4,
        max_seconds: float = 30.0,
    ) -> None:
        super().__init__()
        config = WhisperConfig(
            num_mel_bins=feat_in,
            d_model=hidden,
            encoder_layers=layers,
            encoder_attention_heads=heads,
            encoder_ffn_dim=ffn,
            max_source_positions=round(max_seconds * STATES_A_SECOND),
            dropout=0.0,
            attn_implementation="sdpa",
        )
        self.whisper = HuggingFaceEncoder(config)
        self.stack, self.d_model, self.max_seconds = stack, hidden * stack, max_seconds
        self.subsampling_factor = 2 * stack

    @classmethod
    def of(cls, whisper: HuggingFaceEncoder) -> WhisperEncoder:
        """transformers' own encoder, one state of 20 ms in each frame."""
        config = whisper.config
        encoder = cls(
            config.num_mel_bins,
            config.d_model,
            0,
            config.encoder_attention_heads,
            config.encoder_ffn_dim,
            stack=1,
            max_seconds=config.max_source_positions / STATES_A_SECOND,
        )
        encoder.whisper = whisper
        return encoder

    @property
    def layers(self) -> nn.ModuleList:
        """The Transformer layers, for activation checkpointing and partial training."""
        return self.whisper.layers

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """(B, features, M) and mel frames (B,) to (B, D, F) and output frames (B,).

        Raises:
            ValueError: an audio is longer than Whisper has positions for.
        """
        states, lens = self.states(audio_signal, length)
        return self.finish(states, lens)

    def states(
        self, audio_signal: Tensor, length: Tensor, last: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The convolutions and the first ``last`` layers: (B, S, hidden) and lengths (B,)."""
        w = self.whisper
        inside = _inside(length, audio_signal.shape[-1])[:, None]
        first = F.gelu(w.conv1(audio_signal * inside)) * inside
        hidden = F.gelu(w.conv2(first)).transpose(1, 2)
        lens = (length + 1) // 2
        if hidden.shape[1] > w.embed_positions.num_embeddings:
            raise ValueError(
                f"found {hidden.shape[1] / STATES_A_SECOND:.1f} s of audio in a row; expected at "
                f"most {w.embed_positions.num_embeddings / STATES_A_SECOND:g} s"
            )
        hidden = hidden + w.embed_positions.weight[: hidden.shape[1]]
        return self._through(w.layers[:last], hidden, lens), lens

    def finish(
        self, states: Tensor, lens: Tensor, first: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Layers from ``first`` on (none by default), normalised and stacked: (B, D, F), (B,)."""
        if first is not None:
            states = self._through(self.whisper.layers[first:], states, lens)
        states = self.whisper.layer_norm(states)
        states = states * _inside(lens, states.shape[1])[..., None]
        states = F.pad(states, (0, 0, 0, -states.shape[1] % self.stack))
        stacked = states.reshape(len(states), -1, self.d_model)
        return stacked.transpose(1, 2), (lens + self.stack - 1) // self.stack

    @staticmethod
    def _through(layers: nn.ModuleList, hidden: Tensor, lens: Tensor) -> Tensor:
        mask = None
        if len(hidden) > 1:
            mask = key_mask(lens, hidden)
        for layer in layers:
            out = layer(hidden, mask)
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden


class WhisperProjector(nn.Module):
    """The projector's hidden layer: (B, ``width``, F) to (B, ``d_model``, F).

    SALM's own linear layer ``perception.proj`` then maps to the LLM's embeddings.
    """

    def __init__(self, width: int, d_model: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, d_model)
        self.d_model = d_model

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, width, F) and their counts (B,); counts stay."""
        hidden = F.gelu(self.linear(self.norm(audio_signal.transpose(1, 2))))
        return hidden.transpose(1, 2), length


def key_mask(lens: Tensor, states: Tensor) -> Tensor:
    """Attention bias for states (B, S, H) as keys: (B, 1, 1, S), -inf beyond ``lens`` (B,)."""
    outside = ~_inside(lens, states.shape[1])[:, None, None]
    return torch.zeros_like(outside, dtype=states.dtype).masked_fill(outside, float("-inf"))


def _inside(lens: Tensor, width: int) -> Tensor:
    """(B, width) bool: which positions are within their row."""
    return torch.arange(width, device=lens.device)[None] < lens[:, None]
