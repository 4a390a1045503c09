"""Splicing and losses, against NeMo's own and against plain computations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asr_llm.corpus.speech.synthesis import Utterance
from asr_llm.errors import CheckpointError
from asr_llm.sequences.batch import Batch
from asr_llm.sequences.batching import Collator
from asr_llm.sequences.spans import SpanSequence, Speech, Text

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[SpanSALM]:
    from asr_llm.model import checkpoints

    yield checkpoints.load(tiny)


def collator(model: SpanSALM, ctc: bool = False) -> Collator:
    return Collator(
        model.tokenizer.tokenizer,
        model.audio_locator_tag,
        model.text_pad_id,
        model.frame_samples,
        ctc=model.ctc_vocabulary.encode if ctc else None,
    )


def noise(seconds: float, seed: int = 0) -> Utterance:
    samples = np.random.default_rng(seed).standard_normal(int(16000 * seconds))
    return Utterance("ab", "s", samples.astype(np.float32))


def random_sequence(rng: np.random.Generator, spans: int) -> SpanSequence:
    """0 to 3 speech spans of one utterance between texts, some of which are empty."""
    words = ["the ", "court ", "", "metformin ", "Transcribe the following: "]

    def text() -> Text:
        return Text("".join(rng.choice(words, size=3)) + "a", bool(rng.integers(2)))

    utterance = noise(float(rng.uniform(0.3, 1.5)), int(rng.integers(100)))
    total = -(-len(utterance.samples) // 1280)
    inner = rng.choice(np.arange(1, total), max(spans - 1, 0), replace=False)
    cuts = [0, *sorted(inner), total] if spans else []
    pieces: list[Text | Speech] = []
    for start, end in itertools.pairwise(cuts):
        if rng.integers(2):
            pieces.append(text())
        pieces.append(Speech(utterance, int(start), int(end)))
    return *pieces, text()


def salm_layout(model: SpanSALM, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Embeddings, targets and mask as NeMo's SALM makes them, span by span."""
    from nemo.collections.speechlm2.models.salm import replace_placeholders_and_build_targets

    spans: list[torch.Tensor] = []
    if batch.speech is not None:
        projected, _, _ = model.encode(batch.speech.audios, batch.speech.audio_lens)
        for frames, places in zip(projected, batch.speech.span_frames):
            spans += [frames[first:end] for first, end in places]
    ids = batch.input_ids
    embeds, targets, mask = replace_placeholders_and_build_targets(
        input_ids=ids,
        embeds=model.embed_tokens(torch.where(ids == model.audio_locator_tag_id, 0, ids)),
        padding_id=model.text_pad_id,
        placeholder_id=model.audio_locator_tag_id,
        replacements=spans,
        target_ids=ids.where(batch.loss_mask, -100),
    )
    return embeds, targets, mask


def left_padded(model: SpanSALM, batch: Batch) -> Batch:
    """The batch as SALM expects it: padding on the left."""
    out = {}
    for key, value in (("input_ids", model.text_pad_id), ("loss_mask", False)):
        rows = [
            row[: int((ids != model.text_pad_id).sum())]
            for row, ids in zip(getattr(batch, key), batch.input_ids)
        ]
        out[key] = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=value, padding_side="left"
        )
    return replace(batch, **out)


