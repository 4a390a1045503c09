"""Creates a new, untrained checkpoint from a description, such as `mini`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asr_llm.errors import RecipeError
from asr_llm.model.checkpoint_folder import in_a_line, quiet, replacing, save
from asr_llm.yaml_lines import Strict, parse_yaml

IM_START, IM_END, PAD, LOCATOR = "<|im_start|>", "<|im_end|>", "<|pad|>", "<|audio|>"


class NewModel(Strict):
    """What to build: keys of NeMo's ConformerEncoder and of transformers' Qwen3Config."""

    vocabulary: int
    tokenizer_text: list[str]
    features: int = 80
    encoder: dict[str, Any]
    llm: dict[str, Any]


def create(description: Path, folder: Path, seed: int) -> None:
    """Train a byte-level BPE tokenizer and write an untrained checkpoint at ``folder``.

    Raises:
        RecipeError: the description is malformed or names absent text.
    """
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3Config

    from asr_llm.model.salm import SpanSALM

    new = parse_yaml(description, NewModel, RecipeError)
    torch.manual_seed(seed)
    with replacing(folder) as part, quiet():
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=_train_tokenizer(new, description),
            eos_token=IM_END,
            pad_token=PAD,
            additional_special_tokens=[IM_START, LOCATOR],
        )
        tokenizer.save_pretrained(part)
        try:
            Qwen3Config(
                vocab_size=new.vocabulary,
                tie_word_embeddings=True,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=None,
                architectures=["Qwen3ForCausalLM"],
                **new.llm,
            ).save_pretrained(part)
            model = SpanSALM(
                {
                    "pretrained_llm": str(part),
                    "pretrained_weights": False,
                    "audio_locator_tag": LOCATOR,
                    "prompt_format": "qwen",
                    "asr_prompt": "Transcribe the following: {audio}",
                    # Pretraining uses single sentences of a few seconds without long pauses; longer
                    # speech is not recognised (eval/RESULTS.md#long-audio).
                    "chunk_seconds": 8.0,
                    "pause_seconds": 0.4,
                    "perception": _perception(new),
                }
            )
        except Exception as error:
            raise RecipeError(
                f"{description} does not describe a model that can be built; expected keys of "
                "NeMo's ConformerEncoder under 'encoder' and of Qwen3Config under 'llm': "
                f"{in_a_line(error)}"
            ) from error
    save(model, folder, card="An untrained model.\n")


def _train_tokenizer(new: NewModel, description: Path) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    for path in new.tokenizer_text:
        if not Path(path).is_file():
            raise RecipeError(f"{description}: tokenizer_text: no file {path}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=new.vocabulary,
        special_tokens=[PAD, IM_START, IM_END, LOCATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train(list(new.tokenizer_text), trainer)
    if tokenizer.get_vocab_size() > new.vocabulary:
        raise RecipeError(
            f"{description}: vocabulary: found {new.vocabulary}; expected at least "
            f"{tokenizer.get_vocab_size()}: every byte and the special tokens"
        )
    return tokenizer


def _perception(new: NewModel) -> dict[str, Any]:
    nemo = "nemo.collections"
    width = new.encoder["d_model"]
    return {
        "target": f"{nemo}.speechlm2.modules.perception.AudioPerceptionModule",
        "output_dim": new.llm["hidden_size"],
        "preprocessor": {
            "_target_": f"{nemo}.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": new.features,
            "n_fft": 512,
            "log": True,
            "dither": 0.0,
            "pad_to": 0,
        },
        "encoder": {
            "_target_": f"{nemo}.asr.modules.ConformerEncoder",
            "feat_in": new.features,
            **new.encoder,
        },
        "modality_adapter": {
            "_target_": f"{nemo}.speechlm2.modules.perception.IdentityConnector",
            "d_model": width,
        },
    }
