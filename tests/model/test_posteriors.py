"""The projector that begins as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from asr_llm.errors import CheckpointError, RecipeError
from asr_llm.model import checkpoints, composition
from asr_llm.model.composition import FreshProjector
from asr_llm.model.ctc_vocabulary import CTC_TOKENIZER
from asr_llm.model.foundations import encoder_from_ct2, llm_from_gguf
from asr_llm.model.posteriors import PosteriorProjector, begin_as_text

PIECES = {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4}


@pytest.fixture(scope="module")
def folder(fake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model whose projector takes posteriors of five pieces and the blank."""
    place = tmp_path_factory.mktemp("posteriors")
    tokenizer = Tokenizer(models.BPE(PIECES, [("▁", "a")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(place / "pieces.json"))
    composition.compose(
        encoder_from_ct2(fake.files),
        llm_from_gguf(fake.gguf),
        place / "model",
        FreshProjector(width=24, ctc_vocabulary=place / "pieces.json"),
    )
    return place / "model"


def test_a_sure_frame_reads_like_its_piece(folder: Path) -> None:
    model = checkpoints.load(folder)
    head = model.add_ctc_head()
    nn.init.zeros_(head.weight)
    begin_as_text(model)
    projector, proj = model.perception.modality_adapter, model.perception.proj
    nn.init.zeros_(proj.weight[:, 6:])  # the other features, near zero anyway
    table, tokenizer = model.embed_tokens.weight, model.tokenizer.tokenizer
    frames = torch.randn(1, projector.ctc.in_features, 3)
    for symbol, text in ((2, "a"), (4, " a"), (5, None)):
        nn.init.zeros_(projector.ctc.bias)
        projector.ctc.bias.data[symbol] = 50.0
        with torch.no_grad():
            out, lens = projector(frames, torch.tensor([3]))
            read = proj(out.transpose(1, 2))
        ids = [model.audio_locator_tag_id] if text is None else tokenizer.encode(text)
        assert lens.tolist() == [3]
        assert torch.allclose(read[0], table[ids].mean(0).expand(3, -1), atol=1e-4)


def test_the_vocabulary_travels_with_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    model = checkpoints.load(folder)
    assert model.add_ctc_head().out_features == 6
    checkpoints.save(model, tmp_path / "again", card="")
    assert (tmp_path / "again" / CTC_TOKENIZER).read_bytes() == (
        folder / CTC_TOKENIZER
    ).read_bytes()
    again = checkpoints.load(tmp_path / "again")
    assert again.ctc_head is not None and again.ctc_blank_id == 5
    assert again.ctc_vocabulary.encode("a b") == [4, 1, 3]


def test_it_needs_a_head(folder: Path) -> None:
    with pytest.raises(RecipeError, match="needs a CTC head; train one first"):
        begin_as_text(checkpoints.load(folder))


def test_a_vocabulary_as_large_as_the_projector_is_refused(fake: Any, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has 5 symbols; expected at most 4"):
        composition.compose(
            encoder_from_ct2(fake.files),
            llm_from_gguf(fake.gguf),
            Path("never"),
            FreshProjector(width=6, ctc_vocabulary=folder / CTC_TOKENIZER),
        )
    with pytest.raises(ValueError, match="found 6 symbols; expected 1 to 5"):
        PosteriorProjector(width=8, d_model=6, symbols=6)


def test_an_adapter_brings_the_whole_projector(folder: Path, tmp_path: Path) -> None:
    """SALM's linear layer alone would leave the trained layers before it behind."""
    from asr_llm.model import lora
    from asr_llm.model.adapters import Adapters
    from asr_llm.recipe import LoraRecipe

    trained = checkpoints.load(folder)
    lora.install(trained, LoraRecipe(r=2, lora_alpha=4))
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if "lora_B" in name or "modality_adapter" in name or "perception.proj" in name:
                parameter.add_(0.1)
    lora.save(trained, tmp_path / "adapter", folder, projector=True)
    again = checkpoints.load(folder)
    adapters = Adapters(again, folder, [tmp_path / "adapter"])
    expected = lora.projector_parameters(trained)
    assert any(name.startswith("modality_adapter.ctc") for name in expected)
    for name, parameter in lora.projector_parameters(again).items():
        assert torch.allclose(parameter, expected[name], atol=1e-6), name
    adapters.use()
    for name, parameter in lora.projector_parameters(again).items():
        assert torch.allclose(parameter, expected[name] - 0.1, atol=1e-6), name
