"""The first pass: what Whisper itself would write, whatever else is in the batch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS_MULTI

from asr_llm.errors import CheckpointError
from asr_llm.model import first_pass, whisper_folder
from asr_llm.model.first_pass import FirstPass
from asr_llm.model.foundations import Encoder
from asr_llm.sequences.tasks import Chat

END, SPACE = 50257, 220
PROMPT = [50258, 50259, 50359, 50363]  # start, English, transcribe, no timestamps
FORBIDDEN = {*range(END + 1, 51865), *NON_SPEECH_TOKENS_MULTI}


def noise(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(round(100 * seconds))
    return rng.normal(0, 0.1, round(16000 * seconds)).astype(np.float32)


AUDIOS = [noise(seconds) for seconds in (1.0, 0.31, 2.5, 0.3, 1.17)]


def tiny_whisper(vocabulary: int = 51865, **more: Any) -> WhisperForConditionalGeneration:
    """Weights so large that what it writes depends on what it hears; loves what it may not say."""
    torch.manual_seed(3)
    whisper = WhisperForConditionalGeneration(
        WhisperConfig(
            d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32,
            decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=24,
            vocab_size=vocabulary, **more,
        )
    )  # fmt: skip
    with torch.no_grad():
        for weight in whisper.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.6)
        end = vocabulary - 1608
        whisper.model.decoder.embed_tokens.weight[[SPACE, *range(end, vocabulary)]] *= 2
        whisper.model.decoder.embed_tokens.weight[end] *= 2
    return whisper.half().float().eval()


def saved(whisper: WhisperForConditionalGeneration, tokenizer: str, folder: Path) -> Path:
    """As ``compose`` writes it from a foundation."""
    config = whisper.config.to_dict()
    keys = ("d_model", "num_mel_bins", "encoder_layers", "encoder_attention_heads",
            "encoder_ffn_dim", "max_source_positions", "decoder_layers", "decoder_attention_heads",
            "decoder_ffn_dim", "max_target_positions", "vocab_size")  # fmt: skip
    encoder, decoder = whisper.model.encoder, whisper.model.decoder
    read = Encoder(
        {key: config[key] for key in keys}, encoder.state_dict(), decoder.state_dict(), tokenizer
    )
    whisper_folder.write(read, folder)
    return folder


@pytest.fixture(scope="module")
def whisper() -> WhisperForConditionalGeneration:
    return tiny_whisper()


@pytest.fixture(scope="module")
def folder(
    whisper: WhisperForConditionalGeneration,
    tokenizer_of: Callable[[int], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return saved(whisper, tokenizer_of(51865), tmp_path_factory.mktemp("whisper") / "first_pass")


class Ids:
    """In place of a tokenizer: the tokens themselves."""

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


@pytest.fixture
def first(folder: Path) -> FirstPass:
    return FirstPass.load(folder)


def tokens(first: FirstPass, audios: list[np.ndarray]) -> list[list[int]]:
    first.tokenizer = Ids()
    return [[int(token) for token in text.split()] for text in first.write(audios)]


@torch.no_grad()
def of_transformers(
    whisper: WhisperForConditionalGeneration,
    first: FirstPass,
    audio: np.ndarray,
    limit: int,
    forbidden: set[int] = FORBIDDEN,
) -> list[int]:
    """Greedy: the whole text anew for each token, without cache, padding or mask."""
    states = torch.stack(first.states([audio]))
    ids: list[int] = []
    while len(ids) < limit:
        hidden = whisper.model.decoder(
            input_ids=torch.tensor([PROMPT + ids]), encoder_hidden_states=states, use_cache=False
        ).last_hidden_state
        logits = whisper.proj_out(hidden[0, -1])
        logits[sorted(forbidden | ({SPACE, END} if not ids and forbidden else set()))] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == END:
            return ids[:-1]
    return ids


def test_it_writes_what_transformers_decoder_would(
    whisper: WhisperForConditionalGeneration, first: FirstPass
) -> None:
    # A second is 50 states, the silence 60 more, each begun 20 ms one; 8 tokens a whole second.
    limits = [2 * 8 + 12, 12 + 8, 3 * 8 + 12, 12 + 8, 2 * 8 + 12]
    expected = [of_transformers(whisper, first, *pair) for pair in zip(AUDIOS, limits)]
    written = tokens(first, AUDIOS)
    assert written == expected
    assert len({tuple(ids) for ids in written}) > 3  # it hears them, even here
    assert {len(ids) < limit for ids, limit in zip(written, limits)} == {True, False}


def test_audio_is_padded_by_silence_to_whole_states(first: FirstPass) -> None:
    found = [tuple(own.shape) for own in first.states(AUDIOS)]
    # 50, 15.5, 125, 15 and 58.5, and 60 of silence
    assert found == [(count, 16) for count in (110, 76, 185, 75, 119)]


def test_a_text_does_not_depend_on_its_batch(
    first: FirstPass, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [tokens(first, [audio])[0] for audio in AUDIOS]
    assert tokens(first, AUDIOS[::-1]) == alone[::-1]
    monkeypatch.setattr(first_pass, "_BATCH_SECONDS", 4.5)  # two, or one of the longest
    assert tokens(first, AUDIOS) == alone
    assert tokens(first, []) == []


def test_what_is_no_speech_is_never_written(
    whisper: WhisperForConditionalGeneration, first: FirstPass
) -> None:
    freely = [of_transformers(whisper, first, audio, 12, forbidden=set()) for audio in AUDIOS]
    assert FORBIDDEN & {token for ids in freely for token in ids}  # it would, if it might
    written = tokens(first, AUDIOS)
    assert not FORBIDDEN & {token for ids in written for token in ids}
    assert all(ids and ids[0] != SPACE for ids in written)


def test_a_loop_ends_at_the_limit_or_where_positions_end(
    tokenizer_of: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_pass, "without_repeats", lambda text: text)
    few = tiny_whisper(max_target_positions=20)
    first = FirstPass.load(saved(few, tokenizer_of(51865), tmp_path / "few"))
    first.never = sorted({*first.never, END})
    assert [len(ids) for ids in tokens(first, AUDIOS[:2])] == [16, 16]


def test_whisper_for_english_only_is_told_no_language(
    tokenizer_of: Callable[[int], str], tmp_path: Path
) -> None:
    first = FirstPass.load(saved(tiny_whisper(51864), tokenizer_of(51864), tmp_path / "en"))
    assert first.prompt == [50257, 50362]
    assert (first.end, first.never_first) == (50256, [220, 50256])
    assert {*range(50257, 51864)} <= {*first.never} and 50256 not in first.never
    assert all(tokens(first, AUDIOS[:2]))


def test_texts_are_words(first: FirstPass) -> None:
    (text,) = first.write([AUDIOS[0]])
    assert text == text.strip() and " w" in f" {text}" and "<|" not in text


# The folder --------------------------------------------------------------------------------


def test_what_is_saved_in_float16_is_read_again(
    whisper: WhisperForConditionalGeneration, folder: Path, first: FirstPass
) -> None:
    stored = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    for ours, theirs in (
        (first.decoder.decoder, whisper.model.decoder),
        (first.encoder.whisper, whisper.model.encoder),
    ):
        own, other = ours.state_dict(), theirs.state_dict()
        assert own.keys() == other.keys()
        assert all(tensor.equal(other[name]) for name, tensor in own.items())
    assert (first.prompt, first.end, first.never_first) == (PROMPT, END, [SPACE, END])
    assert {*first.never} == FORBIDDEN


def test_no_tokenizer_no_first_pass(
    whisper: WhisperForConditionalGeneration, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json, which the first pass needs"):
        saved(whisper, "", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def without_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def with_another_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<|notimestamps|>", "<|other|>"), "utf-8")


def without_a_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.decoder.layers.1.fc1.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def of_another_size(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"d_model": 32}), "utf-8")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (without_a_tokenizer, "No such file"),
        (with_another_tokenizer, r"has no <\|notimestamps\|>; expected Whisper's tokenizer\.json"),
        (
            without_a_tensor,
            r"1 tensors are missing or of another shape, such as .*layers\.1\.fc1\.weight",
        ),
        (of_another_size, r"\d+ tensors are missing or of another shape"),
        (cut_short, "safetensors|Safetensor"),
    ],
)
def test_a_folder_that_holds_something_else(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    damage(damaged)
    with pytest.raises(CheckpointError, match="contains no readable Whisper model") as caught:
        FirstPass.load(damaged)
    assert caught.match(reason) and "\n" not in str(caught.value)


def test_a_checkpoint_brings_one_where_its_config_shows_one(folder: Path, tmp_path: Path) -> None:
    plain: Any = SimpleNamespace(chat=Chat("", "", ""), device=torch.device("cpu"))
    shown: Any = SimpleNamespace(
        chat=Chat("", "", "", first_pass_prompt=first_pass.PROMPT), device=torch.device("cpu")
    )
    assert first_pass.of(folder.parent, plain) is None
    assert isinstance(first_pass.of(folder.parent, shown), FirstPass)
    with pytest.raises(
        CheckpointError, match=r"config\.json has a first_pass_prompt, but there is no first_pass/"
    ):
        first_pass.of(tmp_path, shown)


def test_likelihoods_are_those_of_transformers(first: FirstPass) -> None:
    texts = ["a b", "b", "a b a b a b"]
    states = first.states(AUDIOS[:2])
    expected = []
    for text in texts:
        ids = [*PROMPT, *first.tokenizer.encode(f" {text}", add_special_tokens=False).ids, END]
        with torch.inference_mode():
            hidden = first.decoder.decoder(
                input_ids=torch.tensor([ids]),
                encoder_hidden_states=states[0][None],
                use_cache=False,
            ).last_hidden_state[0]
            rows = first.decoder.head(hidden).log_softmax(-1)
        expected.append(sum(float(rows[at - 1, ids[at]]) for at in range(len(PROMPT), len(ids))))
    (alone,) = first.log_likelihoods(states[:1], [texts])
    assert alone == pytest.approx(expected, abs=1e-3)
    # Beside a shorter audio, of which there is one text only.
    both = first.log_likelihoods(states[::-1], [texts[1:2], texts])
    assert [len(own) for own in both] == [1, 3]
    assert both[1] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I heard a murmur.", "I heard a murmur."),
        ("I heard a murmur. I heard a murmur. I heard a", "I heard a murmur."),
        ("I heard a murmur. I heard a mur", "I heard a murmur."),
        ("Well, it is late. it is late It is late.", "Well, it is late."),
        ("No, no, no. Very, very good.", "No, no, no. Very, very good."),  # people say such
        ("It is late. It is not late.", "It is late. It is not late."),
        ("", ""),
    ],
)
def test_repeats_at_the_end_are_left_out(text: str, left: str) -> None:
    assert first_pass.without_repeats(text) == left
