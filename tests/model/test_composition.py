"""An untrained SALM of two foundations: their weights, and room for speech in the vocabulary."""

from __future__ import annotations

import dataclasses
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asr_llm import SpeechLLM
from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.errors import AudioError, CheckpointError
from asr_llm.jobs.ask import ask
from asr_llm.model import checkpoint_folder, checkpoints, composition
from asr_llm.model.composition import FreshProjector
from asr_llm.model.ctc import CheckpointCtc
from asr_llm.model.foundations import Encoder, Llm, encoder_from_ct2, llm_from_gguf


@pytest.fixture(scope="module")
def encoder(fake: Any) -> Encoder:
    return encoder_from_ct2(fake.files)


@pytest.fixture
def llm(fake: Any) -> Llm:
    return llm_from_gguf(fake.gguf)


def test_the_foundations_are_in_it_and_the_seed_makes_the_rest(
    encoder: Encoder, llm: Llm, fake: Any, tmp_path: Path
) -> None:
    composition.compose(encoder, llm, tmp_path / "a", FreshProjector(width=24))
    for name, seed in (("b", 0), ("c", 1)):
        composition.compose(
            encoder, llm_from_gguf(fake.gguf), tmp_path / name, FreshProjector(seed, 24)
        )
    assert checkpoints.identity(tmp_path / "a") == checkpoints.identity(tmp_path / "b")
    assert checkpoints.identity(tmp_path / "a") != checkpoints.identity(tmp_path / "c")

    model = checkpoints.load(tmp_path / "a")
    state = composition.state_of(model)
    base = composition.base_state(encoder, llm)
    assert all(state[name].equal(tensor) for name, tensor in base.items())
    assert {name for name in state if name not in base} == {
        "perception.proj.weight", "perception.proj.bias",
        *(f"perception.modality_adapter.{part}.{kind}"
          for part in ("norm", "linear") for kind in ("weight", "bias")),
    }  # fmt: skip
    assert model.token_equivalent_duration == pytest.approx(0.08)


def test_it_hears_and_talks_as_chatml(encoder: Encoder, llm: Llm, tmp_path: Path) -> None:
    composition.compose(encoder, llm, tmp_path / "model", FreshProjector(width=24))
    model = checkpoints.load(tmp_path / "model")
    assert model.chat.before == "<|im_start|>user\n"
    assert model.chat.after == "<|im_end|>\n<|im_start|>assistant\n"
    assert model.chat.end == "<|im_end|>"
    with torch.inference_mode():
        frames, lens, _ = model.encode(torch.randn(2, 16000), torch.tensor([16000, 8000]))
    assert frames.shape == (2, 13, 64) and lens.tolist() == [13, 7]


def test_its_head_aligns_more_than_whisper_has_positions_for(
    encoder: Encoder, llm: Llm, tmp_path: Path
) -> None:
    composition.compose(encoder, llm, tmp_path / "model", FreshProjector(width=24))
    model = checkpoints.load(tmp_path / "model")
    model.add_ctc_head()
    assert model.max_seconds == 30.0
    aligner = CheckpointCtc(model)
    rng = np.random.default_rng(1)
    lengths = [29.99, 30.0, 30.01, 61.0]  # seconds
    audios = [rng.standard_normal(round(n * 16000)).astype(np.float32) for n in lengths]
    assert [len(rows) for rows in aligner.hear(audios)] == [375, 375, 376, 763]


def test_chunks_longer_than_whisper_has_positions_for_are_refused(
    encoder: Encoder, llm: Llm, tmp_path: Path
) -> None:
    composition.compose(encoder, llm, tmp_path / "model", FreshProjector(width=24))
    loaded = SpeechLLM.load(tmp_path / "model", chunk_seconds=31.0)
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    with pytest.raises(CheckpointError, match=r"chunks of 31 s: .* takes at most 30 s at once"):
        loaded.transcript(tmp_path / "a.wav")
    assert loaded.transcript(tmp_path / "a.wav", replace(loaded.options, chunk_seconds=30.0))


def test_speech_that_the_llm_hears_is_not_longer_than_whisper_takes(
    encoder: Encoder, llm: Llm, tmp_path: Path
) -> None:
    composition.compose(encoder, llm, tmp_path / "model", FreshProjector(width=24))
    spoken = synthesize("Good morning to you all.", "en-us").samples
    soundfile.write(tmp_path / "a.wav", np.resize(spoken, 496000), 16000)
    with pytest.raises(AudioError, match=r"^31 s of speech .* takes at most 30 s"):
        ask(tmp_path / "a.wav", model=str(tmp_path / "model"))


