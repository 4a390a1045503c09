"""A checkpoint folder as NeMo's plugin for vLLM reads it (``nemo.collections.speechlm2.vllm``).

It is SALM's own layout with these differences, which the plugin insists on:

- the audio locator tag is ``<|audio|>``, in config and tokenizer; its id stays, and since frames
  take its place it has no embedding that could be lost;
- ``pretrained_asr`` is there, and ``pretrained_llm`` is a name on the hub or a whole path;
- the LLM's config names one architecture;
- weights are in bfloat16, in which the plugin keeps the encoder;
- the tokenizer's chat template is the one that the checkpoint was trained with.

The plugin counts the frames of an audio before it encodes it, as a FastConformer with three
striding convolutions makes them. Other encoders are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoint_folder
from asr_llm.model.checkpoint_folder import CONFIG, LLM_CONFIG
from asr_llm.model.hub import is_hub_name

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

LOCATOR = "<|audio|>"
_ENCODER = {"subsampling": "dw_striding", "subsampling_factor": 8}


def save(model: SpanSALM, folder: Path, card: str) -> None:
    """Write the folder; a complete one appears or none does.

    Raises:
        CheckpointError: the encoder is none that the plugin has, or the tokenizer uses
            ``<|audio|>`` for something else.
    """
    import torch

    refuse_others(model)
    tokenizer = model.tokenizer.tokenizer
    tokenizer.chat_template = chat_template(model)
    with checkpoint_folder.replacing(folder) as part:
        checkpoint_folder.save(model, part, card, dtype=torch.bfloat16)
        for path in (part / "tokenizer.json", part / "tokenizer_config.json"):
            _rename(path, model.audio_locator_tag)
        _edit(part / LLM_CONFIG / CONFIG, architectures=[type(model.causal_lm).__name__])
        named = str(model.cfg.pretrained_llm)
        backbone = named if is_hub_name(named) else str(folder.absolute() / LLM_CONFIG)
        _edit(
            part / CONFIG,
            audio_locator_tag=LOCATOR,
            pretrained_llm=backbone,
            pretrained_asr=model.cfg.get("pretrained_asr") or "none",
        )


def refuse_others(model: SpanSALM) -> None:
    """Refuse a model that the plugin cannot run.

    Raises:
        CheckpointError: see ``save``.
    """
    encoder = model.cfg.perception.encoder
    kind = str(encoder.get("_target_", "")).rpartition(".")[2]
    found = {key: encoder.get(key) for key in _ENCODER}
    if kind != "ConformerEncoder" or found != _ENCODER:
        described = " ".join(str(value) for value in (kind, *found.values()) if value)
        raise CheckpointError(
            "NeMo's plugin for vLLM runs FastConformer encoders with dw_striding by 8, as "
            f"canary-qwen has one; found {described}. Export the LLM alone with --llm-only, or "
            "serve the whole with 'asr-llm serve'"
        )
    if model.audio_locator_tag != LOCATOR and LOCATOR in model.tokenizer.tokenizer.get_vocab():
        raise CheckpointError(
            f"the tokenizer has a token {LOCATOR} that is not its audio locator tag "
            f"{model.audio_locator_tag}; expected the name to be free, since the plugin needs it"
        )


def chat_template(model: SpanSALM) -> str:
    """Jinja for user turns, answers, and the beginning of an answer, as training had them."""
    chat = model.chat
    over = chat.end + "\n" if f"{chat.end}\n" in chat.after else chat.end
    after, marker, opening = chat.after.partition(over)
    before, after, begin, over = map(json.dumps, (chat.before, after + marker, opening, over))
    return (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}"
        f"{{{{ {begin} + message['content'] + {over} }}}}"
        "{% else %}"
        f"{{{{ {before} + message['content'] + {after} }}}}"
        "{% endif %}{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ {begin} }}}}{{% endif %}}"
    )


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _rename(path: Path, tag: str) -> None:
    """Give the audio locator tag its other name wherever it stands as a JSON string."""
    text = path.read_text("utf-8")
    path.write_text(text.replace(json.dumps(tag), json.dumps(LOCATOR)), "utf-8")
