"""What tests share: a tiny model with random weights."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

# A machine busy with something else is no failure. The same cases every time, so that a red test
# is of the change at hand; look for new ones with: pytest --hypothesis-profile search
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("same")

# `small` must be fetched; the embedded model runs in seconds and anywhere.
os.environ["ASR_LLM_MODEL"] = "mini"

# Started in the background, a process ignores Ctrl-C, and hands that down to what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_DESCRIPTION = """\
vocabulary: 300
tokenizer_text: [{text}]
encoder:
  n_layers: 1
  d_model: 16
  n_heads: 2
  subsampling: stacking
  subsampling_factor: 8
  subsampling_conv_channels: 16
  ff_expansion_factor: 2
  self_attention_model: rel_pos
  conv_kernel_size: 5
  conv_norm_type: layer_norm
  xscaling: false
  use_bias: false
  dropout: 0.1
  dropout_pre_encoder: 0.1
  dropout_emb: 0.0
  dropout_att: 0.1
llm:
  hidden_size: 16
  num_hidden_layers: 1
  num_attention_heads: 2
  num_key_value_heads: 1
  head_dim: 8
  intermediate_size: 32
  max_position_embeddings: 4096
  rope_theta: 10000.0
"""
_TEXT = """\
The patient was started on metformin ten milligrams at bedtime.
Transcribe the following: she said that the court would hear the appeal.
"""


def tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Make a checkpoint of the architecture of `mini`, tiny and random; returns its folder."""
    from asr_llm.model.creation import create

    folder.mkdir(parents=True, exist_ok=True)
    text, description = folder / "text.txt", folder / "model.yaml"
    text.write_text(_TEXT, "utf-8")
    description.write_text(_DESCRIPTION.format(text=text), "utf-8")
    create(description, folder / "tiny", seed=seed)
    return folder / "tiny"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint with random weights. Read only."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def other_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with other weights. Read only."""
    return tiny_checkpoint(tmp_path_factory.mktemp("other"), seed=5)


@pytest.fixture(scope="session")
def nemo_ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CTC model of NeMo's that writes letters, with random weights. Read only."""
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import OmegaConf

    letters = list(" abcdefghijklmnopqrstuvwxyz'")
    encoder = {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": 80, "n_layers": 1, "d_model": 16, "n_heads": 2, "subsampling": "striding",
        "subsampling_factor": 4, "subsampling_conv_channels": 16, "ff_expansion_factor": 2,
        "conv_kernel_size": 5, "feat_out": -1,
    }  # fmt: skip
    model = EncDecCTCModel(
        OmegaConf.create(
            {
                "preprocessor": {
                    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
                    "features": 80,
                    "window_stride": 0.01,
                },
                "encoder": encoder,
                "decoder": {
                    "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
                    "feat_in": 16,
                    "num_classes": len(letters),
                    "vocabulary": letters,
                },
                "optim": {"name": "adamw", "lr": 1e-3},
            }
        )
    )
    path = tmp_path_factory.mktemp("nemo") / "tiny.nemo"
    model.save_to(str(path))
    return path


@pytest.fixture(scope="session")
def enliven() -> Callable[[SpanSALM, float], SpanSALM]:
    """Gives a model weights so large that what it writes depends on what it hears."""
    import torch

    def enlivened(model: SpanSALM, deviation: float) -> SpanSALM:
        torch.manual_seed(1)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.dim() > 1 and not name.startswith("perception.encoder"):
                    weight.normal_(0, deviation)
        return model

    return enlivened


@pytest.fixture(scope="session")
def lively(
    tiny: Path,
    enliven: Callable[[SpanSALM, float], SpanSALM],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The tiny checkpoint with large weights and a CTC head. Read only."""
    from asr_llm.model import checkpoints

    model = enliven(checkpoints.load(tiny), 1.0)
    model.add_ctc_head()
    folder = tmp_path_factory.mktemp("lively") / "model"
    checkpoints.save(model, folder, card="")
    return folder
