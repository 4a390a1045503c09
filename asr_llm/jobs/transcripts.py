"""Transcribes audio files in order, and collects what determines a transcript."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import AudioError
from asr_llm.jobs.adapters import check_adapters
from asr_llm.progress import Feedback
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions
from asr_llm.version import __version__

if TYPE_CHECKING:
    from asr_llm.corpus.recordings.audio import Source
    from asr_llm.transcription.fleet import Fleet
    from asr_llm.transcription.speech_llm import SpeechLLM


def load(
    recogniser: Recogniser,
    options: TranscribeOptions,
    feedback: Feedback,
    cluster: Cluster | None = None,
) -> SpeechLLM | Fleet:
    """Load a recogniser, here or in the actors of a cluster.

    ``feedback`` is told if word times are requested but not available.

    Raises:
        CheckpointError: the model or an adapter does not load.
        RunError: there is no such cluster.
    """
    check_adapters(recogniser.adapters, recogniser.model, options.fusion, options.biasing)
    loaded: SpeechLLM | Fleet
    if cluster is None:
        from asr_llm.transcription.speech_llm import SpeechLLM

        loaded = SpeechLLM.of(recogniser, options)
    else:
        from asr_llm.transcription.fleet import Fleet

        loaded = Fleet(cluster, recogniser, options)
    if options.word_timestamps and not loaded.word_times:
        feedback.tell(
            f"{recogniser.model} has no CTC head, so only segments are timed; for word "
            "times give --aligner, a NeMo CTC model (.nemo) or mini"
        )
    feedback.on_ready()
    return loaded


def hashes(recogniser: Recogniser) -> tuple[str, str | None]:
    """Return the SHA-256 of the model and of its adapters, which transcripts record.

    Raises:
        CheckpointError: there is no such model.
    """
    from asr_llm.model import checkpoints

    model = checkpoints.identity(checkpoints.locate(recogniser.model))
    return model, "+".join(adapter.sha256 for adapter in recogniser.adapters) or None


_WITHOUT_FLAG = (
    "ctc_weight",
    "first_pass_weight",
    "confidence",
    "max_new_tokens",
    "bf16",
    "drafts",
    "keep_encoded",
)
"""Options without a command-line flag, which are constant."""


def text_settings(recogniser: Recogniser, options: TranscribeOptions) -> dict[str, Any]:
    """Everything besides the audio that determines a transcript, for ``OutputFolder``.

    Raises:
        CheckpointError: there is no such model or adapter.
    """
    from asr_llm.model import checkpoints
    from asr_llm.model.adapters import fusion_weights

    check_adapters(recogniser.adapters, recogniser.model, options.fusion, options.biasing)
    folder = checkpoints.locate(recogniser.model)
    plain = {name: value for name, value in asdict(options).items() if name not in _WITHOUT_FLAG}
    return plain | {
        "asr_llm": __version__,
        "aligner": recogniser.aligner,
        "model": {"name": recogniser.model, "sha256": checkpoints.identity(folder)},
        "adapters": [
            {
                "name": str(adapter.path),
                "sha256": adapter.sha256,
                "biasing": adapter.biasing.strength if adapter.biasing else 0,
            }
            for adapter in recogniser.adapters
        ],
        "fusion": fusion_weights(recogniser.adapters, options.fusion),
    }


def in_order(files: list[Path], cluster: Cluster | None) -> list[Path]:
    """Files in the order in which they will be done, so that each is written at once."""
    if cluster is None:
        return files
    from asr_llm.transcription.fleet import longest_first

    return longest_first(files)


def unreadable(source: Source) -> AudioError | None:
    """Return why a source cannot be read, or None; needs no model."""
    try:
        source.check()
    except AudioError as error:
        return error
    return None