def test_smollm_spares_tokens_for_code(llm: Llm) -> None:
    before = len(llm.tokenizer)
    assert composition.reserve(llm.tokenizer, before) == ("<file_sep>", "<jupyter_start>")
    assert llm.tokenizer.pad_token == "<empty_output>"
    assert llm.tokenizer.eos_token == "<|im_end|>"
    assert len(llm.tokenizer) == before
    # Again, as when a checkpoint is composed of what was composed: the same.
    assert composition.reserve(llm.tokenizer, before) == ("<file_sep>", "<jupyter_start>")


def test_rows_that_no_token_has_are_used_first(llm: Llm) -> None:
    before = len(llm.tokenizer)
    assert composition.reserve(llm.tokenizer, before + 3) == ("<|audio|>", "<|segment|>")
    assert llm.tokenizer.pad_token == "<|pad|>"
    assert len(llm.tokenizer) == before + 3


def test_an_llm_without_room_or_turns_is_refused(encoder: Encoder, llm: Llm) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE(vocab={"<|im_end|>": 0, "a": 1}, merges=[]))
    bare = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>")
    with pytest.raises(CheckpointError, match="2 tokens in 2 rows and no special tokens to spare"):
        composition.reserve(bare, 2)
    words = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    other = dataclasses.replace(llm, tokenizer=PreTrainedTokenizerFast(tokenizer_object=words))
    with pytest.raises(CheckpointError, match="to end a turn; expected an LLM tuned"):
        composition.compose(encoder, other, Path("never"))


def test_a_tokenizer_that_gives_speech_other_tokens_is_refused(llm: Llm) -> None:
    config = {"prompt_format": "qwen", "audio_locator_tag": "<|audio|>"}
    with pytest.raises(CheckpointError, match=r"expected \('qwen', '<\|audio\|>'\)"):
        composition.prepared(config, llm)


def test_weights_of_another_size_are_refused(encoder: Encoder, llm: Llm) -> None:
    config = {"encoder": encoder.config | {"encoder_layers": 1}}
    smaller = dataclasses.replace(encoder, config=config["encoder"])
    with pytest.raises(CheckpointError, match=r"unexpected: perception\.encoder\.whisper\.layers"):
        composition.compose(smaller, llm, Path("never"), FreshProjector(width=24))


# Of other sizes, and of other families -------------------------------------------------------

WHISPERS = {  # width, layers, heads, feed-forward width, mel bands
    "tiny": (384, 4, 6, 1536, 80),
    "base": (512, 6, 8, 2048, 80),
    "small": (768, 12, 12, 3072, 80),
    "medium": (1024, 24, 16, 4096, 80),
    "large-v3": (1280, 32, 20, 5120, 128),
}
LLMS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (
        kind,
        {
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head_dim,
            "tie_word_embeddings": tied,
            "vocab_size": vocabulary,
        },
    )
    for name, kind, hidden, ffn, layers, heads, kv_heads, head_dim, tied, vocabulary in (
        ("Qwen3-1.7B", "qwen3", 2048, 6144, 28, 16, 8, 128, True, 151936),
        ("Qwen3-8B", "qwen3", 4096, 12288, 36, 32, 8, 128, False, 151936),
        ("SmolLM2-1.7B", "llama", 2048, 8192, 24, 32, 32, 64, True, 49152),
        ("Llama-3.2-1B", "llama", 2048, 8192, 16, 32, 8, 64, True, 128256),
        ("Gemma-2-2B", "gemma2", 2304, 9216, 26, 8, 4, 256, True, 256000),
        ("Gemma-3-1B", "gemma3_text", 1152, 6912, 26, 4, 1, 256, True, 262144),
    )
}


TURN_ENDS = {"Llama": "<|eot_id|>", "Gemma": "<end_of_turn>"}


