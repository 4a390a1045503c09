"""Composes an untrained SALM checkpoint from a Whisper encoder and an LLM.

Both are rounded to bfloat16, the precision of checkpoints, before any training, so that trained
weights fit what a user composes later from the same foundations.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoint_folder
from asr_llm.model.ctc_vocabulary import CtcVocabulary
from asr_llm.model.foundations import Encoder, Llm, find_encoder, find_llm
from asr_llm.model.sources import Say, tell
from asr_llm.model.weights import assign, without_weights

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM

STACK, WIDTH = 4, 1024
"""Encoder states per frame (80 ms), and the width of the projector's hidden layer."""

ASR_PROMPT = "Transcribe the following: {audio}"

_AUDIO, _SEGMENT, _PAD = "<|audio|>", "<|segment|>", "<|pad|>"
_SPARE = ("<file_sep>", "<jupyter_start>", "<empty_output>")
"""SmolLM2's code tokens, which never occur in text: locator, leading token, padding."""

_UNUSED = re.compile(r"<unused\d+>")
"""Gemma's tokens for such ends, which it does not mark as special."""

_FORMATS = {"<|im_end|>": "qwen", "<|eot_id|>": "llama3", "<end_of_turn>": "gemma"}
"""NeMo's names of the chat templates that it has whole, by the token that ends a turn in them."""


@dataclass(frozen=True)
class FreshProjector:
    """Settings of a new projector.

    Args:
        seed: of the random weights.
        width: of the hidden layer.
        ctc_vocabulary: a ``ctc_tokenizer.json`` for a CTC head to be trained, whose posteriors the
            projector then takes (``model.posteriors``).
    """

    seed: int = 0
    width: int = WIDTH
    ctc_vocabulary: Path | None = None


def compose(
    encoder: Encoder,
    llm: Llm,
    folder: Path,
    projector: FreshProjector = FreshProjector(),
    with_first_pass: bool = False,
) -> None:
    """Write an untrained checkpoint: both foundations, and a new projector between them.

    Args:
        with_first_pass: include all of Whisper for a first pass (``model.first_pass``).

    Raises:
        CheckpointError: the LLM's vocabulary or chat template has no room for audio, its tensors
            don't fit its config, or ``ctc_vocabulary`` is not a tokenizer or too large; or a first
            pass is requested from a Whisper without a tokenizer.
    """
    import torch

    from asr_llm.model import first_pass, whisper_folder

    config, tokens = _config(encoder, llm, projector.width)
    if projector.ctc_vocabulary is not None:
        _take_posteriors(config, projector.ctc_vocabulary, projector.width)
    if with_first_pass:
        config["first_pass_prompt"] = first_pass.PROMPT
    torch.manual_seed(projector.seed)
    model = build(config, llm, base_state(encoder, llm))
    card = (
        "# An untrained speech-LLM\n\nIts encoder and its LLM are pretrained, its projector is "
        "not: train it with `asr-llm pretrain`.\n\n"
        f"Token in whose place audio goes: `{tokens[0]}`. Leading token of segments in recipes "
        f"of JSTIP: `{tokens[1]}`.\n"
    )
    with checkpoint_folder.replacing(folder) as part:
        checkpoint_folder.save(model, part, card, dtype=torch.bfloat16)
        if with_first_pass:
            whisper_folder.write(encoder, part / first_pass.FOLDER)


def compose_from(
    encoder: str | Path,
    llm: str | Path,
    folder: Path,
    projector: FreshProjector = FreshProjector(),
    with_first_pass: bool = False,
    say: Say = tell,
) -> None:
    """``compose`` by name; see ``foundations.find_encoder``.

    Raises:
        CheckpointError: see there; or there is no such encoder or LLM.
    """
    with tempfile.TemporaryDirectory() as place:
        ears = find_encoder(encoder, Path(place), say)
        mind = find_llm(llm, Path(place), say)
    compose(ears, mind, folder, projector, with_first_pass)


def build(
    config: dict[str, Any], llm: Llm, state: dict[str, Tensor], scratch: Path | None = None
) -> SpanSALM:
    """Create a model of ``config`` with the weights ``state``, and random ones where it has none.

    Args:
        scratch: folder for temporary files, which a killed process leaves; default: the system's.

    Raises:
        CheckpointError: a tensor is unexpected or has another shape; or one of the encoder or of
            the LLM is missing.
    """
    with checkpoint_folder.quiet():
        from asr_llm.model.salm import SpanSALM

    with (
        tempfile.TemporaryDirectory(dir=scratch) as place,
        checkpoint_folder.quiet(),
        without_weights(),
    ):
        llm.config.save_pretrained(place)
        llm.tokenizer.save_pretrained(place)
        model = SpanSALM(config | {"pretrained_llm": place, "pretrained_weights": False})
    for part in (model.perception.modality_adapter, model.perception.proj):
        for module in part.to_empty(device="cpu").modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    own = model.state_dict()
    fresh = {k: t for k, t in own.items() if k.startswith(_FRESH) and k not in state}
    assign(model, state | fresh, "the foundations")
    return model.eval()


_FRESH = ("perception.modality_adapter.", "perception.proj.")


def base_state(encoder: Encoder, llm: Llm) -> dict[str, Tensor]:
    """Both foundations' tensors under SALM's keys, float32, rounded to bfloat16."""
    import torch

    moved = {f"perception.encoder.whisper.{name}": t for name, t in encoder.weights.items()}
    for name, tensor in llm.weights.items():
        # SALM keeps the embedding outside of the LLM.
        moved["embed_tokens.weight" if name == _EMBEDDING else f"llm.{name}"] = tensor
    return {name: tensor.to(torch.bfloat16).float() for name, tensor in moved.items()}


