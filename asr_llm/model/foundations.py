"""Foundations: the pretrained speech encoder and LLM that a SALM is built from.

Each is read from files alone, as float32 tensors under transformers' own names: Whisper's encoder
from CTranslate2's format or a Hugging Face folder, an LLM from GGUF or a Hugging Face folder. No
pickle is opened, and no code that lies beside the weights is run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import CheckpointError
from asr_llm.model import ct2, hub
from asr_llm.model.checkpoint_folder import in_a_line, quiet
from asr_llm.model.sources import Found, Say, fetch, read

if TYPE_CHECKING:
    from torch import Tensor

SMALL = "small"
PINS = Path(__file__).parent.parent / "assets" / SMALL / "foundations.yaml"


@dataclass(frozen=True)
class Encoder:
    """A Whisper model; the encoder is used, and the rest for a first pass.

    ``config`` has keys of transformers' ``WhisperConfig``, ``weights`` and ``decoder`` are the
    state dicts of its ``WhisperEncoder`` and ``WhisperDecoder``, ``tokenizer`` is the text of a
    ``tokenizer.json``.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    decoder: dict[str, Tensor]
    tokenizer: str


@dataclass(frozen=True)
class Llm:
    """A causal LM: transformers' config and tokenizer, and the model's state dict.

    ``weights`` has ``lm_head.weight`` only if it is not tied to the embedding.
    """

    config: Any
    tokenizer: Any
    weights: dict[str, Tensor]


def encoder_from_ct2(files: Sequence[Path]) -> Encoder:
    """Read Whisper from a ``tokenizer.json`` and a ``model.bin``, possibly split in parts.

    Raises:
        CheckpointError: see ``ct2.read`` and ``ct2.whisper_encoder``.
    """
    import torch

    (tokenizer,) = (path for path in files if path.name == "tokenizer.json")
    parts = sorted(path for path in files if path.name.startswith("model.bin"))
    tensors = ct2.read(b"".join(part.read_bytes() for part in parts))
    weights, decoder = ct2.whisper_encoder(tensors), ct2.whisper_decoder(tensors)
    width, features, _ = weights["conv1.weight"].shape
    config = {
        "d_model": width,
        "num_mel_bins": features,
        "encoder_layers": sum(name.endswith(".fc1.weight") for name in weights),
        "encoder_attention_heads": int(tensors["encoder/num_heads"]),
        "encoder_ffn_dim": len(weights["layers.0.fc1.weight"]),
        "max_source_positions": len(weights["embed_positions.weight"]),
        "decoder_layers": sum(name.endswith(".fc1.weight") for name in decoder),
        "decoder_attention_heads": int(tensors["decoder/num_heads"]),
        "decoder_ffn_dim": len(decoder["layers.0.fc1.weight"]),
        "max_target_positions": len(decoder["embed_positions.weight"]),
        "vocab_size": len(decoder["embed_tokens.weight"]),
    }
    return Encoder(
        config,
        {name: torch.from_numpy(w) for name, w in weights.items()},
        {name: torch.from_numpy(w) for name, w in decoder.items()},
        tokenizer.read_text("utf-8"),
    )


def encoder_from_folder(folder: Path) -> Encoder:
    """Read Whisper of any size from a Hugging Face folder with safetensors.

    Raises:
        CheckpointError: there is no Whisper model that transformers can read without pickle.
    """
    from transformers import WhisperModel

    kind = _config(folder).get("model_type")
    if kind != "whisper":
        raise CheckpointError(
            f"{folder} holds a model of type {kind!r}; expected a Hugging Face Whisper model"
        )
    with _reading(folder, "a Whisper model"):
        model = _whole(WhisperModel, folder, use_safetensors=True)
    keys = ("d_model", "num_mel_bins", "encoder_layers", "encoder_attention_heads",
            "encoder_ffn_dim", "max_source_positions", "decoder_layers", "decoder_attention_heads",
            "decoder_ffn_dim", "max_target_positions", "vocab_size")  # fmt: skip
    config = {key: getattr(model.config, key) for key in keys}
    encoder, decoder = (
        {k: v.float() for k, v in half.state_dict().items()}
        for half in (model.encoder, model.decoder)
    )
    try:
        tokenizer = (folder / "tokenizer.json").read_text("utf-8")
    except OSError:
        tokenizer = ""  # a first pass would need it
    return Encoder(config, encoder, decoder, tokenizer)


