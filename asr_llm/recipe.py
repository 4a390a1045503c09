"""Recipes: read from YAML, validated, and saved with the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from asr_llm import defaults
from asr_llm.errors import RecipeError
from asr_llm.sequences.sources import (
    AsrSource,
    ImitateSource,
    Source,
    SpeechSource,
    TextSource,
)
from asr_llm.yaml_lines import Strict, parse_yaml, unfit

PARTS = Literal["lora", "projector", "encoder", "llm", "ctc_head"]


class LoraRecipe(Strict):
    """PEFT's LoRA on the LLM."""

    r: int = Field(32, gt=0)
    lora_alpha: float = Field(64.0, gt=0)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: list[str] = Field(
        default_factory=lambda: [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ]
    )


class OptimizerRecipe(Strict):
    """AdamW with linear warm-up, then linear or cosine decay to ``final`` times the peak."""

    lr: float = Field(2e-4, gt=0, description="peak learning rate")
    warmup_steps: int = Field(20, ge=0)
    schedule: Literal["linear", "cosine"] = "linear"
    final: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = Field(1.0, gt=0, description="gradient norm limit")


class ValidationRecipe(Strict):
    """Held-out loss, and early stop on it."""

    sources: list[Source] = Field(
        default_factory=list, description="default: the domain's dev set as ASR pairs"
    )
    every: int = Field(150, gt=0, description="steps between validations")
    patience: int | None = Field(
        None, ge=1, description="validations without improvement before stopping"
    )
    utterances: int = Field(100, gt=0)
    tolerance: float = Field(
        0.0,
        ge=0,
        description="keep the last weights whose loss is within this share of the lowest",
    )
    max_rise: float | None = Field(
        None,
        gt=0,
        description="stop once the loss on replayed pairs (dev set) has risen by this share of its "
        "initial value (arXiv 2506.05671): the model is forgetting how to transcribe",
    )


class _Trains(Strict):
    """Keys shared by everything that can be trained."""

    @field_validator("train", check_fields=False)
    @classmethod
    def _is_saved(cls, train: list[PARTS]) -> list[PARTS]:
        if "lora" in train and set(train) - {"lora", "projector"}:
            raise ValueError("lora alone or with projector: an adapter holds nothing else")
        return train

    @field_validator("fit_projector", check_fields=False)
    @classmethod
    def _fits_what_is_trained(cls, fit: bool, info: ValidationInfo) -> bool:
        if fit and "projector" not in info.data.get("train", ["projector"]):
            raise ValueError("projector in 'train' where it is fitted")
        return fit


class StageRecipe(_Trains):
    """One stage of a longer training: its differences from the whole recipe."""

    name: str = Field(pattern=r"^[\w-]+$")
    train: list[PARTS] = Field(min_length=1)
    steps: int = Field(gt=0)
    optimizer: OptimizerRecipe
    fit_projector: bool = False


