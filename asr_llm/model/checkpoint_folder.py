"""Checkpoint folders: self-contained, in NeMo SALM's layout.

    config.json                SALM's config
    model.safetensors          weights, SALM's keys
    tokenizer.json, …          the tokenizer, audio locator tag included
    llm_backbone/config.json   the LLM's architecture
    ctc_head.safetensors       optional: a CTC output layer on the encoder
    ctc_tokenizer.json         optional: the vocabulary of that layer, if it is not the LLM's
    replay/                    optional: a domain folder of general text to replay
    first_pass/                optional: a Whisper model whose text is shown with the speech
    former.txt                 optional: SHA-256 of former weights whose adapters fit these, too
    README.md                  the card

NeMo's ``SALM.from_pretrained`` reads these folders, and this module reads NeMo's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import CheckpointError
from asr_llm.model.ctc_vocabulary import CTC_TOKENIZER
from asr_llm.model.hub import is_hub_name

if TYPE_CHECKING:
    import torch

    from asr_llm.model.salm import SpanSALM

WEIGHTS, CONFIG, CTC_HEAD, LLM_CONFIG = (
    "model.safetensors",
    "config.json",
    "ctc_head.safetensors",
    "llm_backbone",
)
FORMER = "former.txt"
REPLAY, FIRST_PASS = "replay", "first_pass"


_NEEDED = {"pretrained_llm", "perception", "audio_locator_tag", "prompt_format"}


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(folder: Path) -> str:
    """SHA-256 of the weights file, by which an adapter identifies its base."""
    return sha256(folder / WEIGHTS)


def accepts(folder: Path, sha: str) -> bool:
    """Whether an adapter with base hash ``sha`` fits the checkpoint in ``folder``.

    True for its current weights, or those in ``former.txt``, which differ by rounding.
    """
    former = folder / FORMER
    known = former.read_text("utf-8").split() if former.is_file() else []
    return sha in known or sha == identity(folder)


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return _sha256(path, path.stat().st_mtime_ns)


def read_config(folder: Path) -> dict[str, Any]:
    """SALM's config, with the local paths of the tokenizer and the LLM config filled in.

    Raises:
        CheckpointError: it cannot be read, or is not SALM's.
    """
    config: dict[str, Any] = _read_json(folder / CONFIG)
    if missing := _NEEDED - (config.keys() if isinstance(config, dict) else set()):
        raise CheckpointError(
            f"{folder / CONFIG} lacks {', '.join(sorted(missing))}; expected the config of a "
            "NeMo SALM model"
        )
    if (folder / "tokenizer_config.json").is_file():
        config["tokenizer_path"] = str(folder)
    if (folder / CTC_TOKENIZER).is_file():
        config["ctc_tokenizer_path"] = str(folder / CTC_TOKENIZER)
    if (folder / LLM_CONFIG / CONFIG).is_file():
        config["pretrained_llm"] = str(folder / LLM_CONFIG)
    elif not Path(config["pretrained_llm"]).is_dir() and not is_hub_name(config["pretrained_llm"]):
        raise CheckpointError(
            f"{folder} has no {LLM_CONFIG}/{CONFIG}, and the LLM that its config names, "
            f"{config['pretrained_llm']}, is not there; expected one of the two"
        )
    return config | {"pretrained_weights": False}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        found = f"{path} cannot be read ({error.strerror})"
    except json.JSONDecodeError as error:
        found = f"{path}:{error.lineno}: not JSON (from column {error.colno} on)"
    except ValueError:
        found = f"{path}: not JSON, and not text in UTF-8"
    raise CheckpointError(
        f"{found}; expected the config of a NeMo SALM model: copy the whole folder again"
    )


def save(
    model: SpanSALM,
    folder: Path,
    card: str,
    dtype: torch.dtype | None = None,
    base: Path | None = None,
) -> None:
    """Write a checkpoint folder atomically.

    Args:
        dtype: precision on disk (the audio features stay float32); default: as in memory.
        base: the checkpoint folder it was made from, whose ``replay/`` and ``first_pass/`` are
            copied.

    Raises:
        CheckpointError: the model has an adapter, which its config does not describe.
    """
    from peft import PeftModel
    from safetensors.torch import save_file

    if isinstance(model.llm, PeftModel) and "lora" not in model.cfg:
        raise CheckpointError(
            "this model has an adapter on it; expected a bare one: merge the adapter "
            "(lora.merge) before saving, or save the adapter alone (lora.save)"
        )
    folder = Path(folder)
    with replacing(folder) as part:
        weights: dict[str, Any] = {}
        pointers: dict[int, str] = {}
        head = {}
        for name, tensor in model.state_dict().items():
            if tensor.numel() and pointers.setdefault(tensor.data_ptr(), name) != name:
                continue  # tied: stored once
            keep = dtype is None or not tensor.is_floating_point() or ".featurizer." in name
            stored = tensor.detach().cpu().contiguous() if keep else tensor.detach().cpu().to(dtype)
            if name.startswith("ctc_head."):
                head[name.removeprefix("ctc_head.")] = stored
            else:
                weights[name] = stored.contiguous()
        save_file(weights, part / WEIGHTS, metadata={"format": "pt"})
        if head:
            save_file(head, part / CTC_HEAD, metadata={"format": "pt"})
        for path in part.glob("*.safetensors"):
            path.chmod(0o644)  # safetensors writes for the owner's eyes only
        (part / CONFIG).write_text(json.dumps(_portable(model), indent=2) + "\n", "utf-8")
        with quiet():
            model.tokenizer.tokenizer.save_pretrained(part)
            model.causal_lm.config.save_pretrained(part / LLM_CONFIG)
        if model.ctc_vocabulary.path is not None:
            shutil.copyfile(model.ctc_vocabulary.path, part / CTC_TOKENIZER)
        (part / "README.md").write_text(card, "utf-8")
        for name in (REPLAY, FIRST_PASS):
            if base is not None and (base / name).is_dir():
                shutil.copytree(base / name, part / name)


def _portable(model: SpanSALM) -> dict[str, Any]:
    """The config without local paths, with the keys that NeMo and vLLM need."""
    from omegaconf import OmegaConf

    config: dict[str, Any] = OmegaConf.to_container(model.cfg, resolve=True)  # type: ignore
    config.pop("tokenizer_path", None)
    config.pop("ctc_tokenizer_path", None)
    return config | {
        "pretrained_llm": LLM_CONFIG,
        "pretrained_weights": False,
        "model_type": "nemo_speechlm",
        "architectures": ["NeMoSpeechLMForConditionalGeneration"],
    }


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces ``folder`` once complete."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(part, folder)
    except BaseException:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def in_a_line(error: Exception) -> str:
    """Shorten a library's message, which may be long, to fit in one of our lines."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 300 else text[:299] + "…"


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the libraries' notices on the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))  # some set their own level at import
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