_EMBEDDING = "model.embed_tokens.weight"


def state_of(model: SpanSALM) -> dict[str, Tensor]:
    """A model's tensors under the keys of ``base_state``: tied ones once, no CTC head."""
    state = {k: t for k, t in model.state_dict().items() if not k.startswith("ctc_head.")}
    head = state.get("llm.lm_head.weight")
    if head is not None and head.data_ptr() == state["embed_tokens.weight"].data_ptr():
        del state["llm.lm_head.weight"]
    return state


def prepared(config: dict[str, Any], llm: Llm) -> dict[str, Any]:
    """A SALM config of ``compose``, after preparing the LLM's tokenizer as it did.

    Raises:
        CheckpointError: the tokenizer assigns other tokens to speech than the config.
    """
    found = (_prompt_format(llm), _make_room(llm)[0])
    wanted = (config["prompt_format"], config["audio_locator_tag"])
    if found != wanted:
        raise CheckpointError(f"the LLM's tokenizer gives {found} to speech, expected {wanted}")
    return config


def _make_room(llm: Llm) -> tuple[str, str]:
    tokens = reserve(llm.tokenizer, len(llm.weights[_EMBEDDING]))
    llm.config.eos_token_id = llm.tokenizer.eos_token_id
    llm.config.pad_token_id = llm.tokenizer.pad_token_id
    return tokens


def _config(encoder: Encoder, llm: Llm, width: int) -> tuple[dict[str, Any], tuple[str, str]]:
    """SALM's config, and the tokens for audio and for the start of segments."""
    prompt_format, tokens = _prompt_format(llm), _make_room(llm)
    ours, own = "asr_llm.model.whisper", encoder.config
    stacked = own["d_model"] * STACK
    perception = {
        "target": "nemo.collections.speechlm2.modules.perception.AudioPerceptionModule",
        "output_dim": llm.config.hidden_size,
        "preprocessor": {
            "_target_": f"{ours}.WhisperPreprocessor",
            "features": own["num_mel_bins"],
        },
        "encoder": {
            "_target_": f"{ours}.WhisperEncoder",
            "feat_in": own["num_mel_bins"],
            "hidden": own["d_model"],
            "layers": own["encoder_layers"],
            "heads": own["encoder_attention_heads"],
            "ffn": own["encoder_ffn_dim"],
            "stack": STACK,
            "max_seconds": own["max_source_positions"] / 50,
        },
        "modality_adapter": {
            "_target_": f"{ours}.WhisperProjector",
            "width": stacked,
            "d_model": width,
        },
    }
    config = {
        "audio_locator_tag": tokens[0],
        "prompt_format": prompt_format,
        "asr_prompt": ASR_PROMPT,
        "chunk_seconds": 28.0,
        "perception": perception,
    }
    return config, tokens


def _take_posteriors(config: dict[str, Any], vocabulary: Path, width: int) -> None:
    """Make the projector take the posteriors of a CTC head with this vocabulary."""
    symbols = CtcVocabulary(None, 0, vocabulary).blank + 1
    if symbols >= width:
        raise CheckpointError(
            f"{vocabulary} has {symbols - 1} symbols; expected at most {width - 2}, less than the "
            "projector's hidden layer (--projector-width) has"
        )
    config["ctc_tokenizer_path"] = str(vocabulary)
    config["perception"]["modality_adapter"] |= {
        "_target_": "asr_llm.model.posteriors.PosteriorProjector",
        "symbols": symbols,
    }


def _prompt_format(llm: Llm) -> str:
    """NeMo's name of the LLM's chat template; the end of a turn becomes the tokenizer's eos."""
    vocabulary = llm.tokenizer.get_vocab()
    for turn_end, name in _FORMATS.items():
        if turn_end in vocabulary:
            llm.tokenizer.eos_token = turn_end
            return name
    raise CheckpointError(
        f"the LLM's vocabulary has no {' or '.join(_FORMATS)} to end a turn; expected an LLM tuned "
        "with ChatML, as those of Qwen and SmolLM were, or with the template of Llama 3 or Gemma"
    )


def reserve(tokenizer: Any, rows: int) -> tuple[str, str]:
    """Find tokens for speech in a vocabulary of ``rows`` that can't grow.

    Unused rows get new tokens; without any, special tokens that occur in neither text nor the chat
    template are used. Padding gets its own token if it shares one with the end of turns, or the
    model would never learn to stop.

    Returns:
        the audio locator tag, and the leading token of segments.

    Raises:
        CheckpointError: there is no room.
    """
    shared = tokenizer.pad_token_id in (None, tokenizer.eos_token_id)
    new = [_AUDIO, _SEGMENT, *([_PAD] if shared else [])]
    missing = [token for token in new if token not in tokenizer.get_vocab()]
    if len(tokenizer) + len(missing) > rows:
        new = _spare(tokenizer)[: len(new)]
    if len(new) < 2 + shared:
        raise CheckpointError(
            f"the LLM's vocabulary has {len(tokenizer)} tokens in {rows} rows and no special "
            f"tokens to spare; expected room for {2 + shared}: choose another LLM"
        )
    tokenizer.add_special_tokens({"additional_special_tokens": new[:2]})
    if shared:
        tokenizer.add_special_tokens({"pad_token": new[2]})
    return new[0], new[1]


def _spare(tokenizer: Any) -> list[str]:
    template = str(tokenizer.chat_template or "")
    used = set(tokenizer.special_tokens_map.values()) if tokenizer.special_tokens_map else set()
    added = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    free = [t for t in added if t not in used and t not in template]
    first = [t for t in _SPARE if t in free]
    first += sorted(filter(_UNUSED.fullmatch, tokenizer.get_vocab()))
    return first + [t for t in free if t not in first]