class Recipe(_Trains):
    """All settings of a run. The defaults are text-only domain adaptation."""

    name: str = "text"
    model: str = Field(
        defaults.MODEL, description="'small', 'mini', a checkpoint folder, or a hub name"
    )
    create: str | None = Field(
        None, description="pretraining only: YAML of a new model to start from, instead of 'model'"
    )
    train: list[PARTS] = Field(
        ["lora"],
        min_length=1,
        description="what to train: lora, projector, encoder, llm, ctc_head; with lora, only "
        "projector as well",
    )
    encoder_layers: int | None = Field(
        None,
        gt=0,
        description="how many of the encoder's last layers 'encoder' in 'train' means; null: the "
        "whole encoder",
    )
    lora: LoraRecipe = LoraRecipe()
    fusion: float | None = Field(
        None,
        gt=0,
        description="weight of the adapter as a domain language model fused in during decoding "
        "(decoding/fusion.py); null: the adapter changes the recogniser instead",
    )
    biasing: float | None = Field(
        None,
        description="score bonus, in nats, for the domain's terms whenever the adapter is active "
        "(decoding/biasing.py); null: none",
    )
    objective: Literal["lm", "ctc", "lm+ctc"] = "lm"
    ctc_weight: float = Field(0.3, ge=0, description="weight of CTC in 'lm+ctc'")
    fit_projector: bool = Field(
        False,
        description="before training, fit the projector to the CTC head: by least squares, or "
        "where it takes posteriors (model/posteriors.py) with the embeddings of their text",
    )
    cache_frames: bool = Field(
        True,
        description="whether to cache the output of frozen encoder layers for recordings on disk "
        "('asr-llm cache' lists and clears it)",
    )
    sources: list[Source] = Field(min_length=1)
    replay: str | None = Field(
        None,
        description="domain folder of general speech; default: the base model's own, or if it "
        "has none and the domain is English, that of `mini`",
    )
    steps: int = Field(450, gt=0)
    batch_positions: int = Field(
        2000, gt=0, description="approximate number of decoder positions per batch"
    )
    pack: int | None = Field(
        None,
        gt=0,
        description="pack sequences into rows of this many positions; null: one padded row each",
    )
    accumulate: int = Field(
        1,
        gt=0,
        description="batches per optimizer step (gradient accumulation), of all processes together",
    )
    devices: int = Field(
        1,
        gt=0,
        description="processes per machine, one per GPU, which share the batches of every step: "
        "'accumulate' must be a multiple of their total number (docs/scale.md)",
    )
    num_nodes: int = Field(1, gt=0, description="machines; start them with torchrun or srun")
    strategy: Literal["ddp", "fsdp"] | None = Field(
        None,
        description="with several processes: 'ddp' (default): each holds the model; 'fsdp': the "
        "LLM is sharded (FSDP2)",
    )
    optimizer: OptimizerRecipe = OptimizerRecipe()
    validation: ValidationRecipe = ValidationRecipe()
    checkpoint_every: int = Field(50, gt=0, description="steps between checkpoints")
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="auto: bf16 where the device gains by it, otherwise 32"
    )
    seed: int = Field(1, ge=0)
    stages: list[StageRecipe] = Field(
        default_factory=list,
        description="pretraining only: stages in order, each from the previous one's model; "
        "'train', 'steps', 'optimizer' and 'fit_projector' above are then not used",
    )

    @field_validator("fusion", "biasing", mode="before")
    @classmethod
    def _is_a_number(cls, weight: Any) -> Any:
        if isinstance(weight, bool):
            raise ValueError(f"a number such as 0.5, or null, not {str(weight).lower()}")
        return weight

    @field_validator("biasing")
    @classmethod
    def _prefers(cls, biasing: float | None) -> float | None:
        if biasing is not None and biasing <= 0:
            raise ValueError("a number above 0, such as 2.5, or null for no list")
        return biasing

    @field_validator("biasing")
    @classmethod
    def _has_an_adapter(cls, biasing: float | None, info: ValidationInfo) -> float | None:
        if biasing is not None and "lora" not in info.data.get("train", ["lora"]):
            raise ValueError("lora in 'train': it is an adapter that brings a list")
        return biasing

    @field_validator("fusion")
    @classmethod
    def _is_an_adapter(cls, fusion: float | None, info: ValidationInfo) -> float | None:
        if fusion is not None and info.data.get("train", ["lora"]) != ["lora"]:
            raise ValueError("lora alone in 'train': it is an adapter that is fused")
        return fusion

    @field_validator("validation")
    @classmethod
    def _is_watched(cls, value: ValidationRecipe, info: ValidationInfo) -> ValidationRecipe:
        if value.max_rise is not None and info.data.get("fusion") is not None:
            raise ValueError("no max_rise beside 'fusion', which leaves the recogniser as it was")
        return value

    @field_validator("sources")
    @classmethod
    def _keeps_its_teacher(cls, sources: list[Source], info: ValidationInfo) -> list[Source]:
        trained = info.data.get("train", [])
        if "llm" in trained and any(isinstance(s, ImitateSource) and s.kl for s in sources):
            raise ValueError("no 'kl' beside llm in 'train': it would change its own teacher")
        return sources

    @field_validator("sources", "validation")
    @classmethod
    def _is_heard(cls, value: Any, info: ValidationInfo) -> Any:
        sources: list[Source] = getattr(value, "sources", value)
        silent = {s.task for s in sources if not isinstance(s, SpeechSource)}
        if silent and info.data.get("objective") == "ctc":
            raise ValueError(f"only speech (not {', '.join(sorted(silent))}) with objective ctc")
        return value

    @field_validator("devices", "num_nodes")
    @classmethod
    def _share_a_step(cls, count: int, info: ValidationInfo) -> int:
        batches, processes = info.data.get("accumulate", 1), count * info.data.get("devices", 1)
        if batches % processes:
            raise ValueError(
                f"'accumulate' (now {batches}) to be a multiple of the {processes} processes, "
                "which share the batches of every step"
            )
        return count

    @field_validator("strategy")
    @classmethod
    def _has_several(cls, strategy: str | None, info: ValidationInfo) -> str | None:
        if strategy and info.data.get("devices", 1) * info.data.get("num_nodes", 1) == 1:
            raise ValueError("'devices' or 'num_nodes' above 1 beside it, or null: one process")
        if strategy == "fsdp":
            sources, trained = info.data.get("sources", []), info.data.get("train", [])
            imitating = any(isinstance(s, ImitateSource) and s.kl for s in sources)
            if imitating or not set(trained) <= {"lora", "projector", "llm"}:
                raise ValueError("ddp for 'kl', and to train encoder or ctc_head, as here")
        return strategy

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe.

        Raises:
            RecipeError: it is missing, not YAML, or has an unknown or ill-typed key; the message
                names file and line.
        """
        path = Path(path)
        if not path.is_file():
            raise RecipeError(
                f"no recipe at {path}; expected a YAML file, such as adapt/text.yaml for "
                "'asr-llm adapt' (its default) or adapt/imitate.yaml for 'asr-llm pretrain'"
            )
        return parse_yaml(path, cls, RecipeError)

    asr_llm: str | None = Field(
        None, exclude=True, description="version that wrote this file; not read"
    )

    @property
    def held_out_sources(self) -> list[Source]:
        """Validation sources; default: the domain's dev set."""
        # An adapter for fusion is validated on text, because it never sees speech.
        if self.fusion is not None:
            return self.validation.sources or [TextSource(data="domain")]
        return self.validation.sources or [AsrSource(data="domain", augment=0.0)]

    def in_stages(self) -> list[Recipe]:
        """A recipe per stage, the first starting from ``model``; or only this recipe."""
        return [
            self.model_validate(
                self.model_dump()
                | stage.model_dump()
                | {"name": f"{self.name}-{stage.name}", "stages": []}
                | ({"create": None} if i else {})
            )
            for i, stage in enumerate(self.stages)
        ] or [self]

    def override(self, **changes: Any) -> Recipe:
        """The recipe with other values; None keeps a value.

        Raises:
            RecipeError: a value is invalid.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        try:
            return self.model_validate(self.model_dump() | given)
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            raise RecipeError(f"{'.'.join(map(str, item['loc']))}: {unfit(item)}") from error

    @property
    def processes(self) -> int:
        """Number of processes that train."""
        return self.devices * self.num_nodes

    def dump(self) -> dict[str, Any]:
        """Plain data, complete with defaults, for ``recipe.yaml`` in the run folder."""
        return self.model_dump(mode="json")


def text_recipe() -> Recipe:
    """The default adaptation: a domain language model fused in during decoding."""
    return Recipe(
        fusion=0.5,
        biasing=2.5,
        sources=[
            TextSource(data="domain", weight=0.5),
            TextSource(data="replay", weight=0.5),
        ],
        lora=LoraRecipe(r=16, lora_alpha=32),
        steps=120,
        batch_positions=1000,
        optimizer=OptimizerRecipe(lr=5e-4),
        validation=ValidationRecipe(every=40, utterances=100, tolerance=0.03),
    )
