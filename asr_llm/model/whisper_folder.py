"""Whisper, decoder included, as a folder in Hugging Face layout."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import WhisperForConditionalGeneration

from asr_llm.errors import CheckpointError
from asr_llm.model.checkpoint_folder import quiet
from asr_llm.model.foundations import Encoder
from asr_llm.model.weights import load_strictly

END = "<|endoftext|>"
ENGLISH_ONLY = 51864
"""The most tokens of a Whisper that knows English alone."""
_SPACE = 220  # the token; a text that begins with it, or with the end, is mostly an empty one


def read(folder: Path) -> tuple[WhisperForConditionalGeneration, Tokenizer]:
    """The model in float32, from safetensors only, and its tokenizer.

    Raises:
        CheckpointError: tensors are missing or have another shape.
        Exception: what the libraries raise for a folder that is not one of theirs.
    """
    with quiet(), redirect_stderr(io.StringIO()):
        whisper, told = WhisperForConditionalGeneration.from_pretrained(
            folder,
            dtype="float32",
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="sdpa",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    wrong = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    if wrong:  # transformers makes them up
        raise CheckpointError(
            f"{len(wrong)} tensors are missing or of another shape, such as {min(wrong)}"
        )
    return whisper, Tokenizer.from_file(str(folder / "tokenizer.json"))


def write(encoder: Encoder, folder: Path) -> None:
    """Write a foundation's Whisper, decoder included, as a folder of Hugging Face in float16.

    Raises:
        CheckpointError: it has no tokenizer, or tensors are missing.
    """
    from transformers import GenerationConfig, WhisperConfig
    from transformers.models.whisper.configuration_whisper import (
        NON_SPEECH_TOKENS,
        NON_SPEECH_TOKENS_MULTI,
    )

    if not encoder.tokenizer:
        raise CheckpointError(
            "this Whisper has no tokenizer.json, which the first pass needs; expected "
            "one beside its weights"
        )
    whisper = WhisperForConditionalGeneration(WhisperConfig(**encoder.config))
    for part, weights in (
        (whisper.model.encoder, encoder.weights),
        (whisper.model.decoder, encoder.decoder),
    ):
        load_strictly(part, weights, "Whisper")
    english = encoder.config["vocab_size"] <= ENGLISH_ONLY
    whisper.generation_config = GenerationConfig(
        suppress_tokens=list(NON_SPEECH_TOKENS if english else NON_SPEECH_TOKENS_MULTI),
        begin_suppress_tokens=[_SPACE, token_id(Tokenizer.from_str(encoder.tokenizer), END)],
    )
    with quiet(), redirect_stderr(io.StringIO()):
        whisper.half().save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes for the owner's eyes only
    (folder / "tokenizer.json").write_text(encoder.tokenizer, "utf-8")


def token_id(tokenizer: Any, token: str) -> int:
    """The id of a special token.

    Raises:
        CheckpointError: the tokenizer has none.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise CheckpointError(f"the tokenizer has no {token}; expected Whisper's tokenizer.json")
    return int(found)