def whisper(size: str, layers: int | None = None) -> Encoder:
    """Whisper's dimensions; tensors without values if ``layers`` is None, which means all."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    width, deep, heads, ffn, mel = WHISPERS[size]
    config = {"d_model": width, "num_mel_bins": mel, "encoder_layers": layers or deep,
                  "encoder_attention_heads": heads, "encoder_ffn_dim": ffn,
                  "max_source_positions": 1500}  # fmt: skip
    with torch.device("meta" if layers is None else "cpu"):
        weights = WhisperEncoder(WhisperConfig(**config)).state_dict()
    return Encoder(config, weights, {}, "")


def llm_of(name: str, turn_end: str, layers: int | None = None, **changes: Any) -> Llm:
    """An LLM's dimensions, and a tokenizer of bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    kind, dims = LLMS[name]
    some = {} if layers is None else {"num_hidden_layers": layers}
    config = AutoConfig.for_model(kind, **dims | some | changes)
    with torch.device("meta" if layers is None else "cpu"):
        model = AutoModelForCausalLM.from_config(config)
    special = ["<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", turn_end]
    if kind.startswith("gemma"):
        special = ["<start_of_turn>", turn_end]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    if kind.startswith("gemma"):
        tokenizer.add_special_tokens({"bos_token": "<bos>", "pad_token": "<pad>"})
    weights = dict(model.state_dict())
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]
    return Llm(model.config, tokenizer, weights)


def parameters(model: Any) -> int:
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


@pytest.mark.parametrize("size", WHISPERS)
def test_whisper_of_any_size(size: str) -> None:
    """Every tensor finds its place, in its shape; 32 layers take no memory."""
    encoder, llm = whisper(size), llm_of("Qwen3-1.7B", "<|im_end|>")
    config, _ = composition._config(encoder, llm, 1024)
    model = composition.build(config, llm, composition.base_state(encoder, llm))
    assert parameters(model.perception.encoder) == sum(t.numel() for t in encoder.weights.values())
    assert model.perception.proj.weight.shape == (2048, 1024)
    assert model.perception.modality_adapter.linear.weight.shape == (1024, 4 * WHISPERS[size][0])


@pytest.mark.parametrize("name", LLMS)
def test_llms_of_other_families(name: str) -> None:
    turn_end = TURN_ENDS.get(name[:5], "<|im_end|>")
    encoder, llm = whisper("tiny"), llm_of(name, turn_end)
    config, _ = composition._config(encoder, llm, 1024)
    model = composition.build(config, llm, composition.base_state(encoder, llm))
    own = sum(t.numel() for t in llm.weights.values())
    assert parameters(model.llm) + parameters(model.embed_tokens) == own + (
        model.embed_tokens.weight.numel() if llm.config.tie_word_embeddings else 0
    )
    tied = model.causal_lm.lm_head.weight is model.embed_tokens.weight
    assert tied == llm.config.tie_word_embeddings
    assert model.chat.end == turn_end


@pytest.mark.parametrize(
    ("size", "name", "turn_end"),
    [
        ("large-v3", "Qwen3-1.7B", "<|im_end|>"),
        ("tiny", "Llama-3.2-1B", "<|eot_id|>"),
        ("small", "SmolLM2-1.7B", "<|im_end|>"),
        ("tiny", "Gemma-2-2B", "<end_of_turn>"),
        ("tiny", "Gemma-3-1B", "<end_of_turn>"),
    ],
)
def test_one_layer_of_each_listens_and_learns(size: str, name: str, turn_end: str) -> None:
    """Real widths, random weights: a loss, and a gradient that reaches the projector."""
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.decoding.prompts import collator
    from asr_llm.sequences.tasks import asr

    encoder, llm = whisper(size, layers=1), llm_of(name, turn_end, layers=1, vocab_size=300)
    config, _ = composition._config(encoder, llm, 64)
    model = composition.build(config, llm, composition.base_state(encoder, llm))
    samples = torch.randn(16000).numpy()
    batch = collator(model)([asr(Utterance("Good morning.", "", samples), model.chat)])
    loss = model.losses(batch)["lm"]
    loss.backward()
    assert 0 < loss.item() < 20
    assert model.perception.modality_adapter.linear.weight.grad.abs().max() > 0


# Gemma: windows, capped logits, scaled embeddings, no system role ------------------------------

GEMMAS = ("Gemma-2-2B", "Gemma-3-1B")