@pytest.mark.parametrize("seed", range(8))
@torch.no_grad()
def test_splice_equals_salm(model: SpanSALM, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Seed 0: no speech at all; else at least one row with and one without.
    counts = [0] * 4 if seed == 0 else [0, *rng.integers(1, 4, size=4).tolist()]
    rng.shuffle(counts)
    batch = collator(model)([random_sequence(rng, spans) for spans in counts])
    ours = model.splice(batch)
    embeds, targets, mask = salm_layout(model, left_padded(model, batch))
    assert ours.attention_mask.equal(mask)
    assert ours.target_ids.equal(targets)
    assert ours.input_embeds.equal(embeds * mask.unsqueeze(-1))


def interleaved(model: SpanSALM, samples: np.ndarray, sliced: bool) -> SpanSequence:
    """Speech, text and speech of one utterance: frames 0 to 6, 6 to 9 and 9 to 13."""
    utterance = Utterance("the court said", "s", samples)
    return (
        Speech(utterance, 0, 6, "the", sliced),
        Text(" court", True),
        Speech(utterance, 9, 13, "said", sliced),
        Text(" so", True),
    )


@pytest.mark.parametrize("sliced", [False, True])
@torch.no_grad()
def test_splicing_hears_nothing_of_the_text_units_and_slicing_does(
    model: SpanSALM, sliced: bool
) -> None:
    samples = noise(13 * 0.08).samples
    other = samples.copy()
    other[6 * 1280 : 9 * 1280] = noise(3 * 0.08, seed=1).samples  # the audio of "court"
    one, two = (
        model.splice(collator(model)([interleaved(model, x, sliced)])).input_embeds
        for x in (samples, other)
    )
    assert one.shape == two.shape
    assert one.equal(two) != sliced


@torch.no_grad()
def test_slices_are_frames_of_the_whole(model: SpanSALM) -> None:
    samples = noise(13 * 0.08).samples
    batch = collator(model)([interleaved(model, samples, True)])
    assert batch.speech.span_frames == [[(0, 6), (9, 13)]]
    assert batch.speech.audio_lens.tolist() == [13 * 1280]
    whole, _, _ = model.encode(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    embeds = model.splice(batch).input_embeds[0]
    assert embeds[:6].equal(whole[0, :6])
    court = len(collator(model).encode(" court"))
    assert embeds[6 + court : 10 + court].equal(whole[0, 9:13])


@pytest.mark.parametrize("room", [1, 40, 10_000])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_packed_and_unpacked_have_the_same_loss(model: SpanSALM, room: int, attention: str) -> None:
    """Per token, to 1e-4, in any company: so attention and positions begin anew."""
    rng = np.random.default_rng(1)
    sequences = [random_sequence(rng, spans) for spans in (2, 0, 1, 3, 0, 1)]
    before = model.causal_lm.config._attn_implementation
    model.causal_lm.set_attn_implementation(attention)
    try:
        batch = collator(model)(sequences)
        plain, packed = model.losses(batch), model.losses(batch, pack=room)
        assert int(packed["tokens"]) == int(plain["tokens"]) > 10
        assert float(packed["lm"]) == pytest.approx(float(plain["lm"]), abs=1e-4)
        for sequence in sequences:
            alone = model.losses(collator(model)([sequence]), pack=room)
            if int(alone["tokens"]):
                unpacked = model.losses(collator(model)([sequence]))
                assert float(alone["lm"]) == pytest.approx(float(unpacked["lm"]), abs=1e-4)
    finally:
        model.causal_lm.set_attn_implementation(before)


def test_packing_is_dense(model: SpanSALM) -> None:
    sequences: list[SpanSequence] = [(Text("the court said so"),)] * 9
    batch = collator(model)(sequences)
    length = batch.input_ids.shape[1]
    packed = model.splice(batch, pack=3 * length)
    assert packed.attention_mask.shape == (3, 3 * length)
    assert packed.attention_mask.all()
    assert packed.position_ids[0].tolist() == [*range(length)] * 3


def asr_like(model: SpanSALM) -> list[SpanSequence]:
    one, two = noise(1.0, 1), noise(0.4, 2)
    return [
        (Text("Hear: "), Speech(one, 0, 13), Text("so "), Text("the court<|im_end|>", True)),
        (Text("she said<|im_end|>", True),),
        (Speech(two, 0, 2), Text("she", True), Speech(two, 2, 5), Text(" said", True)),
    ]


@torch.no_grad()
def test_spans_that_do_not_add_up_are_refused(model: SpanSALM) -> None:
    batch = collator(model)(asr_like(model))
    batch.speech.audio_frames[1] = 4
    with pytest.raises(ValueError, match="row 2 takes 4 frames, but the encoder made 5"):
        model.splice(batch)


@pytest.mark.parametrize("kind", ["stacking", "dw_striding"])
@torch.no_grad()
def test_whole_frames_of_audio_make_as_many_encoder_frames(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    from asr_llm.model import checkpoints
    from asr_llm.model.creation import create

    folder = tiny
    if kind != "stacking":
        description = (tiny.parent / "model.yaml").read_text("utf-8").replace("stacking", kind)
        (tmp_path / "model.yaml").write_text(description, "utf-8")
        folder = tmp_path / "model"
        create(tmp_path / "model.yaml", folder, seed=0)
    model = checkpoints.load(folder)
    assert model.frame_samples == 1280
    frames = torch.tensor([*range(1, 20), 37, 64, 65, 101])
    audios = torch.randn(len(frames), int(frames.max()) * 1280)
    _, lens, _ = model.encode(audios, frames * 1280)
    assert lens.tolist() == frames.tolist()


@torch.no_grad()
def test_loss_equals_the_plain_computation(model: SpanSALM) -> None:
    batch = collator(model)(asr_like(model))
    spliced = model.splice(batch)
    logits = model(spliced.input_embeds, attention_mask=spliced.attention_mask)["logits"]
    shifted = spliced.target_ids[:, 1:].masked_fill(~spliced.attention_mask[:, :-1], -100)
    expected = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), shifted.flatten(), ignore_index=-100, reduction="mean"
    )
    losses = model.losses(batch)
    assert float(losses["lm"]) == pytest.approx(float(expected), abs=1e-5)
    assert int(losses["tokens"]) == int((shifted != -100).sum())
    assert "ctc" not in losses


@torch.no_grad()
def test_a_row_alone_has_the_loss_it_has_in_a_batch(model: SpanSALM) -> None:
    """Padding, of text and of audio, changes nothing."""
    sequences = asr_like(model)
    alone = [model.losses(collator(model)([sequence])) for sequence in sequences]
    total = sum(float(x["lm"]) * int(x["tokens"]) for x in alone)
    together = model.losses(collator(model)(sequences))
    tokens = sum(int(x["tokens"]) for x in alone)
    assert int(together["tokens"]) == tokens
    assert float(together["lm"]) == pytest.approx(total / tokens, abs=1e-4)


@torch.no_grad()
def test_the_loss_is_on_the_marked_text_only(model: SpanSALM) -> None:
    batch = collator(model)(asr_like(model))
    targets = model.splice(batch).target_ids
    tokenizer = model.tokenizer.tokenizer
    scored = [tokenizer.decode(row[row != -100]) for row in targets]
    assert scored == ["the court<|im_end|>", "she said<|im_end|>", "she said"]


@torch.no_grad()
def test_text_after_the_last_target_changes_no_loss(model: SpanSALM) -> None:
    speech = noise(0.5)
    head = (Text("Hear: "), Speech(speech, 0, 7), Text("she said", True))
    losses = [
        float(model.losses(collator(model)([(*head, Text(tail))]))["lm"])
        for tail in ("the court", "metformin. ")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_gradient_reaches_the_projector_and_the_encoder(tiny: Path) -> None:
    from asr_llm.model import checkpoints

    model = checkpoints.load(tiny)
    model.losses(collator(model)(asr_like(model)))["lm"].backward()
    for part in (model.perception.proj, model.perception.encoder, model.llm, model.embed_tokens):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients
        assert any(float(g.abs().max()) > 0 for g in gradients)


def test_no_gradient_reaches_the_projector_without_speech(tiny: Path) -> None:
    from asr_llm.model import checkpoints

    model = checkpoints.load(tiny)
    model.losses(collator(model)([(Text("she said", True),)]))["lm"].backward()
    assert all(p.grad is None for p in model.perception.parameters())


# CTC -------------------------------------------------------------------------------------


def test_ctc_by_hand(tiny: Path) -> None:
    """Two frames, one token: three paths. Uniform over V + 1 symbols: p = 3 / (V + 1)²."""
    from asr_llm.model import checkpoints

    model = checkpoints.load(tiny)
    head = model.add_ctc_head()
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    symbols = model.text_vocab_size + 1
    assert (head.out_features, model.ctc_blank_id) == (symbols, symbols - 1)
    encoded = torch.randn(1, 2, head.in_features)
    loss = model._ctc_loss(encoded, torch.tensor([2]), [torch.tensor([5])])
    assert float(loss) == pytest.approx(-np.log(3 / symbols**2), abs=1e-4)


@torch.no_grad()
def test_ctc_equals_torch_row_by_row(tiny: Path) -> None:
    from asr_llm.model import checkpoints

    model = checkpoints.load(tiny)
    head = model.add_ctc_head()
    one, two = noise(1.0, 1), noise(0.6, 2)
    batch = collator(model, ctc=True)(
        [
            (Speech(one, 0, 13), Text("a", True)),
            (Text("no speech", True),),
            (Speech(two, 0, 3), Text("b", True), Speech(two, 3, 8), Text("c", True)),
        ]
    )
    losses = model.losses(batch)
    total, tokens = 0.0, 0
    for utterance in (one, two):
        padded = Speech(utterance, 0, -(-len(utterance.samples) // 1280)).samples(1280)
        _, lens, encoded = model.encode(torch.from_numpy(padded)[None], torch.tensor([len(padded)]))
        target = torch.tensor(collator(model).encode(" ab"))
        total += float(
            F.ctc_loss(
                head(encoded[:, : int(lens[0])]).log_softmax(-1).transpose(0, 1),
                target[None],
                lens,
                torch.tensor([len(target)]),
                blank=model.ctc_blank_id,
                reduction="sum",
            )
        )
        tokens += len(target)
    assert float(losses["ctc"]) == pytest.approx(total / tokens, abs=1e-4)
    only = model.ctc_loss(batch)
    assert float(only) == pytest.approx(float(losses["ctc"]), abs=1e-6)


def test_ctc_without_a_head_is_refused(model: SpanSALM) -> None:
    batch = collator(model, ctc=True)([(Speech(noise(0.5), 0, 7), Text("a", True))])
    assert "ctc" not in model.losses(batch)
    with pytest.raises(CheckpointError, match="no CTC head"):
        model.ctc_loss(batch)


# The chat --------------------------------------------------------------------------------


def test_the_chat_is_nemos(model: SpanSALM) -> None:
    """The prompt of training is, token by token, what NeMo's formatter makes of the message."""
    from nemo.collections.common.prompts import PromptFormatter

    chat = model.chat
    assert chat.end == "<|im_end|>"
    assert (chat.frame_samples, chat.sample_rate) == (1280, 16000)
    formatter = PromptFormatter.resolve("qwen")(model.tokenizer)
    asked = f"Transcribe the following: {model.audio_locator_tag}"
    encoded = formatter.encode_dialog([{"role": "user", "slots": {"message": asked}}])
    head, tail = chat.around_audio()
    speech = noise(0.5)
    row = collator(model)([(Text(head), Speech(speech, 0, 7), Text(tail))])
    assert row.input_ids[0].tolist() == encoded["context_ids"].tolist()


def test_clips_are_encoded_one_by_one_on_a_cpu_and_as_in_a_batch(tiny: Path) -> None:
    from asr_llm.model import checkpoints

    model = checkpoints.load(tiny).eval()
    lens = torch.tensor([12800, 25600, 6400, 38400, 1280])
    audios = torch.randn(5, 38400) * (torch.arange(38400) < lens[:, None])
    whole = model.encode(audios, lens)  # with gradients, in one batch
    with torch.no_grad():
        found = model.encode(audios, lens)
        alone = model.encode(audios[2:3, :6400], lens[2:3])
    assert found[1].tolist() == whole[1].tolist() == [10, 20, 5, 30, 1]
    for one, other, own in zip((found[0], found[2]), (whole[0], whole[2]), (alone[0], alone[2])):
        assert one.shape == other.shape
        assert torch.equal(one[2, :5], own[0, :5])
        for row, count in enumerate(whole[1]):
            assert torch.allclose(one[row, :count], other[row, :count], atol=1e-5)
