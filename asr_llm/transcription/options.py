"""Everything besides the audio that determines a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asr_llm import defaults
from asr_llm.decoding.options import DecodeOptions

if TYPE_CHECKING:
    from asr_llm.model.adapter_folder import AdapterFolder

VadKind = Literal["silero", "energy"]
ComputeType = Literal["auto", "float32", "int8"]


@dataclass(frozen=True)
class Recogniser:
    """What to load. The command-line options have the same names.

    Args:
        model: ``mini``, a checkpoint folder, or a name on the hub.
        adapters: used together, see ``model.adapters``.
        aligner: gives word times instead of the model's CTC head: another checkpoint with one, or a
            NeMo CTC model (``.nemo``).
        compute_type: int8 keeps the weights of linear layers in 8 bits, on a CPU only; auto does so
            if the checkpoint's config has ``cpu_int8: true``.
    """

    model: str = defaults.MODEL
    adapters: tuple[AdapterFolder, ...] = ()
    aligner: str | None = None
    compute_type: ComputeType = "auto"


@dataclass(frozen=True)
class TranscribeOptions(DecodeOptions):
    """Options of a request to a loaded recogniser.

    Args:
        chunk_seconds: longest chunk; longer audio is split at pauses. Default: the model's own.
        vad: voice activity detector, see ``vad.listener``.
        word_timestamps: whether to give each word's time and confidence, if there is an aligner.
    """

    chunk_seconds: float | None = None
    vad: VadKind = "silero"
    word_timestamps: bool = False


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster to decode on.

    Args:
        address: of its head, as for ``ray.init``; ``local`` starts one on this machine.
        actors: processes, each with a model; default: one per GPU, or per core where there is none.
    """

    address: str
    actors: int | None = None
