"""Fusion: the domain's preference is added to what is heard, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from asr_llm.decoding.answers import answer, option_log_probs
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.fusion import Fusion
from asr_llm.decoding.generate import generate
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.prompts import end_token, inference, prompt, splice
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.adapters import Adapters, fusion_weights, put_aside, switched_on
from asr_llm.recipe import LoraRecipe
from asr_llm.sequences.tasks import message

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM

AUDIOS = [
    np.random.default_rng(i).normal(0, 0.1, n).astype("float32")
    for i, n in enumerate((16000, 9000, 24000))
]
LIMITS = [12, 12, 12]


def shaken(model: SpanSALM, seed: int = 1) -> SpanSALM:
    """A random adapter that does something."""
    import torch

    torch.manual_seed(seed)
    lora.install(model, LoraRecipe(r=2, lora_alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 1.0)
    return model.eval()


@pytest.fixture
def fused(tiny: Path) -> SpanSALM:
    model = shaken(checkpoints.load(tiny))
    put_aside(model)
    return model


ONE = {"default": 2.0}
"""The weight of the adapter of ``fused``."""


def heard(
    model: SpanSALM,
    weights: dict[str, float],
    beams: int = 1,
    audios: list[np.ndarray] = AUDIOS,
    fusion: type[Fusion] = Fusion,
) -> list[list[int]]:
    with inference(model):
        processors = [fusion(model, weights, end_token(model))] if weights else []
        spliced = splice(model, [prompt(audio, model.chat) for audio in audios])
        found = generate(model, spliced, LIMITS[: len(audios)], beams, processors)
    return [list(one.ids) for one in found]


def by_hand(
    base: SpanSALM, adapted: list[SpanSALM], audio: np.ndarray, weights: list[float]
) -> list[int]:
    """Greedy fusion, everything computed anew for each token, by models of their own."""
    import torch

    from asr_llm.sequences.batching import Collator

    tokenizer = base.tokenizer.tokenizer
    collate = Collator(tokenizer, base.audio_locator_tag, base.text_pad_id, base.frame_samples)
    (end,) = collate.encode(base.chat.end)
    said: list[int] = []

    def last(model: SpanSALM, embeds: Tensor) -> Tensor:
        hidden = model.hidden_states(embeds, torch.ones(embeds.shape[:2], dtype=torch.bool))
        scores: Tensor = model.causal_lm.lm_head(hidden[:, -1]).log_softmax(-1)[0]
        return scores

    with torch.no_grad():
        before = base.splice(collate([prompt(audio, base.chat)])).input_embeds
        while len(said) < LIMITS[0]:
            text = base.embed_tokens(torch.tensor([said], dtype=torch.long))
            scores = last(base, torch.cat([before, text], 1))
            if said:
                for model, weight in zip(adapted, weights):
                    favoured = (last(model, text) - last(base, text)).clamp(min=0)
                    favoured[end] = 0
                    scores = scores + weight * favoured
            token = int(scores.argmax())
            if token == end:
                break
            said.append(token)
    return said


def test_greedy_fusion_matches_the_formula(fused: SpanSALM, tiny: Path) -> None:
    base, adapted = checkpoints.load(tiny).eval(), shaken(checkpoints.load(tiny))
    expected = [by_hand(base, [adapted], audio, [2.0]) for audio in AUDIOS]
    assert heard(fused, ONE) == expected
    assert expected != heard(base, {})


@pytest.fixture
def two(tiny: Path, tmp_path: Path) -> list[Path]:
    """Two adapters of text, with weights 2 and 1."""
    for name, seed, weight in (("a", 1, 2.0), ("b", 7, 1.0)):
        lora.save(shaken(checkpoints.load(tiny), seed), tmp_path / name, tiny, fusion=weight)
    return [tmp_path / "a", tmp_path / "b"]


def test_the_preferences_of_two_adapters_add_up(tiny: Path, two: list[Path]) -> None:
    base, both = checkpoints.load(tiny).eval(), checkpoints.load(tiny)
    adapted = [shaken(checkpoints.load(tiny), seed) for seed in (1, 7)]
    weights = Adapters(both, tiny, two).fusion()
    expected = [by_hand(base, adapted, audio, [2.0, 1.0]) for audio in AUDIOS]
    assert heard(both, weights) == expected
    assert expected != [by_hand(base, adapted[:1], audio, [2.0]) for audio in AUDIOS]
    assert heard(both, weights, 3) == [heard(both, weights, 3, [a])[0] for a in AUDIOS]


def test_beside_an_adapter_of_speech_the_preference_is_over_the_adapted_recogniser(
    tiny: Path, two: list[Path], tmp_path: Path
) -> None:
    lora.save(shaken(checkpoints.load(tiny), 9), tmp_path / "speech", tiny)
    recogniser, text, both = (checkpoints.load(tiny) for _ in range(3))
    Adapters(recogniser, tiny, [tmp_path / "speech"])
    (key,) = Adapters(text, tiny, [tmp_path / "speech", two[0]]).fusion()
    weights = Adapters(both, tiny, [two[0], tmp_path / "speech"]).fusion()
    with switched_on(text, key):
        expected = [by_hand(recogniser, [text], audio, [2.0]) for audio in AUDIOS]
    assert heard(both, weights) == expected
    assert expected != heard(recogniser, {})


def test_without_weight_the_base_is_heard(fused: SpanSALM, tiny: Path) -> None:
    assert heard(fused, {"default": 0.0}) == heard(checkpoints.load(tiny).eval(), {})


def test_fusion_is_off_without_preferences(tiny: Path, two: list[Path]) -> None:
    base, fused = checkpoints.load(tiny).eval(), checkpoints.load(tiny)
    decoder = Decoder(fused, Adapters(fused, tiny, two))
    for beams in (1, 3):
        options = DecodeOptions(max_new_tokens=12, num_beams=beams)
        heard_alone = decoder.decode(AUDIOS, options.without_preferences)
        assert heard_alone == Decoder(base).decode(AUDIOS, options)
        assert heard_alone != decoder.decode(AUDIOS, options)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_does_not_depend_on_its_company(fused: SpanSALM, beams: int) -> None:
    alone = [heard(fused, ONE, beams, [audio])[0] for audio in AUDIOS]
    assert heard(fused, ONE, beams) == alone


def test_beams_carry_their_caches_along(fused: SpanSALM) -> None:
    import torch
    from transformers import DynamicCache

    cached = heard(fused, ONE, beams=4)
    reordered: list[Tensor] = []

    class Anew(Fusion):
        """Reads everything written so far again for every token."""

        def _follow(self, input_ids: Tensor) -> None:
            if not self.written.equal(input_ids[:, :-1]):
                reordered.append(input_ids)
            self.written = input_ids

        def _read(self, token: Tensor, cache: DynamicCache) -> Tensor:
            hidden = self.model.hidden_states(self.model.embed_tokens(self.written), None)
            return torch.log_softmax(self.model.causal_lm.lm_head(hidden[:, -1]).float(), -1)

    assert heard(fused, ONE, beams=4, fusion=Anew) == cached
    assert len(reordered) > 3


def test_answers_are_the_bases(fused: SpanSALM, tiny: Path) -> None:
    base = checkpoints.load(tiny).eval()
    asked = [message(["Where is the patient", "?"], base.chat)]
    assert answer(fused, asked, 8) == answer(base, asked, 8)
    assert option_log_probs(fused, asked, ["a", "b"]) == option_log_probs(base, asked, ["a", "b"])


def test_the_adapter_is_switched_off_again_afterwards(tiny: Path, two: list[Path]) -> None:
    import torch

    base, fused = checkpoints.load(tiny), checkpoints.load(tiny)
    decoder = Decoder(fused, Adapters(fused, tiny, two))

    def loss(model: SpanSALM) -> Tensor:
        ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
        with torch.no_grad():
            return model.hidden_states(model.embed_tokens(ids), None)

    before = loss(fused)
    decoder.decode(AUDIOS[:1], DecodeOptions(max_new_tokens=3))
    assert loss(fused).equal(before)
    assert before.equal(loss(base))


def test_the_weight_travels_with_the_adapter(fused: SpanSALM, tiny: Path, tmp_path: Path) -> None:
    lora.save(fused, tmp_path / "a", tiny, fusion=2.0)
    model = checkpoints.load(tiny)
    adapters = Adapters(model, tiny, [tmp_path / "a"])
    assert list(adapters.fusion().values()) == [2.0]
    assert heard(model, adapters.fusion()) == heard(fused, ONE)
    assert list(adapters.fusion(0.25).values()) == [0.25]


def test_such_an_adapter_is_not_merged(fused: SpanSALM) -> None:
    with pytest.raises(CheckpointError, match="cannot be merged"):
        lora.merge(fused)


def test_other_adapters_are_merged_and_have_no_weight(tiny: Path, tmp_path: Path) -> None:
    lora.save(shaken(checkpoints.load(tiny)), tmp_path / "a", tiny)
    model = checkpoints.load(tiny)
    assert Adapters(model, tiny, [tmp_path / "a"]).fusion() == {}
    assert not any("lora" in name for name in model.state_dict())
    with pytest.raises(CheckpointError, match="only to adapters trained on text"):
        fusion_weights([tmp_path / "a"], 0.5)


@pytest.mark.parametrize(
    "spoil",
    [lambda r: r | {"fusion": "much"}, lambda r: r | {"biasing": True}, lambda r: [r]],
    ids=["no number", "yes", "no object"],
)
def test_a_spoilt_record_is_refused(
    fused: SpanSALM, tiny: Path, tmp_path: Path, spoil: Callable[[dict[str, str]], object]
) -> None:
    lora.save(fused, tmp_path / "a", tiny, fusion=2.0)
    path = tmp_path / "a" / "base.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text("utf-8")))), "utf-8")
    with pytest.raises(CheckpointError, match=r"base\.json cannot be read \((found no|'\w+' is)"):
        AdapterFolder.read(tmp_path / "a")


def test_what_it_adds_to_a_given_text(tiny: Path, two: list[Path]) -> None:
    """The same as token by token, for texts of any length in one batch."""
    import torch

    model = checkpoints.load(tiny)
    weights = Adapters(model, tiny, two).fusion()
    with inference(model):
        end = end_token(model)
        texts = [[7, 5, 9, 11], [12], [], [5, 5, 8]]
        gained = Fusion(model, weights, end).gains(texts, end, model.text_vocab_size)
        for text, total in zip(texts, gained):
            fusion, added, whole = Fusion(model, weights, end), 0.0, [*text, end]
            for n, token in enumerate(whole):
                written = torch.tensor([whole[:n]], dtype=torch.long)
                scores = fusion(written, torch.zeros(1, model.text_vocab_size))
                added += float(scores[0, token])
            assert total == pytest.approx(added, abs=1e-4)
        assert gained[0] > 0 and gained[1] == gained[2] == 0.0
