"""Decoding equals NeMo's own, whatever the batch, and does not loop."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nemo.collections.common.prompts import PromptFormatter
from nemo.collections.speechlm2.models import SALM
from safetensors.torch import load_file

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.decoder import Decoder
from asr_llm.decoding.generate import generate, until_end
from asr_llm.decoding.guards import cut_loop
from asr_llm.decoding.limits import Limits
from asr_llm.decoding.options import DecodeOptions
from asr_llm.decoding.prompts import inference, max_tokens, prompt, splice
from asr_llm.decoding.results import Decoded, Hypothesis
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapters import Adapters
from asr_llm.model.salm import SpanSALM
from asr_llm.recipe import LoraRecipe
from asr_llm.sequences.batching import Collator
from asr_llm.sequences.tasks import Chat, asr


@pytest.fixture(scope="module")
def model(lively: Path) -> SpanSALM:
    return checkpoints.load(lively)


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)


def written(model: SpanSALM, audios: list[np.ndarray], limits: list[int]) -> list[Hypothesis]:
    with inference(model):
        return generate(model, splice(model, [prompt(a, model.chat) for a in audios]), limits)


def collator(model: SpanSALM) -> Collator:
    return Collator(
        model.tokenizer.tokenizer,
        model.audio_locator_tag,
        model.text_pad_id,
        model.frame_samples,
    )


def dialog(model: SpanSALM) -> list[dict[str, str]]:
    message = model.chat.asr_prompt.replace("{audio}", model.audio_locator_tag)
    return [{"role": "user", "content": message}]


def test_prompt_is_that_of_training_and_of_nemo(model: SpanSALM) -> None:
    samples = noise(20000)
    collate = collator(model)
    trained = collate([asr(Utterance("She said.", "ann", samples), model.chat)])
    prompted = collate([prompt(samples, model.chat)])
    target = trained.loss_mask[0]
    assert prompted.input_ids[0].tolist() == trained.input_ids[0][~target].tolist()
    assert not prompted.loss_mask.any()
    assert prompted.speech.span_frames == trained.speech.span_frames == [[(0, 16)]]  # 15.6 frames
    assert torch.equal(prompted.speech.audios, trained.speech.audios)

    formatter = PromptFormatter.resolve(model.cfg.prompt_format)(model.tokenizer)
    nemo = formatter.encode_dialog(turns=dialog(model))["input_ids"]
    assert prompted.input_ids[0].tolist() == nemo.tolist()


def test_tokens_equal_those_of_nemos_generate(lively: Path, model: SpanSALM) -> None:
    salm = SALM(checkpoints.read_config(lively)).eval()
    salm.load_state_dict(load_file(lively / "model.safetensors"), strict=False)  # lm_head: tied
    frames = [3, 12, 7]
    audios = [noise(n * model.frame_samples, seed=n) for n in frames]
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(a) for a in audios], batch_first=True)
    theirs = salm.generate(
        prompts=[dialog(model) for _ in audios],
        audios=padded,
        audio_lens=torch.tensor([len(a) for a in audios]),
        max_new_tokens=12,
        do_sample=False,
    )
    ours = written(model, audios, [12] * len(audios))
    assert len({one.ids for one in ours}) > 1  # the audio matters even here
    for one, row in zip(ours, theirs.tolist()):
        assert one == until_end(row, model.text_eos_id, 12)


@pytest.mark.parametrize(("num_beams", "limit"), [(1, None), (1, 20), (2, 20), (3, None)])
def test_text_does_not_depend_on_the_batch(
    model: SpanSALM, num_beams: int, limit: int | None
) -> None:
    audios = [noise(n, seed=n) for n in (1600, 23456, 9000, 1280, 30000, 9001)]
    options = DecodeOptions(num_beams=num_beams, max_new_tokens=limit)
    decoder = Decoder(model)
    alone = [decoder.decode([audio], options)[0] for audio in audios]
    assert decoder.decode(audios, options) == alone
    assert len(set(alone)) > 1


def test_threads_with_different_options_do_not_interfere(lively: Path, tmp_path: Path) -> None:
    speech = checkpoints.load(lively)
    lora.install(speech, LoraRecipe(r=2))
    for name, weight in speech.llm.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.5)
    lora.save(speech, tmp_path / "speech", lively)
    lora.save(speech, tmp_path / "text", lively, fusion=2.0)
    model, audios = checkpoints.load(lively), [noise(9000), noise(23456, seed=1)]
    decoder = Decoder(model, Adapters(model, lively, [tmp_path / "speech", tmp_path / "text"]))
    asked = [
        DecodeOptions(adapters=(), num_beams=1),
        DecodeOptions(adapters=("speech",), num_beams=1),
        DecodeOptions(adapters=("text",), num_beams=3),
        DecodeOptions(num_beams=2, biasing=BiasingList(("the court",), 20.0)),
    ]
    alone = [decoder.decode(audios, options) for options in asked]
    assert len({str(found) for found in alone}) == len(asked)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda options: decoder.decode(audios, options), asked * 3))
    assert together == alone * 3


def test_each_audio_has_its_own_limit(model: SpanSALM) -> None:
    assert max_tokens(16000, 16000) == 28
    assert max_tokens(800, 16000) == 16
    audios = [noise(1280), noise(16000)]
    limits = [max_tokens(len(audio), 16000) for audio in audios]
    short, long = written(model, audios, limits)
    assert len(short.ids) <= 16 and len(long.ids) <= 28
    (three,) = written(model, [noise(16000)], [3])
    assert three == Hypothesis(long.ids[:3], False)


def test_limits_end_each_text_at_its_own() -> None:
    limits = Limits([2, 3], beams=2, end=1)
    scores = torch.zeros(4, 3)
    written = torch.zeros(4, 2, dtype=torch.long)
    assert limits(written[:, :1], scores) is scores
    over = [-math.inf, 0.0, -math.inf]
    assert limits(written, scores).tolist() == [over, over, [0.0] * 3, [0.0] * 3]


def test_end_token_ends_and_is_dropped() -> None:
    assert until_end([5, 6, 2, 7, 2], end=2, limit=5) == Hypothesis((5, 6), True)
    assert until_end([5, 6, 7, 2], end=2, limit=3) == Hypothesis((5, 6, 7), False)
    assert until_end([2, 0, 0], end=2, limit=3) == Hypothesis((), True)


def test_special_tokens_and_loops_leave_the_text(
    model: SpanSALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = model.tokenizer.tokenizer
    said = [
        ("<|im_start|><|audio|> She  said.\n", True),
        ("on and" + " on and" * 5, False),
        ("", True),
    ]
    monkeypatch.setattr(
        "asr_llm.decoding.decoder.n_best",
        lambda *_, **__: [
            [Hypothesis(tuple(tokenizer(text, add_special_tokens=False)["input_ids"]), c)]
            for text, c in said
        ],
    )
    assert Decoder(model).decode([noise(1)] * 3, DecodeOptions(num_beams=2)) == [
        Decoded("She said."),
        Decoded("on and", complete=False, loop_cut=True),
        Decoded(""),
    ]


def test_no_audio_no_text(model: SpanSALM) -> None:
    assert Decoder(model).decode([]) == []


def test_training_mode_is_refused(model: SpanSALM) -> None:
    model.train()
    try:
        with pytest.raises(ValueError, match="eval"):
            Decoder(model).decode([noise(1280)])
    finally:
        model.eval()


def test_end_that_is_no_token_is_refused(model: SpanSALM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpanSALM, "chat", Chat("a", "b", "The End"))
    with pytest.raises(CheckpointError, match=r"'The End', as \d+ tokens; expected one"):
        Decoder(model).decode([noise(1280)])


def test_bf16_on_request(model: SpanSALM) -> None:
    (one,) = Decoder(model).decode([noise(8000)], DecodeOptions(num_beams=1, bf16=True))
    assert isinstance(one.text, str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("the cat sat", "the cat sat"),
        ("no no no no", "no no no no"),
        ("no no no no no", "no"),
        ("he said no no no no no no", "he said no"),
        ("no no no no no he said", "no no no no no he said"),
        ("a b a b a b a b", "a b a b a b a b"),
        ("x a b a b a b a b a b", "x a b"),
        ("x a b a b a b a b a b a", "x a b"),  # stopped inside the loop
        ("x go by go by go by go by go by g", "x go by"),  # and inside a word of it
        ("no no no no n", "no no no no n"),
        (" ".join(["1 2 3 4 5 6 7 8"] * 5), "1 2 3 4 5 6 7 8"),
        (" ".join(["1 2 3 4 5 6 7 8 9"] * 5), " ".join(["1 2 3 4 5 6 7 8 9"] * 5)),
        ("a a b a a b a a b a a b a a b", "a a b"),
        (" ".join(["a b b b b b"] * 5), "a b"),
    ],
)
def test_cut_loop(text: str, expected: str) -> None:
    assert cut_loop(text) == expected


@given(
    st.lists(st.sampled_from("abcd"), max_size=6),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=8),
    st.integers(5, 9),
)
def test_cut_loop_cuts_every_loop_once(head: list[str], loop: list[str], repeats: int) -> None:
    words = head + loop * repeats
    cut = cut_loop(" ".join(words)).split()
    assert words[: len(cut)] == cut
    assert len(cut) <= len(head) + len(loop)
    assert cut_loop(" ".join(cut)) == " ".join(cut)


def test_audio_supports_speech_but_not_chat() -> None:
    from asr_llm.corpus.speech.synthesis import synthesize

    mini = Decoder(checkpoints.load("mini").eval())
    said = "The nurse gave the patient a cup of tea."
    audio = synthesize(said, "en-us+f4").samples
    assert mini.support(audio, said) > 2
    assert mini.support(audio, "I'm sorry, but I can't transcribe this.") < 0