def llm_from_gguf(path: Path) -> Llm:
    """Read and dequantise an LLM from a GGUF file; its tokenizer is rebuilt from the same file.

    Raises:
        CheckpointError: transformers cannot read it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, file = str(path.parent), path.name
    with _reading(path, "an LLM in GGUF format"):
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=file, local_files_only=True)
        model = _whole(AutoModelForCausalLM, path.parent, gguf_file=file)
        _split_digits(path, tokenizer)
    return _llm(model, tokenizer)


def llm_from_folder(folder: Path) -> Llm:
    """Read an LLM from a Hugging Face folder with safetensors.

    Raises:
        CheckpointError: transformers cannot read it without pickle and custom code.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    _config(folder)
    # As published: the class that a folder names may rebuild it otherwise. GPT2Tokenizer, which
    # SmolLM2 names, leaves out that digits are taken one by one.
    own = (folder / "tokenizer.json").is_file()
    reader = PreTrainedTokenizerFast if own else AutoTokenizer
    with _reading(folder, "a causal LM"):
        tokenizer = reader.from_pretrained(folder, local_files_only=True)
        model = _whole(AutoModelForCausalLM, folder, use_safetensors=True)
    return _llm(model, tokenizer)


def find_encoder(source: str | Path, place: Path, say: Say) -> Encoder:
    """The foundation encoder of ``small`` (``small``), or another Whisper's.

    Args:
        source: ``small``, a folder, or a name on the hub, whose files stay in the hub's cache.
        place: a folder for downloads for ``small``; it may be deleted afterwards.

    Raises:
        CheckpointError: there is none, or it can't be read.
    """
    if source != SMALL:
        return encoder_from_folder(_folder(source))
    return encoder_of(fetch(read(PINS).encoder, place / "encoder", say))


def find_llm(source: str | Path, place: Path, say: Say) -> Llm:
    """The foundation LLM of ``small`` (``small``), or another; see ``find_encoder``."""
    if source != SMALL:
        return llm_from_folder(_folder(source))
    return llm_of(fetch(read(PINS).llm, place / "llm", say))


def encoder_of(found: Found) -> Encoder:
    """Read the result of ``sources.fetch``: CTranslate2 in packages, else transformers' format."""
    return encoder_from_folder(found.folder) if found.folder else encoder_from_ct2(found.files)


def llm_of(found: Found) -> Llm:
    """Read the result of ``sources.fetch``: GGUF in a package, else transformers' format."""
    return llm_from_folder(found.folder) if found.folder else llm_from_gguf(found.files[0])


def _folder(source: str | Path) -> Path:
    if Path(source).is_dir():
        return Path(source)
    if not hub.is_hub_name(source):
        raise CheckpointError(
            f"no model at {source}; expected 'small', a Hugging Face folder, or a hub "
            "name such as openai/whisper-small"
        )
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(str(source), allow_patterns=patterns))
    except Exception as error:
        raise CheckpointError(f"no folder {source}, and {hub.hub_reason(error)}") from error


def _whole(kind: Any, folder: Path, **how: Any) -> Any:
    """A float32 model with all of its tensors, because transformers initialises missing ones."""
    model, told = kind.from_pretrained(
        folder, dtype="float32", local_files_only=True, output_loading_info=True, **how
    )
    if absent := sorted(told["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(absent)} tensors of its model, such as {absent[0]}; copy it again"
        )
    return model


def _llm(model: Any, tokenizer: Any) -> Llm:
    weights = dict(model.state_dict())
    if not {"model.embed_tokens.weight", "lm_head.weight"} <= weights.keys():
        raise CheckpointError(
            f"an LLM of type {model.config.model_type!r} cannot be built in; expected one with "
            "model.embed_tokens and lm_head, such as Llama, Qwen or SmolLM"
        )
    head, table = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head.data_ptr() == table.data_ptr():
        del weights["lm_head.weight"]
    model.config._name_or_path = ""
    return Llm(model.config, tokenizer, weights)


def _split_digits(path: Path, tokenizer: Any) -> None:
    """SmolLM's tokenizer splits digits, which transformers doesn't read from GGUF."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(path).get_field("tokenizer.ggml.pre")
    if field is None or field.contents() != "smollm":
        return
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} has no config.json that can be read; expected a Hugging Face model folder"
        ) from error
    return config


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Suppress transformers' notices and bars; report in one line what it can't read."""
    try:
        with quiet(), redirect_stderr(io.StringIO()):
            yield
    except (MemoryError, CheckpointError):
        raise
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as {what}: {in_a_line(error)}") from error