def gemma(name: str, **changes: Any) -> Llm:
    """Six tiny layers, of which both kinds of attention are; windows shorter than any prompt."""
    small = {
        "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "head_dim": 8,
        "num_key_value_heads": 2, "vocab_size": 300, "sliding_window": 8, "pad_token_id": 0,
        "final_logit_softcapping": 3.0,
    }  # fmt: skip
    torch.manual_seed(0)
    made = llm_of(name, "<end_of_turn>", layers=6, **small | changes)
    for weight in made.weights.values():
        if weight.ndim > 1:
            weight.normal_(0, 0.3)
    return made


@pytest.fixture(scope="module", params=GEMMAS)
def with_gemma(
    request: pytest.FixtureRequest, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint with a Gemma. Read only."""
    folder = tmp_path_factory.mktemp("gemma") / request.param
    composition.compose(encoder, gemma(request.param), folder, FreshProjector(width=24))
    return folder


def test_gemma_s_turns(with_gemma: Path) -> None:
    """As its own template: a <bos>, the user's turn, and the opening of the model's."""
    chat = checkpoints.load(with_gemma).chat
    assert chat.before == "<bos><start_of_turn>user\n"
    assert chat.after == "<end_of_turn>\n<start_of_turn>model\n"
    assert chat.end == "<end_of_turn>"


def test_gemma_loses_what_transformers_says(with_gemma: Path) -> None:
    """With capped logits and scaled embeddings, which transformers applies by itself."""
    from asr_llm.decoding.prompts import collator
    from asr_llm.sequences.tasks import text_only

    model = checkpoints.load(with_gemma)
    batch = collator(model)([text_only("The kettle is on the table.", model.chat)])
    whole = model.causal_lm
    whole.model.embed_tokens = model.embed_tokens
    with torch.no_grad():
        expected = whole(input_ids=batch.input_ids).logits
        found = model.losses(batch)["lm"]
    assert expected.abs().max() <= 3.0
    targets = batch.input_ids[0, 1:]
    picked = expected[0, :-1].log_softmax(-1).gather(1, targets[:, None])
    assert found.item() == pytest.approx(-picked.mean().item(), abs=1e-5)
    assert model.embeddings[5].equal(model.embed_tokens(torch.tensor(5)))


@pytest.mark.parametrize("beams", [1, 4])
def test_gemma_transcribes_each_audio_as_if_alone(with_gemma: Path, beams: int) -> None:
    from asr_llm.decoding.decoder import Decoder
    from asr_llm.decoding.options import DecodeOptions

    decoder = Decoder(checkpoints.load(with_gemma))
    noise = [torch.randn(n, generator=torch.Generator().manual_seed(n)).numpy() * 0.1
             for n in (16000, 9000, 24000)]  # fmt: skip
    options = DecodeOptions(num_beams=beams, max_new_tokens=12)
    together = [one.text for one in decoder.decode(noise, options)]
    assert together == [decoder.decode([one], options)[0].text for one in noise]
    assert len({*together}) >= 2


def test_gemma_s_windows_are_kept_while_it_writes(with_gemma: Path) -> None:
    """Token by token with a cache it says what it says when all is read anew for each."""
    from asr_llm.decoding.generate import generate
    from asr_llm.decoding.prompts import end_token, inference, prompt, splice
    from asr_llm.model.log_probs import output_layer

    model = checkpoints.load(with_gemma)
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0)).numpy() * 0.1
    with inference(model):
        spliced = splice(model, [prompt(noise, model.chat)])
        (found,) = generate(model, spliced, [12], num_beams=1)
        embeds, ids = spliced.input_embeds, list[int]()
        while len(ids) < 12 and end_token(model) not in ids:
            hidden = model.hidden_states(embeds, torch.ones(embeds.shape[:2], dtype=torch.long))
            ids.append(int(output_layer(model.causal_lm)(hidden[0, -1]).argmax()))
            embeds = torch.cat([embeds, model.embed_tokens(torch.tensor([[ids[-1]]]))], 1)
    assert embeds.shape[1] > 4 * 8  # several windows
    assert [*found.ids] == [token for token in ids if token != end_token(model)] != []


def test_gemma_adapts_and_is_fused_in(with_gemma: Path, tmp_path: Path) -> None:
    """A step on text, whose adapter joins the search; and one on speech."""
    from asr_llm.jobs.adapt import adapt
    from asr_llm.recipe import LoraRecipe, Recipe
    from asr_llm.sequences.sources import AsrSource, TextSource
    from asr_llm.transcription.speech_llm import SpeechLLM

    shop = tmp_path / "shop"
    (shop / "train").mkdir(parents=True)
    (shop / "domain.yaml").write_text("name: shop\n", "utf-8")
    (shop / "text.txt").write_text("The kettle is on.\nWe sell tea.\n", "utf-8")
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype("float32")
    soundfile.write(shop / "train" / "a.wav", noise, 16000)
    (shop / "train" / "trans.txt").write_text("a.wav\tWe sell tea.\n", "utf-8")
    recipe = {"model": str(with_gemma), "lora": LoraRecipe(r=2), "steps": 2, "batch_positions": 80}
    text = Recipe(**recipe, fusion=0.3, sources=[TextSource(data="domain")])
    speech = Recipe(**recipe, train=["lora", "projector"], sources=[AsrSource(data="domain")])
    for name, one in (("text", text), ("speech", speech)):
        done = adapt(shop, one, run=tmp_path / name)
        assert done.adapter is not None
        llm = SpeechLLM.load(str(with_gemma), adapter=done.adapter, vad="energy")
        assert llm.transcript(shop / "train" / "a.wav").duration == 1.0


def test_a_full_vocabulary_has_gemma_s_unused_tokens(encoder: Encoder) -> None:
    """As Gemma 2's: every row has a token, and those made to be used are not marked as special."""
    llm = gemma("Gemma-2-2B")
    llm.tokenizer.add_tokens([f"<unused{i}>" for i in range(3)])
    rows = len(llm.tokenizer)
    for _ in range(2):
        assert composition.reserve(llm.tokenizer, rows) == ("<unused0>", "<unused1>")
    assert llm.tokenizer.pad_token == "<pad>" and len(llm.tokenizer) == rows


@pytest.mark.parametrize("name", GEMMAS)
def test_a_published_gemma_is_read(name: str, tmp_path: Path) -> None:
    """A Hugging Face folder, as on the hub."""
    from transformers import AutoModelForCausalLM

    from asr_llm.model.foundations import llm_from_folder

    llm = gemma(name)
    model = AutoModelForCausalLM.from_config(llm.config)
    model.load_state_dict(llm.weights, strict=False)
    model.save_pretrained(tmp_path)
    llm.tokenizer.save_pretrained(tmp_path)
    found = llm_from_folder(tmp_path)
    assert found.weights.keys() == llm.weights.keys()
    assert all(found.weights[key].equal(llm.weights[key]) for key in llm.weights)
    assert found.tokenizer.bos_token == "<bos>"


def test_a_gemma_that_sees_is_refused(tmp_path: Path) -> None:
    """Its text model has other names than an LLM's; that of a single kind is asked for."""
    from asr_llm.model.foundations import _llm

    class Seeing:
        config = type("Config", (), {"model_type": "gemma3"})()

        def state_dict(self) -> dict[str, Any]:
            return {"model.language_model.embed_tokens.weight": 0, "lm_head.weight": 0}

    with pytest.raises(CheckpointError, match="an LLM of type 'gemma3' cannot be built in"):
        _llm(Seeing(), None)


def test_what_training_did_to_the_llm_alone_can_be_undone(
    encoder: Encoder, llm: Llm, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As adapt/small/compare.py does, to compare pretraining from the same start."""
    path = Path(__file__).parents[2] / "adapt" / "small" / "compare.py"
    driver = runpy.run_path(str(path))
    composition.compose(encoder, llm, tmp_path / "untrained", FreshProjector(width=24))
    model = checkpoints.load(tmp_path / "untrained")
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.5)
    model.cfg.first_pass_prompt = "\nFirst pass: {first_pass}"
    checkpoint_folder.save(model, tmp_path / "trained", "a card", dtype=torch.bfloat16)
    monkeypatch.setattr(driver["foundations"], "find_encoder", lambda *_: encoder)
    monkeypatch.setattr(driver["foundations"], "find_llm", lambda *_: llm_from_gguf(fake.gguf))
    driver["untrained"](str(tmp_path / "trained"), "published", tmp_path / "start")
    start = checkpoints.load(tmp_path / "start")
    published, trained = (
        checkpoints.load(tmp_path / name).state_dict() for name in ("untrained", "trained")
    )
    for name, tensor in start.state_dict().items():
        side = trained if name.startswith("perception.") else published
        assert tensor.equal(side[name]), name
    assert "first_pass_prompt" not in start.cfg
